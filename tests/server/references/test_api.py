"""Step references over the API: docs/wire.md, "Step references"."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from trove_agents.embedded import Trove


def take(api, thread=None, step=None, **more):
    names = {"thread": thread, "step": step}
    body = {name: text for name, text in names.items() if text is not None}
    answer = api("POST", "/v1/references", body=body, **more)
    assert answer.status == 201, answer.body
    return answer.json


def listed(api, **query):
    return api("GET", "/v1/references", query=query).json


def ids(page):
    return [each["reference_id"] for each in page["references"]]


def test_what_a_reference_says(api):
    api.write("a", "one")
    api.write("d/b", "two")
    version = api("GET", "/v1/files/stat", query={"path": "d/b"}).json["version"]
    made = take(api, "t", "s")
    assert re.fullmatch(r"ref-[0-9a-f]{16}", made["reference_id"])
    assert {name: made[name] for name in made if name not in ("reference_id", "created_at")} == {
        "namespace": "main",
        "version": version,
        "files": 2,
        "size_bytes": 6,
        "thread": "t",
        "step": "s",
    }
    assert api("GET", f"/v1/references/{made['reference_id']}").json == made


def test_it_is_no_version_no_snapshot_and_no_event(api):
    api.write("f")
    before = api("GET", "/v1/history").json, api.events()
    take(api)
    assert (api("GET", "/v1/history").json, api.events()) == before
    assert api("GET", "/v1/snapshots").json["snapshots"] == []


def test_an_unchanged_namespace_is_not_referred_to_twice(api):
    api.write("f", "1")
    first = take(api, "t", "1")
    assert take(api, "t", "1") == first
    others = [take(api, *names) for names in (("t", "2"), ("u", "1"), ("t", None), (None, "1"), (None, None))]
    assert len({each["reference_id"] for each in (first, *others)}) == 6
    assert {each["version"] for each in others} == {first["version"]}
    assert take(api) == others[-1]
    api.write("f", "2")
    again = take(api, "t", "1")
    assert again["version"] > first["version"]
    api("DELETE", f"/v1/references/{again['reference_id']}")
    assert take(api, "t", "1")["reference_id"] not in (first["reference_id"], again["reference_id"])


def test_many_at_once_get_one(api):
    api.write("f")
    with ThreadPoolExecutor(8) as pool:
        found = {each["reference_id"] for each in pool.map(lambda _: take(api, "t", "1"), range(16))}
    assert len(found) == 1 == len(listed(api)["references"])


def test_a_namespace_never_used_can_be_referred_to(api):
    made = take(api, namespace="fresh")
    assert (made["files"], made["size_bytes"]) == (0, 0)
    api.write("f", namespace="fresh")
    restored = api("POST", "/v1/restore", body={"to": made["reference_id"]}, namespace="fresh")
    assert (restored.status, restored.json["files_restored"]) == (200, 0)
    assert api.list(namespace="fresh").json["entries"] == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"thread": null, "step": null}'])
def test_the_names_are_optional(api, body):
    answer = api("POST", "/v1/references", data=body)
    assert (answer.status, answer.json["thread"], answer.json["step"]) == (201, None, None)


@pytest.mark.parametrize("field", ["thread", "step"])
def test_names(api, field):
    for name in ("x" * 512, "é" * 256, 'a "b" \\ %', "\U0001f600"):
        assert take(api, **{field: name})[field] == name
    for name in ("x" * 513, "é" * 257, "a\0b", "a\nb"):
        answer = api("POST", "/v1/references", body={field: name})
        assert (answer.status, answer.json["errors"][0]["field"]) == (422, field)


def test_lone_surrogates_are_refused(api):
    assert api("POST", "/v1/references", data=b'{"thread": "\\ud800"}').status == 422


def test_listing(api):
    made = []
    for number in range(7):
        api.write("f", str(number))
        made.append(take(api, "even" if number % 2 == 0 else "odd", str(number))["reference_id"])
    take(api, namespace="other")
    assert ids(listed(api)) == made[::-1]
    assert ids(listed(api, thread="even")) == made[::-2]
    assert listed(api, thread="none") == {"references": [], "next_cursor": None}
    found, cursor = [], None
    while True:
        page = listed(api, limit=2, **({} if cursor is None else {"cursor": cursor}))
        assert len(page["references"]) <= 2
        found += ids(page)
        take(api, "later", str(len(found)))  # newer ones do not come in between
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == made[::-1]
    assert api("GET", "/v1/references", namespace="unused").json["references"] == []


def test_a_page_holds_two_hundred(api):
    made = [take(api, step=str(number))["reference_id"] for number in range(203)]
    page = listed(api, limit=1000)
    assert ids(page) == made[:2:-1]
    assert ids(listed(api, cursor=page["next_cursor"])) == made[2::-1]


def test_malformed_listings(api):
    take(api)
    assert api("GET", "/v1/references", query={"limit": 0}).status == 422
    assert api("GET", "/v1/references", query={"thread": "\0"}).status == 422
    for cursor in ("x", "bnVsbA", "!"):
        assert api("GET", "/v1/references", query={"cursor": cursor}).status == 400
    assert api("GET", "/v1/references", query={"cursor": "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"}).status == 200


def test_deleting_one(api):
    api.write("f")
    made = take(api)["reference_id"]
    one = f"/v1/references/{made}"
    assert api("DELETE", one).json == {"reference_id": made, "deleted": True}
    for method in ("GET", "DELETE"):
        assert api(method, one).status == 404
    assert api.read("f").status == 200
    [event] = api.events(types="references.deleted")["events"]
    assert (event["namespace"], event["data"]) == ("main", {"count": 1})


def test_another_namespaces_reference_is_not_found(api):
    api.write("f", namespace="one")
    made = take(api, namespace="one")["reference_id"]
    api.write("kept", namespace="two")
    for name in ("two", "unused"):
        for method in ("GET", "DELETE"):
            assert api(method, f"/v1/references/{made}", namespace=name).status == 404
        assert api("POST", "/v1/references/delete", body={"ids": [made]}, namespace=name).json == {
            "deleted": 0,
            "more": False,
        }
        assert api("POST", "/v1/restore", body={"to": made}, namespace=name).status == 404
        assert api.list(namespace=name, recursive=False).status == 200
        query = {"path": "f", "at": made}
        assert api("GET", "/v1/files/content", query=query, namespace=name).status == 404
    assert api("GET", f"/v1/references/{made}", namespace="one").status == 200


@pytest.mark.parametrize(
    "name", ["ref-", "ref-x", "ref-0000000000000000", "ref-\0", "REF-1", "delete", "ref-%00"]
)
def test_ids_that_are_none(api, name):
    api.write("f")
    assert api("GET", f"/v1/references/{name}").status in (404, 405)
    assert api("POST", "/v1/restore", body={"to": name}).status in (404, 422)
    assert api("GET", "/v1/files/stat", query={"path": "f", "at": name}).status in (404, 422)


def test_deleting_many(api):
    made = {}
    for number in range(6):
        api.write("f", str(number))
        made[number] = take(api, "even" if number % 2 == 0 else "odd", str(number))

    def delete(**body):
        answer = api("POST", "/v1/references/delete", body=body)
        assert answer.status == 200, answer.body
        return answer.json["deleted"]

    def left():
        return {int(each["step"]) for each in listed(api)["references"]}

    assert (
        delete(ids=[made[0]["reference_id"], "ref-0000000000000000", "ref-\0", made[0]["reference_id"]]) == 1
    )
    assert left() == {1, 2, 3, 4, 5}
    assert delete(thread="even", before=made[4]["created_at"]) == 1
    assert left() == {1, 3, 4, 5}
    assert delete(before=made[3]["created_at"]) == 1
    assert left() == {3, 4, 5}
    assert delete(thread="odd") == 2
    assert left() == {4}
    assert delete(thread="odd") == delete(ids=[]) == 0
    told = [event["data"] for event in api.events(types="references.deleted")["events"]]
    assert told == [{"count": 2, "thread": "odd"}, {"count": 1}, {"count": 1, "thread": "even"}, {"count": 1}]


@pytest.mark.parametrize(
    "body",
    [{}, {"ids": [], "thread": "t"}, {"ids": [], "before": "2026-01-01"}, {"ids": ["x"] * 1001}, {"ids": [1]},
     {"before": "then"}, {"before": 5}, {"thread": "a\0"}],
)  # fmt: skip
def test_it_must_be_said_which(api, body):
    made = take(api)["reference_id"]
    assert api("POST", "/v1/references/delete", body=body).status == 422
    assert ids(listed(api)) == [made]


def test_a_call_deletes_a_bounded_number(api, monkeypatch):
    from trove_agents.wire import limits

    for number in range(7):
        take(api, "t", str(number))
    monkeypatch.setattr(limits, "REFERENCES_DELETED", 3)
    answers = [api("POST", "/v1/references/delete", body={"thread": "t"}).json for _ in range(3)]
    assert answers == [
        {"deleted": 3, "more": True},
        {"deleted": 3, "more": True},
        {"deleted": 1, "more": False},
    ]


def test_a_reference_is_a_state(api):
    api.write("a", "one")
    api.write("gone", "x")
    made = take(api)
    state = made["reference_id"]
    api.write("a", "two!")
    api.delete("gone")
    api.write("new")
    at = {"at": state}
    assert api("GET", "/v1/files/content", query={"path": "a", **at}).json["content"] == "one"
    assert [e["name"] for e in api("GET", "/v1/files", query=at).json["entries"]] == ["a", "gone"]
    assert api("GET", "/v1/files/stat", query={"path": "a", **at}).json["size_bytes"] == 3
    assert api.get("gone", query=at).body == b"x"
    assert api("GET", "/v1/files/content", query={"path": "new", **at}).status == 404
    for query in ({"from": state}, {"from": state, "to": "2100-01-01"}):
        told = api("GET", "/v1/diff", query=query).json
        assert told["from"] == made["version"]
        assert [(e["path"], e["change"]) for e in told["entries"]] == [
            ("workspace/a", "changed"),
            ("workspace/gone", "removed"),
            ("workspace/new", "added"),
        ]
    assert api("GET", "/v1/diff", query={"from": state, "to": state}).json["entries"] == []
    forked = api("POST", "/v1/forks", body={"namespace": "copy", "from": state}).json
    assert (forked["at"], forked["files"]) == (made["version"], 2)
    assert api.read("a", namespace="copy").json["content"] == "one"
    api("DELETE", f"/v1/references/{state}")
    assert api("GET", "/v1/files/content", query={"path": "a", **at}).status == 404
    assert api.read("a", namespace="copy").json["content"] == "one"


def test_a_deleted_namespace_takes_its_references_with_it(api):
    api.write("f")
    made = take(api)["reference_id"]
    assert api("DELETE", "/v1/namespaces/main").status == 200
    assert api("GET", f"/v1/references/{made}").status == 404
    api.write("f")
    assert api("GET", f"/v1/references/{made}").status == 404
    assert listed(api)["references"] == []


def test_workspaces_are_apart(api, trove):
    api.write("f")
    made = take(api)["reference_id"]
    other = trove.server.keys.create_workspace("other").key
    api.write("g", key=other)
    assert api("GET", f"/v1/references/{made}", key=other).status == 404
    assert api("POST", "/v1/restore", body={"to": made}, key=other).status == 404
    assert api("GET", "/v1/references", key=other).json["references"] == []


ASKED = ("X-Trove-Reference", "1")
STEP = ("X-Trove-Step", 'thread="t", step="4", call="c"')


def snapshot_restore(api, headers):
    taken = api.snapshot()["snapshot_id"]
    return api("POST", f"/v1/snapshots/{taken}/restore", headers=headers)


CHANGES = {
    "write": lambda api, headers: api("POST", "/write", body={"path": "n", "content": "x"}, headers=headers),
    "upload": lambda api, headers: api.put("n", b"x" * 20_000, headers=headers),
    "delete": lambda api, headers: api.delete("f", headers=headers),
    "mkdir": lambda api, headers: api("POST", "/v1/files/mkdir", body={"path": "d"}, headers=headers),
    "mkdir again": lambda api, headers: api("POST", "/v1/files/mkdir", body={"path": "e"}, headers=headers),
    "move": lambda api, headers: api(
        "POST", "/v1/files/move", body={"from": "f", "to": "g"}, headers=headers
    ),
    "copy": lambda api, headers: api(
        "POST", "/v1/files/copy", body={"from": "f", "to": "g"}, headers=headers
    ),
    "restore a snapshot": snapshot_restore,
    "restore": None,
}


def change(api, name, headers):
    api.write("f", "one")
    version = api("GET", "/v1/files/stat", query={"path": "f"}).json["version"]
    api("POST", "/v1/files/mkdir", body={"path": "e"})
    if name == "restore":
        return api("POST", "/v1/restore", body={"to": str(version)}, headers=headers)
    return CHANGES[name](api, headers)


def head(api):
    return api("GET", "/v1/history", query={"limit": 1}).json["entries"][0]["version"]


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_takes_one_along(api, name):
    answer = change(api, name, [ASKED, STEP])
    assert answer.status == 200, answer.body
    made = api("GET", f"/v1/references/{answer.json['reference_id']}").json
    assert (made["version"], made["thread"], made["step"]) == (head(api), "t", "4")
    entry = api("GET", "/v1/history", query={"limit": 1}).json["entries"][0]
    assert (made["files"], made["size_bytes"]) == (entry["files"], entry["size_bytes"])
    assert ids(listed(api)) == [made["reference_id"]]
    assert api("POST", "/v1/references", headers=[STEP]).json == made
    api.write("f", "later")
    assert api("GET", "/v1/diff", query={"from": made["reference_id"]}).json["entries"]


@pytest.mark.parametrize("name", CHANGES)
def test_none_unless_it_is_asked_for(api, name):
    answer = change(api, name, [STEP])
    assert answer.status == 200 and "reference_id" not in answer.json
    assert listed(api)["references"] == []


def test_a_refused_change_takes_none(api):
    for answer in (
        api.delete("missing", headers=[ASKED]),
        api("POST", "/write", body={"path": "/", "content": ""}, headers=[ASKED]),
        api("POST", "/write", body={"path": "a", "content": ""}, headers=[ASKED, ("If-Match", '"1"')]),
    ):
        assert answer.status in (400, 404, 412)
    assert listed(api)["references"] == []


@pytest.mark.parametrize("value", ["0", "true", "", "ref-0000000000000000"])
def test_it_is_asked_for_in_one_way(api, value):
    headers = [("X-Trove-Reference", value)]
    answer = api("POST", "/write", body={"path": "a", "content": ""}, headers=headers)
    assert answer.status == 400 and "X-Trove-Reference" in answer.json["detail"]
    assert api.read("a").status == 404


def test_the_step_of_the_call_is_that_of_the_reference(api):
    api.write("f")
    made = api("POST", "/v1/references", headers=[STEP]).json
    assert (made["thread"], made["step"]) == ("t", "4")
    other = api("POST", "/v1/references", body={"step": "5"}, headers=[STEP]).json
    assert (other["thread"], other["step"]) == ("t", "5")
    api("POST", "/v1/references/delete", body={"thread": "t"}, headers=[STEP])
    [event] = api.events(types="references.deleted")["events"]
    assert (event["data"], event["step"]["thread"]) == ({"count": 2, "thread": "t"}, "t")


def test_a_reference_costs_the_same_at_any_size(tmp_path):
    """In rows that change, which SQLite counts."""
    with Trove.local(tmp_path / "state") as trove:
        writer = trove.server.database._writer
        for size in (10, 1000):
            client = trove.client(f"n{size}")
            client.mkdir("d")
            client.write("d/f", "x")
            for number in range(size // 10):
                client.copy("d", f"c{number}")
            before = writer._opened().total_changes
            client.create_reference(step="1")
            assert writer._opened().total_changes - before == 1
            client.create_reference(step="1")
            assert writer._opened().total_changes - before == 1
