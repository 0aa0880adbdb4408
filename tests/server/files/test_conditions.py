"""Conditions and ranges: the section of that name in docs/wire.md."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

CHANGES = {
    "write": lambda api, path, headers: api(
        "POST", "/write", body={"path": path, "content": "new"}, headers=headers
    ),
    "upload": lambda api, path, headers: api.put(path, b"new", headers=headers),
    "delete": lambda api, path, headers: api.delete(path, headers=headers),
}


def test_every_answer_has_the_same_tag(api):
    written = api.write("a")["etag"]
    assert written.startswith('"') and written.endswith('"')
    assert api.read("a").json["etag"] == written
    assert api.get("a").headers["etag"] == written
    uploaded = api.put("a", b"\x00").json["etag"]
    assert uploaded != written
    assert api.read("a").json["etag"] == api.get("a").headers["etag"] == uploaded


def test_a_restore_changes_the_tag_only_of_what_it_changes(api):
    api.write("same")
    first = api.write("a")["etag"]
    same = api.read("same").json["etag"]
    taken = api.snapshot()["snapshot_id"]
    second = api.write("a", "other")["etag"]
    api("POST", f"/v1/snapshots/{taken}/restore")
    assert len({first, second}) == 2
    assert api.read("a").json["etag"] == first
    assert api.read("same").json["etag"] == same


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(
    ("headers", "holds"),
    [
        ({"If-Match": "{tag}"}, True),
        ({"If-Match": "*"}, True),
        ({"If-Match": '"1", {tag}'}, True),
        ({"If-Match": '"1"'}, False),
        ({"If-Match": "W/{tag}"}, False),
        ({"If-Match": ""}, False),
        ({"If-Match": "nothing"}, False),
        ({"If-None-Match": "*"}, False),
        ({"If-None-Match": "{tag}"}, False),
        ({"If-None-Match": "W/{tag}"}, False),
        ({"If-None-Match": '"1"'}, True),
        ({"If-Match": "{tag}", "If-None-Match": "*"}, False),
    ],
)
def test_on_a_file_that_is_there(api, name, headers, holds):
    tag = api.write("a", "old")["etag"]
    sent = [(header, value.format(tag=tag)) for header, value in headers.items()]
    answer = CHANGES[name](api, "a", sent)
    if holds:
        assert answer.status == 200
    else:
        assert (answer.status, answer.json["code"]) == (412, "precondition-failed")
        assert api.read("a").json["content"] == "old"
        events = api("GET", f"/v1/workspaces/{api.trove.credentials.workspace_id}/events").json["events"]
        assert len(events) == len([e for e in events if e["type"] != "file.deleted"])


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(
    ("header", "value", "status"),
    [("If-Match", "*", 412), ("If-Match", '"1"', 412), ("If-None-Match", "*", 200)],
)
def test_on_a_file_that_is_not_there(api, name, header, value, status):
    answer = CHANGES[name](api, "a", [(header, value)])
    assert answer.status == (404 if name == "delete" else status)
    assert api.read("a").status == (200 if answer.status == 200 else 404)


def test_a_refused_write_makes_no_directories(api):
    api.write("x")
    assert CHANGES["write"](api, "d/e/f", [("If-Match", "*")]).status == 412
    assert [entry["name"] for entry in api.list().json["entries"]] == ["x"]


@pytest.mark.parametrize("name", ["write", "upload"])
def test_of_many_who_create_a_file_one_wins(api, name):
    def create(_):
        return CHANGES[name](api, "lock", [("If-None-Match", "*")]).status

    with ThreadPoolExecutor(16) as pool:
        for _ in range(5):
            statuses = list(pool.map(create, range(32)))
            assert sorted(statuses) == [200] + [412] * 31
            api.delete("lock")


def test_counting_with_conditions_loses_nothing(api):
    api.write("n", "0")

    def add(_):
        while True:
            found = api.read("n").json
            body = {"path": "n", "content": str(int(found["content"]) + 1)}
            answer = api("POST", "/write", body=body, headers=[("If-Match", found["etag"])])
            if answer.status == 200:
                return
            assert answer.status == 412

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert api.read("n").json["content"] == "40"


def test_a_download_that_the_caller_has(api):
    tag = api.write("a", "text")["etag"]
    for value in (tag, f"W/{tag}", "*", f'"1", {tag}'):
        answer = api.get("a", headers=[("If-None-Match", value)])
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag)
        assert "content-length" not in answer.headers
    answer = api.get("a", headers=[("If-None-Match", '"1"'), ("Range", "bytes=0-1")])
    assert (answer.status, answer.body) == (206, b"te")


RANGES = [
    ("bytes=0-0", 0, 1),
    ("bytes=0-", 0, 10),
    ("bytes=3-5", 3, 6),
    ("bytes=9-", 9, 10),
    ("bytes=5-5000", 5, 10),
    ("bytes=-3", 7, 10),
    ("bytes=-500", 0, 10),
    ("BYTES=1-2", 1, 3),
    (" bytes=1-2 ", 1, 3),
]


@pytest.mark.parametrize(("text", "start", "stop"), RANGES)
def test_a_range(api, text, start, stop):
    api.put("a", b"0123456789")
    answer = api.get("a", headers=[("Range", text)])
    assert (answer.status, answer.body) == (206, b"0123456789"[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/10"
    assert answer.headers["content-length"] == str(stop - start)
    assert answer.headers["x-trove-size"] == "10"
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("text", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_after_the_end(api, text):
    api.put("a", b"0123456789")
    answer = api.get("a", headers=[("Range", text)])
    assert (answer.status, answer.json["code"]) == (416, "range-not-satisfiable")
    assert answer.headers["content-range"] == "bytes */10"
    api.put("empty", b"")
    assert api.get("empty", headers=[("Range", "bytes=0-")]).status == 416


@pytest.mark.parametrize(
    "text", ["bytes=0-1,3-4", "lines=0-1", "bytes=", "bytes=-", "bytes=5-3", "bytes=a-b", "", "bytes=²-"]
)
def test_what_is_no_single_range_is_the_whole_file(api, text):
    api.put("a", b"0123456789")
    answer = api.get("a", headers=[("Range", text)])
    assert (answer.status, answer.body) == (200, b"0123456789")
    assert "content-range" not in answer.headers


def test_a_range_only_of_the_same_file(api):
    tag = api.put("a", b"0123456789").json["etag"]
    for value, status in ((tag, 206), ('"1"', 200)):
        assert api.get("a", headers=[("Range", "bytes=1-2"), ("If-Range", value)]).status == status


def test_ranges_of_a_large_file(api):
    data = random.Random(1).randbytes(3_000_000)
    api.put("a", data)
    for start, stop in ((0, 1), (1_048_575, 1_048_577), (1_500_000, 3_000_000), (2_999_999, 3_000_000)):
        answer = api.get("a", headers=[("Range", f"bytes={start}-{stop - 1}")])
        assert (answer.status, answer.body == data[start:stop]) == (206, True)
