"""``iter_dir`` of the clients of both kinds."""

import json

import pytest

from trove_agents import NotSupported
from trove_agents.client.transport import Reply

ME = {"workspace_id": "ws-1", "key_id": "k", "key_name": "n", "scope": "workspace"}


def page(name, cursor):
    entry = {"name": name, "path": f"workspace/{name}", "is_dir": False, "size_bytes": 1, "modified_at": "t"}
    return {"entries": [entry], "truncated": False, "path": "workspace", "next_cursor": cursor}


def test_pages_are_followed(colour):
    answers = {None: page("a", "c1"), "c1": page("b", None)}

    def answer(request):
        if request.path == "/v1/me":
            body = ME | {"capabilities": ["files.pages", "files.at"]}
        else:
            query = dict(pair.split("=") for pair in request.query.split("&"))
            assert (query["limit"], query["recursive"], query["at"]) == ("7", "true", "5")
            body = answers[query.get("cursor")]
        return Reply(200, {}, json.dumps(body).encode())

    client = colour.client(colour.transport(answer))
    found = colour.call(client, "iter_dir", "d", recursive=True, at=5, page_size=7)
    assert [entry.name for entry in found] == ["a", "b"]


@pytest.mark.parametrize(("capabilities", "at"), [([], None), (["files.at"], 5), (["files.pages"], 5)])
def test_a_server_without_it(colour, capabilities, at):
    body = json.dumps(ME | {"capabilities": capabilities}).encode()
    transport = colour.transport(lambda _: Reply(200, {}, body))
    with pytest.raises(NotSupported):
        colour.call(colour.client(transport), "iter_dir", at=at)
    assert [request.path for request in transport.requests] == ["/v1/me"]
