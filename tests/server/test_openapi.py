"""The OpenAPI document: every route, each with what its code declares. Whether the server keeps to it is tested over
HTTP in tests/conformance/public_api/test_openapi.py.
"""

import json
import re

import pytest


@pytest.fixture
def document(api):
    answer = api("GET", "/openapi.json", namespace=None)
    assert answer.headers["content-type"] == "application/json"
    return answer.json


def operations(document):
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def test_it_lists_every_route_and_no_other(document, trove):
    routes = {(route.method, re.sub(r"\.\.\.}", "}", route.path)) for route in trove.server.app.routes}
    assert set(operations(document)) == routes
    assert {
        ("GET", "/openapi.json"),
        ("POST", "/v1/exec"),
        ("PUT", "/files/{path}"),
        ("DELETE", "/v1/snapshots/{snapshot_id}"),
    } <= routes


def test_operations_have_names_of_their_own(document):
    found = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(found)) == len(found)
    assert all(operation["summary"] for operation in operations(document).values())


def test_parameters_of_a_path_are_declared(document):
    for (_, path), operation in operations(document).items():
        declared = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))


def test_references_lead_somewhere(document):
    text = json.dumps(document)
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert names
    assert names <= set(document["components"]["schemas"])


def test_refusals_are_declared_where_they_can_happen(document, api):
    for (method, path), operation in operations(document).items():
        closed = operation["security"] != []
        assert ("401" in operation["responses"]) == closed, path
        if closed and {} not in operation["security"]:
            concrete = re.sub(r"{\w+}", "x", path)
            assert (
                api(
                    method, concrete, key="trove-sk-unknown", body={} if "requestBody" in operation else None
                ).status
                == 401
            )


def test_only_what_needs_no_key_is_open(document):
    found = {path for (_, path), operation in operations(document).items() if operation["security"] == []}
    assert found == {"/openapi.json", "/healthz", "/v1/workspaces"}
