"""Namespaces through the clients of both kinds."""

import pytest

from trove_agents import NotSupported, TroveNotFoundError
from trove_agents.client.transport import Reply
from trove_agents.embedded import Trove

ME = b'{"workspace_id": "ws-1", "key_id": "k", "key_name": "n", "scope": "admin"}'


def reply(status=200, body=b""):
    return Reply(status, {}, body)


def test_they_are_listed_and_deleted():
    with Trove.temporary() as trove, trove.client("a") as client, trove.admin() as admin:
        client.write("x", "12")
        trove.client("b").write("x", "1")
        assert [(each.name, each.bytes) for each in admin.list_namespaces()] == [("a", 2), ("b", 1)]
        assert client.namespace_info("b").files == 1
        assert client.configure_namespace("b", workdir="copy").workdir == "copy"
        assert admin.configure_namespace("b").workdir == admin.namespace_info("b").workdir == "copy"
        assert client.namespace_info("a").workdir == "auto"
        client.delete_namespace("b")
        with pytest.raises(TroveNotFoundError):
            admin.namespace_info("b")
        assert [each.name for each in client.list_namespaces()] == ["a"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("list_namespaces", ()),
        ("namespace_info", ("a",)),
        ("configure_namespace", ("a",)),
        ("delete_namespace", ("a",)),
    ],
)
@pytest.mark.parametrize("kind", ["client", "admin"])
def test_a_server_without_it(colour, kind, name, arguments):
    transport = colour.transport(lambda _: reply(body=ME))
    with pytest.raises(NotSupported):
        colour.call(getattr(colour, kind)(transport), name, *arguments)
    assert [request.path for request in transport.requests] == ["/v1/me"]


def test_pages_are_followed(colour):
    row = b'{"name": "%s", "files": 1, "bytes": 2, "created_at": "t", "last_activity": "t"}'
    pages = {
        "": b'{"namespaces": [' + row % b"a" + b'], "next_cursor": "a"}',
        "cursor=a": b'{"namespaces": [' + row % b"b" + b'], "next_cursor": null}',
    }
    me = ME[:-1] + b', "capabilities": ["namespaces"]}'

    def answer(request):
        return reply(body=me if request.path == "/v1/me" else pages[request.query])

    client = colour.client(colour.transport(answer))
    assert [each.name for each in colour.call(client, "list_namespaces")] == ["a", "b"]


def test_quotas_are_for_servers_that_have_them(colour):
    transport = colour.transport(lambda _: reply(body=ME))
    with pytest.raises(NotSupported):
        colour.call(colour.admin(transport), "set_quota", "a", max_bytes=1)
    assert [request.path for request in transport.requests] == ["/v1/me"]
    me = ME[:-1] + b', "capabilities": ["quotas"]}'
    row = b'{"name": "a", "files": 1, "bytes": 2, "created_at": "t", "last_activity": "t", "quota_bytes": 1}'
    transport = colour.transport(lambda request: reply(body=me if request.path == "/v1/me" else row))
    assert colour.call(colour.admin(transport), "set_quota", "a", max_bytes=1).quota_bytes == 1
    assert (transport.requests[-1].method, transport.requests[-1].path) == ("PATCH", "/v1/namespaces/a")
    assert transport.bodies[-1] == b'{"quota_files":null,"quota_bytes":1}'
