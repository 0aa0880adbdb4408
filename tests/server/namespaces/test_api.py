"""Namespaces over the API: the section of that name in docs/wire.md."""

import asyncio
import threading
import time

import pytest
from sqlalchemy import text

from trove_agents.embedded import Trove
from trove_agents.server import timelines
from trove_agents.server.jobs import DAY, Turn


def every(api, **more):
    answer = api("GET", "/v1/namespaces", namespace=None, **more)
    assert answer.status == 200, answer.body
    return answer.json


def info(api, name, **more):
    return api("GET", f"/v1/namespaces/{name}", namespace=None, **more)


def delete(api, name, **more):
    return api("DELETE", f"/v1/namespaces/{name}", namespace=None, **more)


@pytest.fixture
def locked(api):
    with api.trove.admin() as admin:
        return admin.create_key("locked", namespace="a").api_key


def test_what_a_namespace_holds(api):
    api.write("x/y", "12345", namespace="a")
    api.write("z", "1", namespace="a")
    (found,) = every(api)["namespaces"]
    assert found == info(api, "a").json
    assert (found["name"], found["files"], found["bytes"]) == ("a", 2, 6)
    assert found["created_at"] < found["last_activity"]
    api.delete("z", namespace="a")
    after = info(api, "a").json
    assert after["created_at"] == found["created_at"]
    assert after["last_activity"] > found["last_activity"]


def configure(api, name, body, **more):
    return api("PATCH", f"/v1/namespaces/{name}", body=body, namespace=None, **more)


def test_settings_stay_until_they_are_changed(api, locked):
    api.write("x", namespace="a")
    assert info(api, "a").json["workdir"] == "auto"
    for body, workdir in (({"workdir": "copy"}, "copy"), ({}, "copy"), ({"workdir": "auto"}, "auto")):
        answer = configure(api, "a", body)
        assert (answer.status, answer.json["workdir"]) == (200, workdir)
        assert info(api, "a").json == answer.json == every(api)["namespaces"][0]
    assert configure(api, "a", {"workdir": "else"}).status == 422
    assert configure(api, "never", {"workdir": "copy"}).status == 404
    api.write("x", namespace="b")
    assert configure(api, "b", {"workdir": "copy"}, key=locked).status == 403
    assert configure(api, "a", {"workdir": "copy"}, key=locked).status == 200
    assert info(api, "b").json["workdir"] == "auto"


def test_pages_by_name(api):
    names = ["B", "a", "a-b", "z_9"]
    for name in names:
        api.write("x", namespace=name)
    found, cursor = [], None
    while True:
        query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = every(api, query=query)
        found.append([each["name"] for each in page["namespaces"]])
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == [names[:3], names[3:]]
    assert api("GET", "/v1/namespaces", query={"cursor": "no cursor"}).status == 400
    for limit in ("0", "x"):
        assert api("GET", "/v1/namespaces", query={"limit": limit}).status == 422


def test_who_sees_what(api, locked):
    api.write("x", namespace="b")
    assert every(api, key=locked)["namespaces"] == []
    assert info(api, "a", key=locked).status == 404
    api.write("x", namespace="a")
    assert [each["name"] for each in every(api, key=locked)["namespaces"]] == ["a"]
    assert every(api, key=locked, query={"cursor": "a"})["namespaces"] == []
    assert info(api, "a", key=locked).status == 200
    for name in ("b", "unknown"):
        assert info(api, name, key=locked).status == 403
    for name in ("a", "b", "unknown"):
        assert delete(api, name, key=locked).status == 403
    admin = api.trove.credentials.admin_key
    assert len(every(api, key=admin)["namespaces"]) == 2
    assert delete(api, "b", key=admin).status == 200
    assert info(api, "a", key="trove-sk-unknown").status == 401


def test_another_workspace_is_another_world(api):
    api.write("x", namespace="a")
    other = api.trove.server.keys.create_workspace("other")
    assert every(api, key=other.key)["namespaces"] == []
    assert info(api, "a", key=other.key).status == delete(api, "a", key=other.admin_key).status == 404


def test_a_deleted_one_is_gone_with_its_snapshots_and_its_name_is_free(api):
    space = api.with_key(api.key, "a")
    space.write("old")
    taken = space.snapshot()["snapshot_id"]
    assert delete(api, "a").json == {"namespace": "a", "deleted": True}
    assert every(api)["namespaces"] == []
    assert info(api, "a").status == delete(api, "a").status == 404
    assert space.list().json["entries"] == []
    assert space.read("old").status == 404
    space.write("new")
    assert [entry["name"] for entry in space.list().json["entries"]] == ["new"]
    assert space("GET", "/v1/snapshots").json == {"snapshots": []}
    assert space("POST", f"/v1/snapshots/{taken}/restore").status == 404
    events = api("GET", f"/v1/workspaces/{api.trove.credentials.workspace_id}/events").json["events"]
    (event,) = [each for each in events if each["type"] == "namespace.deleted"]
    assert (event["namespace"], event["data"]) == ("a", {"namespace": "a"})
    assert delete(api, "a").status == 200


@pytest.mark.parametrize("name", [":1", "a b", "x" * 129, "%3A1"])
def test_no_namespace_has_such_a_name(api, name):
    api.write("x", namespace="a")
    delete(api, "a")
    assert info(api, name).status == delete(api, name).status == 404


def test_forks_of_a_deleted_one_stay_whole(api):
    api.write("x/y", "text", namespace="a")
    workspace, database = api.trove.credentials.workspace_id, api.trove.server.database

    def fork(tx):
        at = timelines.namespace(tx, workspace, "a").at
        timelines.create_namespace(tx, workspace, "fork", now_ns=database.now_ns(), at=at)

    database.write(fork)
    delete(api, "a")
    assert api.read("x/y", namespace="fork").json["content"] == "text"
    assert info(api, "fork").json["files"] == 1


def test_it_waits_for_a_command(api):
    api.write("x", namespace="a")
    server = api.trove.server
    with server.database.read() as db:
        key = timelines.namespace(db, api.trove.credentials.workspace_id, "a").id

    async def scenario():
        async def hop(function, *arguments):
            return await asyncio.to_thread(function, *arguments)

        async with server.locks.hold(key, seconds=30, hop=hop):
            deletion = asyncio.ensure_future(asyncio.to_thread(delete, api, "a"))
            await asyncio.sleep(0.2)
            assert not deletion.done()
            assert (await asyncio.to_thread(info, api, "a")).status == 200
        assert (await deletion).status == 200

    asyncio.run(scenario())


def test_what_a_deleted_one_held_is_removed_later(api):
    for path in "abc":
        api.write(path, namespace="a")
    api.snapshot(namespace="a")
    api.write("x", namespace="b")
    database = api.trove.server.database

    def entries():
        with database.read() as db:
            return db.one(text("SELECT count(*) FROM entries"))[0]

    assert entries() == 4
    delete(api, "a")
    later = Turn(database.now_ns() + 31 * DAY * 10**9, None, time.monotonic() + 60, threading.Event())
    timelines.Retention(database, days=30).forget(later)
    assert entries() == 1
    assert [each["name"] for each in every(api)["namespaces"]] == ["b"]


def test_a_command_that_comes_too_late_runs_nowhere(api):
    with Trove.temporary(sandbox="none") as trove:
        api = type(api)(trove, namespace="a")
        api.write("x")
        enter = trove.server.exec._enter

        def enter_and_wait(*arguments):
            entered = enter(*arguments)
            delete(api, "a")
            return entered

        trove.server.exec._enter = enter_and_wait
        answer = api("POST", "/v1/exec", body={"command": "touch y"})
        assert (answer.status, answer.json["code"]) == (409, "conflict")
        assert every(api)["namespaces"] == []
