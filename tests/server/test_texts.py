"""Text that no database takes is refused or not found, on either engine, and never an error of the server."""

import pytest


@pytest.mark.parametrize("text", ["%00", "%ff", "%ed%a0%80"])
def test_in_a_path(api, text):
    api.write("f")
    made = api.trove.credentials
    for method, path in (
        ("DELETE", f"/v1/snapshots/snap-{text}"),
        ("POST", f"/v1/snapshots/snap-{text}/restore"),
        ("GET", f"/v1/references/ref-{text}"),
        ("DELETE", f"/v1/references/ref-{text}"),
        ("GET", f"/v1/namespaces/n{text}"),
        ("DELETE", f"/v1/namespaces/n{text}"),
    ):
        assert api(method, path).status == 404, path
    keys = f"/v1/workspaces/{made.workspace_id}/keys/key-{text}"
    assert api("DELETE", keys, key=made.admin_key, namespace=None).status == 404


@pytest.mark.parametrize("at", ["snap-\0", "auto-\0", "ref-\0"])
def test_as_a_state(api, at):
    api.write("f")
    assert api("GET", "/v1/files/stat", query={"path": "f", "at": at}).status == 404
    assert api("GET", "/v1/diff", query={"from": at}).status == 404
    assert api("POST", "/v1/restore", body={"to": at}).status == 404
    assert api("POST", "/v1/forks", body={"namespace": "copy", "from": at}).status == 404


def test_in_a_query(api):
    made = api.trove.credentials
    for query in ({"types": "a\0"}, {"namespace": "a\0"}):
        answer = api("GET", f"/v1/workspaces/{made.workspace_id}/events", query=query, namespace=None)
        assert (answer.status, answer.json["errors"][0]["field"]) == (422, next(iter(query)))
    assert api("GET", "/v1/references", query={"thread": "\0"}).status == 422


def test_in_a_body(api):
    answer = api("POST", "/v1/snapshots", body={"label": "a\0"})
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "label")
    answer = api.keys("POST", name="a\0")
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "name")
    assert api.write("f", "a\0")["size_bytes"] == 2
