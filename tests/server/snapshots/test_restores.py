"""Going back to any state over the API: docs/wire.md, "Going back"."""

import asyncio

import pytest

from trove_agents.server import timelines


def restore(api, to, **more):
    return api("POST", "/v1/restore", body={"to": to}, **more)


def head(api):
    """The head's version."""
    return api("GET", "/v1/history", query={"limit": 1}).json["entries"][0]["version"]


def reference(api):
    return api("POST", "/v1/references").json


def test_to_each_kind_of_state(api):
    api.write("f", "one")
    api.write("g", "gg")
    taken = api.snapshot()
    api.write("f", "two")
    version = head(api)
    api.write("f", "three")
    made = reference(api)
    api.delete("g")
    states = [
        (taken["snapshot_id"], "one", {"snapshot_id": taken["snapshot_id"]}),
        (str(version), "two", {}),
        (made["reference_id"], "three", {"reference_id": made["reference_id"]}),
        (taken["created_at"], "one", {}),
    ]
    for state, content, named in states:
        before = head(api)
        answer = restore(api, state)
        assert answer.status == 200, answer.body
        told = answer.json
        assert (told["files_restored"], told["changed"], told["version"]) == (2, True, head(api))
        assert told["version"] > before
        assert api.read("f").json["content"] == content
        [event] = api.events(types="namespace.restored", limit=1)["events"]
        assert event["data"] == {"to": told["to"], "files_restored": 2, **named}
        [entry] = api("GET", "/v1/history", query={"limit": 1}).json["entries"]
        assert (entry["kind"], entry["files"]) == ("restore", 2)


def test_what_was_before_can_be_restored_in_turn(api):
    api.write("f", "one")
    made = reference(api)["reference_id"]
    api.write("f", "two")
    before = head(api)
    restore(api, made)
    assert restore(api, str(before)).json["to"] == before
    assert api.read("f").json["content"] == "two"


def test_nothing_happens_where_nothing_changed(api):
    api.write("f", "one")
    made = reference(api)

    def nothing():
        told = api("GET", "/v1/history").json, api.events()
        answer = restore(api, made["reference_id"])
        assert answer.json == {
            "to": made["version"],
            "version": head(api),
            "files_restored": 1,
            "changed": False,
        }
        assert (api("GET", "/v1/history").json, api.events()) == told

    nothing()
    api.snapshot()  # a version without a change
    nothing()
    api.write("f", "two")
    assert restore(api, made["reference_id"]).json["changed"] is True
    nothing()
    for state in (str(2**63 - 1), "2100-01-01", str(head(api))):
        assert restore(api, state).json["changed"] is False


@pytest.mark.parametrize("act", ["write", "delete", "mkdir", "move"])
def test_every_change_is_noticed(api, act):
    api.write("d/f", "one")
    api.snapshot()
    made = reference(api)["reference_id"]
    if act == "write":
        api.write("d/f", "two")
    elif act == "delete":
        api.delete("d/f")
    elif act == "mkdir":
        api("POST", "/v1/files/mkdir", body={"path": "e"})
    else:
        api("POST", "/v1/files/move", body={"from": "d", "to": "e"})
    assert restore(api, made).json["changed"] is True
    assert api.read("d/f").json["content"] == "one"
    assert api("GET", "/v1/diff", query={"from": made}).json["entries"] == []
    assert restore(api, made).json["changed"] is False


def test_the_empty_beginning(api):
    api("POST", "/v1/references")
    start = str(head(api))
    assert restore(api, start).json["changed"] is False
    api.write("f")
    assert restore(api, start).json["changed"] is True
    assert restore(api, start).json["changed"] is False
    assert api.list().json["entries"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 422), ({"to": None}, 422), ({"to": 5}, 422), ({"to": "then"}, 422), ({"to": "0"}, 404), ({"to": "-1"}, 422),
     ({"to": "snap-0000000000000000"}, 404), ({"to": "ref-0000000000000000"}, 404), ({"to": "1990-01-01"}, 404)],
)  # fmt: skip
def test_no_such_state(api, body, status):
    api.write("f")
    assert api("POST", "/v1/restore", body=body).status == status
    assert api.read("f").status == 200


def test_a_namespace_never_used(api):
    assert restore(api, "2100-01-01", namespace="unused").status == 404
    assert api("GET", "/v1/history", namespace="unused").status == 404


def test_it_waits_for_a_command_and_restores_once(api):
    api.write("f", "one")
    made = reference(api)["reference_id"]
    api.write("f", "two")
    server = api.trove.server
    key = server.database.write(
        lambda tx: timelines.namespace(tx, api.trove.credentials.workspace_id, "main").id
    )

    async def hop(function, *arguments):
        return await asyncio.to_thread(function, *arguments)

    async def scenario():
        async with server.locks.hold(key, seconds=30, hop=hop):
            waiting = asyncio.create_task(hop(restore, api, made))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            assert (await hop(api.read, "f")).json["content"] == "two"
        return await waiting

    assert asyncio.run(scenario()).json["changed"] is True
    assert api.read("f").json["content"] == "one"
    [event] = api.events(types="namespace.restored")["events"]
    assert event["data"]["reference_id"] == made
