"""Forks over the API: docs/wire.md, "Forks"."""

import pytest

from trove_agents.embedded import Trove


def fork(api, name, start=None, **more):
    body = {"namespace": name, **({} if start is None else {"from": start})}
    body |= {"key": True} if more.pop("key_too", False) else {}
    return api("POST", "/v1/forks", body=body, **more)


def test_a_fork_and_its_source_do_not_touch(api):
    api.write("f", "one")
    api.write("d/g", "22")
    made = fork(api, "copy")
    assert made.status == 201
    told = made.json
    assert (told["namespace"], told["forked_from"], told["files"], told["bytes"]) == ("copy", "main", 2, 5)
    assert told["version"] > told["at"]
    assert told["key"] is None
    assert api.read("f", namespace="copy").json["content"] == "one"
    api.write("f", "in the fork", namespace="copy")
    api.delete("d")
    assert api.read("f").json["content"] == "one"
    assert api.read("d/g", namespace="copy").json["content"] == "22"


def test_from_any_state(api):
    api.write("f", "one")
    taken = api.snapshot()
    api.write("f", "two")
    version = api("GET", "/v1/files/stat", query={"path": "f"}).json["version"]
    api("POST", f"/v1/snapshots/{taken['snapshot_id']}/restore")
    states = [
        (taken["snapshot_id"], "one"),
        (taken["created_at"], "one"),
        (str(version), "two"),
        (None, "one"),
    ]
    for number, (state, content) in enumerate(states):
        assert fork(api, f"f{number}", state).status == 201
        assert api.read("f", namespace=f"f{number}").json["content"] == content


def test_forks_of_forks(api):
    for number in range(6):
        api.write(f"f{number}", namespace=f"n{number}")
        assert fork(api, f"n{number + 1}", namespace=f"n{number}").json["files"] == number + 1
    names = [e["name"] for e in api.list(namespace="n6").json["entries"]]
    assert names == [f"f{number}" for number in range(6)]


def test_a_namespace_never_used_is_an_empty_fork(api):
    assert fork(api, "copy", namespace="fresh").json["files"] == 0
    assert fork(api, "other", "0", namespace="unused").status == 404
    assert api("GET", "/v1/history", namespace="unused").status == 404


def test_the_name_must_be_free(api):
    api.write("f")
    api.write("f", namespace="taken")
    assert fork(api, "taken").status == 409
    assert fork(api, "main").status == 409
    assert fork(api, "new").status == 201
    assert fork(api, "new").status == 409


@pytest.mark.parametrize("body", [{}, {"namespace": ""}, {"namespace": "a b"}, {"namespace": "n\n"}, {"namespace": 1},
                                  {"namespace": "x" * 129}, {"namespace": "x", "from": 5},
                                  {"namespace": "x", "from": "then"}, {"namespace": "x", "key": "yes"}])  # fmt: skip
def test_malformed(api, body):
    api.write("f")
    assert api("POST", "/v1/forks", body=body).status == 422
    assert api.read("f", namespace="x").status == 404


def test_no_such_state(api):
    api.write("f")
    other = api.snapshot(namespace="other")["snapshot_id"]
    for state in ("snap-0", other, "1999-01-01"):
        assert fork(api, "copy", state).status == 404
    assert api.read("f", namespace="copy").status == 404


def test_a_locked_key_gets_a_key_to_the_fork_and_to_nothing_else(api):
    locked = api.keys("POST", name="agent", namespace="mine").json["api_key"]
    api.write("f", "x", key=locked, namespace=None)
    key = fork(api, "mine-try", key=locked, namespace=None).json["key"]
    assert (key["scope"], key["namespace"]) == ("workspace", "mine-try")
    assert api.read("f", key=key["api_key"], namespace=None).json["content"] == "x"
    assert api.read("f", key=key["api_key"], namespace="mine").status == 403
    assert api.read("f", key=locked, namespace="mine-try").status == 403
    again = fork(api, "mine-try-2", key=key["api_key"], namespace=None).json["key"]
    assert again["namespace"] == "mine-try-2"
    listed = {each["key_id"] for each in api.keys().json["keys"]}
    assert {key["key_id"], again["key_id"]} <= listed


def test_an_unlocked_key_may_ask_for_one(api):
    api.write("f")
    key = fork(api, "copy", key_too=True).json["key"]
    assert key["api_key"].startswith("trove-sk-")
    assert api.read("f", key=key["api_key"], namespace=None).status == 200
    assert api.read("f", key=key["api_key"], namespace="main").status == 403


@pytest.mark.parametrize("name", ["mine", "other", "mines", "-mine", "Mine-x", "min"])
def test_a_locked_key_takes_no_name_of_others(api, name):
    """It would be given a key to a place that somebody else may be about to use."""
    locked = api.keys("POST", name="agent", namespace="mine").json["api_key"]
    answer = fork(api, name, key=locked, namespace=None)
    assert answer.status == 403
    assert api.read("f", namespace=name).status == 404


def test_nor_a_name_that_another_key_waits_for(api):
    locked = api.keys("POST", name="agent", namespace="mine").json["api_key"]
    waiting = api.keys("POST", name="neighbour", namespace="mine-too").json
    assert fork(api, "mine-too", key=locked, namespace=None).status == 409
    api.keys("DELETE", waiting["key_id"])
    assert fork(api, "mine-too", key=locked, namespace=None).status == 201


def test_an_unlocked_key_may_fork_to_where_a_key_waits(api):
    api.write("f")
    waiting = api.keys("POST", name="agent", namespace="for-it").json["api_key"]
    assert fork(api, "for-it").status == 201
    assert api.read("f", key=waiting, namespace=None).status == 200


def test_events(api):
    api.write("f")
    made = fork(api, "copy", key_too=True).json
    told = [
        (e["type"], e["namespace"], e["data"])
        for e in api.events(types="namespace.forked,key.created")["events"]
    ]
    key = {"key_id": made["key"]["key_id"], "name": "fork copy", "scope": "workspace", "namespace": "copy"}
    assert told == [
        ("key.created", None, key),
        ("namespace.forked", "copy", {"from": "main", "at": made["at"]}),
    ]


def test_the_history_of_a_fork_begins_with_it(api):
    api.write("f")
    made = fork(api, "copy").json
    [first] = api("GET", "/v1/history", namespace="copy").json["entries"]
    assert (first["version"], first["kind"]) == (made["version"], "fork")
    assert first["actor"]["key_id"] == api("GET", "/v1/me").json["key_id"]
    [of_path] = api("GET", "/v1/history", query={"path": "f"}, namespace="copy").json["entries"]
    assert (of_path["kind"], of_path["change"]) == ("fork", "added")
    # what it was before is the other's past, not its own
    assert api("GET", "/files/f", query={"at": made["at"]}, namespace="copy").status == 404


def test_workspaces_are_apart(api, trove):
    other = trove.server.keys.create_workspace("other")
    api.write("f")
    taken = api.snapshot()["snapshot_id"]
    assert fork(api, "main-copy", taken, key=other.key).status == 404
    assert fork(api, "main", key=other.key).status == 409  # of its own: this call made it
    assert fork(api, "copy", key=other.key).json["files"] == 0


def test_one_of_many_gets_the_name(api):
    from concurrent.futures import ThreadPoolExecutor

    api.write("f")
    with ThreadPoolExecutor(8) as pool:
        found = sorted(answer.status for answer in pool.map(lambda _: fork(api, "copy"), range(8)))
    assert found == [201] + [409] * 7


def test_a_fork_costs_the_same_at_any_size(tmp_path):
    """In rows that change, which SQLite counts."""
    with Trove.local(tmp_path / "state") as trove:
        writer = trove.server.database._writer
        counts = []
        for size in (10, 1000):
            client = trove.client(f"n{size}")
            for number in range(size):
                client.write(f"d{number % 7}/f{number}", "x")
            before = writer._opened().total_changes
            assert client.fork(f"n{size}-copy").files == size
            counts.append(writer._opened().total_changes - before)
    assert counts[0] == counts[1] <= 7
