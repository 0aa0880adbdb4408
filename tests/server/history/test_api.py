"""Comparisons and history over the API: docs/wire.md, "Reading the past"."""

import base64
import json

import pytest


def diff(api, start, to=None, **more):
    query = {"from": start, **({} if to is None else {"to": to}), **more}
    return api("GET", "/v1/diff", query=query)


def history(api, path=None, **more):
    return api("GET", "/v1/history", query={**({} if path is None else {"path": path}), **more})


def changes(answer):
    return [(entry["path"], entry["change"]) for entry in answer.json["entries"]]


def kinds(answer):
    return [(entry["kind"], entry["change"], entry["size_bytes"]) for entry in answer.json["entries"]]


def test_what_differs(api):
    api.write("kept", "same")
    api.write("gone", "1")
    api.write("d/changed", "12")
    before = api.snapshot()["snapshot_id"]
    api.delete("gone")
    api.write("d/changed", "123")
    api.write("new/deep/file", "")
    answer = diff(api, before)
    assert changes(answer) == [
        ("workspace/d/changed", "changed"),
        ("workspace/gone", "removed"),
        ("workspace/new", "added"),
        ("workspace/new/deep", "added"),
        ("workspace/new/deep/file", "added"),
    ]
    changed, gone, new, *_ = answer.json["entries"]
    assert (changed["before"]["size_bytes"], changed["after"]["size_bytes"]) == (2, 3)
    assert changed["after"]["modified_at"] == api.read("d/changed").json["modified_at"]
    assert (gone["before"]["mode"], gone["before"]["is_dir"], gone["after"]) == (0o644, False, None)
    assert (new["before"], new["after"]["is_dir"], new["after"]["size_bytes"]) == (None, True, None)
    assert answer.json["from"] < answer.json["to"]
    assert answer.json["next_cursor"] is None


def test_either_way_and_of_nothing(api):
    api.write("f", "1")
    first = api.snapshot()["snapshot_id"]
    api.write("g", "1")
    second = api.snapshot()["snapshot_id"]
    assert changes(diff(api, first, second)) == [("workspace/g", "added")]
    assert changes(diff(api, second, first)) == [("workspace/g", "removed")]
    assert changes(diff(api, second, second)) == changes(diff(api, second)) == []


def test_pages_are_of_the_versions_they_began_with(api):
    start = api.snapshot()["snapshot_id"]
    for number in range(5):
        api.write(f"f{number}")
    page = diff(api, start, limit=2)
    found = changes(page)
    api.write("a-later-one")
    api.delete("f4")
    while page.json["next_cursor"] is not None:
        page = diff(api, start, limit=2, cursor=page.json["next_cursor"])
        found += changes(page)
    assert found == [(f"workspace/f{number}", "added") for number in range(5)]


def test_a_page_holds_at_most_a_thousand(api):
    start = api.snapshot()["snapshot_id"]
    for number in range(1001):
        api.write(f"f{number:04}")
    page = diff(api, start, limit=5000)
    assert len(page.json["entries"]) == 1000
    rest = diff(api, start, cursor=page.json["next_cursor"])
    assert changes(rest) == [("workspace/f1000", "added")]


def test_names_that_are_not_utf8_go_on_too(api):
    start = api.snapshot()["snapshot_id"]
    for name in ("a", "b\uf7ff", "c"):
        api.write(name)
    page = diff(api, start, limit=2)
    assert changes(page)[1] == ("workspace/b\uf7ff", "added")
    assert changes(diff(api, start, cursor=page.json["next_cursor"])) == [("workspace/c", "added")]


def test_the_history_of_a_file(api):
    api.write("f", "1")
    taken = api.snapshot()["snapshot_id"]
    api.put("f", b"123")
    api.write("other")
    api.delete("f")
    api("POST", f"/v1/snapshots/{taken}/restore")
    answer = history(api, "workspace/f")
    assert kinds(answer) == [
        ("restore", "added", 1),
        ("delete", "removed", None),
        ("upload", "changed", 3),
        ("write", "added", 1),
    ]
    for entry in answer.json["entries"]:
        assert entry["actor"] == {"key_id": me(api)["key_id"], "key_name": me(api)["key_name"]}
        assert (entry["step"], entry["files"]) == (None, None)
    versions = [entry["version"] for entry in answer.json["entries"]]
    assert versions == sorted(versions, reverse=True)
    read = [api("GET", "/files/f", query={"at": version}) for version in versions]
    assert [each.body for each in read if each.status == 200] == [b"1", b"123", b"1"]
    assert read[1].status == 404


def me(api):
    return api("GET", "/v1/me").json


def test_the_history_of_a_namespace(api):
    api.write("f", "1")
    api.write("g", "22")
    taken = api.snapshot()["snapshot_id"]
    api.delete("f")
    api("POST", f"/v1/snapshots/{taken}/restore")
    found = history(api).json["entries"]
    assert [(e["kind"], e["files"], e["size_bytes"]) for e in found] == [
        ("restore", 2, 3),
        ("delete", 1, 2),
        ("snapshot", 2, 3),
        ("write", 2, 3),
        ("write", 1, 1),
        ("create", 0, 0),
    ]
    assert all(e["change"] is None for e in found)
    assert found[-1]["actor"] is None
    assert {e["actor"]["key_id"] for e in found[:-1]} == {me(api)["key_id"]}
    for root in ("", "workspace", "/"):
        assert history(api, root).json["entries"] == found


@pytest.mark.parametrize("path", [None, "f"])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_of_history(api, path, size):
    ids = []
    for number in range(4):
        api.write("f", str(number))
        ids.append(api.snapshot()["snapshot_id"])
    api.delete("f")
    for taken in (ids[1], ids[0], ids[3]):
        api("POST", f"/v1/snapshots/{taken}/restore")
    whole = history(api, path).json["entries"]
    found, cursor = [], None
    while cursor is not None or not found:
        page = history(api, path, limit=size, **({"cursor": cursor} if cursor else {})).json
        assert len(page["entries"]) <= size
        found += page["entries"]
        cursor = page["next_cursor"]
    assert found == whole


def test_who_it_was_stays_known_after_a_key_ends(api):
    made = api.keys("POST", name="short-lived").json
    api.write("f", key=made["api_key"])
    api.keys("DELETE", made["key_id"])
    assert history(api, "f").json["entries"][0]["actor"] == {
        "key_id": made["key_id"],
        "key_name": "short-lived",
    }


def test_what_is_not_there(api):
    assert history(api).status == 404
    assert diff(api, "0").status == 404
    api.write("f")
    assert history(api, "never").json == {"entries": [], "next_cursor": None}
    other = api.snapshot(namespace="other")["snapshot_id"]
    for start, to in (("snap-0", None), (other, None), ("1999-01-01", None), ("2999-01-01", other)):
        assert diff(api, start, to).status == 404
    for path in ("../x", "a\x00"):
        assert history(api, path).status == 400


def test_what_is_malformed(api):
    api.write("f")
    for query in ({}, {"from": "x"}, {"from": "1", "limit": 0}, {"from": "1", "limit": "many"}):
        assert api("GET", "/v1/diff", query=query).status == 422
    assert diff(api, "x").json["errors"][0]["field"] == "from"
    assert diff(api, "2999-01-01", "x").json["errors"][0]["field"] == "to"
    assert history(api, limit=0).status == 422


def cursor(place):
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "é",
        "e30",
        cursor("a"),
        cursor([1]),
        cursor([1, 2, 3]),
        cursor(1.5),
        cursor(None),
        "W" * 50_000,
    ],
)
def test_a_cursor_of_another_kind(api, text):
    api.write("f")
    assert diff(api, "2999-01-01", cursor=text).status == 400
    assert history(api, cursor=text).status == 400


@pytest.mark.parametrize("spot", [-1, 0, 10**30, -(10**30)])
def test_a_cursor_that_somebody_made(api, spot):
    """It leads to other places of the same namespace, and nowhere else."""
    api.write("f")
    assert history(api, cursor=cursor(spot)).status in {200, 400}
    assert diff(api, "2999-01-01", cursor=cursor([spot, spot, "../\ue000"])).status in {200, 400, 404}
