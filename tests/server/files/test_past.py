"""Reading the past over the API: docs/wire.md, "Reading the past"."""

import datetime as dt

import pytest

READS = ["/v1/files", "/v1/files/content?path=f", "/files/f", "/v1/files/stat?path=f"]


def at(api, path, moment, **more):
    path, _, query = path.partition("?")
    pairs = dict([query.split("=")]) if query else {}
    return api("GET", path, query={**pairs, "at": moment}, **more)


def version_of(api, path="f"):
    return api("GET", "/v1/files/stat", query={"path": path}).json["version"]


def test_a_snapshot_a_version_and_a_moment(api):
    api.write("f", "one")
    first = version_of(api)
    taken = api.snapshot()
    api.write("f", "two")
    api.write("g", "new")
    for moment in (taken["snapshot_id"], first, taken["created_at"]):
        assert at(api, "/v1/files/content?path=f", moment).json["content"] == "one"
        assert at(api, "/files/f", moment).body == b"one"
        assert at(api, "/files/f", moment).headers["x-trove-size"] == "3"
        assert [e["path"] for e in at(api, "/v1/files", moment).json["entries"]] == ["workspace/f"]
        assert at(api, "/v1/files/stat?path=f", moment).json["version"] == first
        assert at(api, "/v1/files/content?path=g", moment).status == 404
        assert at(api, "/v1/files/stat?path=g", moment).status == 404
    assert api.read("f").json["content"] == "two"


def test_a_moment_with_an_offset(api):
    api.write("f", "one")
    when = dt.datetime.now(dt.UTC)
    api.write("f", "two")
    moment = when.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30))).isoformat()
    assert "+05:30" in moment
    assert at(api, "/files/f", moment).body == b"one"
    assert at(api, "/files/f", moment.replace("+", " ")).body == b"one"


def test_what_is_to_come_is_the_present(api):
    api.write("f", "one")
    for moment in ("9999-12-31T23:59:59Z", 2**63 - 1, 10**40):
        assert at(api, "/files/f", moment).body == b"one"


def test_states_before_a_restore_stay_readable(api):
    api.write("f", "one")
    taken = api.snapshot()["snapshot_id"]
    api.write("f", "two")
    second = version_of(api)
    api("POST", f"/v1/snapshots/{taken}/restore")
    assert api.read("f").json["content"] == "one"
    assert at(api, "/files/f", second).body == b"two"


@pytest.mark.parametrize("path", READS)
def test_no_such_past(api, path):
    api.write("f", "one")
    other = api.snapshot(namespace="other")["snapshot_id"]
    for moment in (
        "snap-0000000000000000",
        "auto-0000000000000000",
        other,
        "0",
        "1999-01-01",
        "0001-01-01T00:00Z",
    ):
        assert at(api, path, moment).status == 404, moment
    assert at(api, path, api.snapshot()["snapshot_id"], namespace="never-used").status == 404


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("moment", ["", "yesterday", "-1", "1.5", "snap", "²", "2026-13-01"])
def test_what_is_no_moment(api, path, moment):
    api.write("f", "one")
    answer = at(api, path, moment)
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "at"


def test_a_deleted_snapshot_is_no_state_but_its_moment_is(api):
    api.write("f", "one")
    taken = api.snapshot()
    api.write("f", "two")
    api("DELETE", f"/v1/snapshots/{taken['snapshot_id']}")
    assert at(api, "/files/f", taken["snapshot_id"]).status == 404
    assert at(api, "/files/f", taken["created_at"]).body == b"one"


def test_stat(api):
    api.write("d/f", "12345")
    stat = api("GET", "/v1/files/stat", query={"path": "workspace/d/f"}).json
    assert stat["path"] == "workspace/d/f"
    assert (stat["kind"], stat["size_bytes"], stat["mode"]) == ("file", 5, 0o644)
    assert stat["modified_at"] == api.read("d/f").json["modified_at"]
    assert stat["etag"] == f'"{stat["version"]}"'
    folder = api("GET", "/v1/files/stat", query={"path": "d"}).json
    assert (folder["kind"], folder["size_bytes"], folder["mode"]) == ("directory", None, 0o755)
    for path in ("", "workspace/", "../x"):
        assert api("GET", "/v1/files/stat", query={"path": path}).status == 400
    for path in ("d/f/g", "nothing"):
        assert api("GET", "/v1/files/stat", query={"path": path}).status == 404
    assert api("GET", "/v1/files/stat").status == 422


def test_a_large_file_of_the_past(api):
    api.put("big", b"a" * 3_000_000)
    first = version_of(api, "big")
    api.put("big", b"b" * 3_000_001)
    assert at(api, "/files/big", first).body == b"a" * 3_000_000
    assert at(api, "/v1/files/content?path=big", first).json["size_bytes"] == 3_000_000


def test_links_are_followed_as_they_led_then(api, trove):
    """Made in the store, since commands need a sandbox."""
    from trove_agents.server import timelines

    api.write("one/f", "first")
    api.write("two/f", "second")

    def point(target):
        def commit(tx):
            space = timelines.namespace(tx, trove.credentials.workspace_id, "main")
            now = trove.server.database.now_ns()
            change = timelines.Change(tx, space, kind="exec", now_ns=now, actor=None)
            change.put_link("here", target.encode(), replace=True)
            return change.commit().at.version

        return trove.server.database.write(commit)

    first = point("one")
    point("two")
    assert api.read("here/f").json["content"] == "second"
    assert at(api, "/files/here/f", first).body == b"first"
    link = at(api, "/v1/files/stat?path=here", first).json
    assert (link["kind"], link["size_bytes"]) == ("link", 3)
    inside = at(api, "/v1/files/stat?path=here/f", first).json
    assert (inside["path"], inside["size_bytes"]) == ("workspace/here/f", 5)


def test_the_capability_is_listed_once(api):
    listed = api("GET", "/v1/me").json["capabilities"]
    assert listed.count("files.at") == 1
    assert len(listed) == len(set(listed))
