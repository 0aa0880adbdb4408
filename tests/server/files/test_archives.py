"""Trees as archives: the section of that name in docs/wire.md. What is no archive is in tests/wire/test_tars.py."""

import io
import itertools
import tarfile
import tracemalloc

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck

from trove_agents.client.transport import Outgoing
from trove_agents.errors import TroveConnectionError
from trove_agents.server import timelines
from trove_agents.server.timelines import Change, Kind
from trove_agents.wire import limits, names, tars
from trove_agents.wire.tar_reader import BrokenOff, Reader
from trove_agents.wire.tars import Member

TIME = 1_700_000_000_123_456_789


def archive(*entries):
    """From ``(path,)`` for a directory, ``(path, data)`` and ``(path, None, target)``."""
    raw = b""
    for path, *rest in entries:
        if not rest:
            raw += tars.head(Member(path, "directory", 0o750, TIME))
        elif len(rest) == 2:
            raw += tars.head(Member(path, "link", 0o777, TIME, target=rest[1]))
        else:
            raw += (
                tars.head(Member(path, "file", 0o640, TIME, len(rest[0])))
                + rest[0]
                + tars.padding(len(rest[0]))
            )
    return raw + tars.END


def put(api, data, path="", replace=False, **more):
    query = {"path": path} | ({"replace": "true"} if replace else {})
    return api("PUT", "/v1/tree", data=data, query=query, **more)


def export(api, path="", **query):
    return api("GET", "/v1/tree", query={"path": path, **query})


def read(data):
    reader = Reader()
    found = {}
    for each in reader.feed(data):
        if isinstance(each, Member):
            found[each.path] = [each, b""]
        else:
            found[next(reversed(found))][1] += each
    reader.close()
    return {path: (m.kind, m.mode, m.mtime_ns, m.target, content) for path, (m, content) in found.items()}


def tree(api):
    return read(export(api).body)


def told(api):
    return [(event["type"], event["data"]) for event in api.events()["events"]]


def versions(api):
    return api("GET", "/v1/history").json["entries"]


def spooled(api):
    """What lies in the state directory and its blobs' place for what is on the way in."""
    return [str(each) for each in (api.trove.folder / "blobs" / "incoming").glob("*")]


def test_one_version_and_one_event(api):
    data = archive(
        ("d",), ("d/small", b"text"), ("d/big", b"z" * 50_000), ("e",), ("link", None, b"../../etc/passwd")
    )
    answer = put(api, data, "/workspace/a/b")
    assert answer.json == {"path": "workspace/a/b", "files": 3, "size_bytes": 50_004}
    assert told(api)[0] == (
        "tree.written",
        {"path": "workspace/a/b", "files": 3, "size_bytes": 50_004, "replaced": False},
    )
    assert [entry["kind"] for entry in versions(api)] == ["tree", "create"]
    assert (versions(api)[0]["files"], versions(api)[0]["size_bytes"]) == (3, 50_004)
    assert read(export(api, "a/b").body) == read(data)
    stat = api("GET", "/v1/files/stat", query={"path": "a/b/d/small"}).json
    assert (stat["mode"], stat["kind"]) == (0o640, "file")
    assert put(api, data, "a/b").status == 200
    assert len(versions(api)) == 2  # the same again changes nothing
    assert [kind for kind, _ in told(api)].count("tree.written") == 1


def test_it_is_laid_over_what_is_there(api):
    put(api, archive(("d",), ("d/a", b"1"), ("d/b", b"2"), ("c", b"3")))
    put(api, archive(("d/b", b"new"), ("d/c/deep", b"4")))
    assert {path: value[-1] for path, value in tree(api).items()} == {
        "d": b"", "d/a": b"1", "d/b": b"new", "d/c": b"", "d/c/deep": b"4", "c": b"3"
    }  # fmt: skip


def test_replace_makes_it_what_the_archive_is(api):
    put(
        api,
        archive(("d",), ("d/a", b"1"), ("d/f", b"2"), ("d/e/x", b""), ("l", None, b"d"), ("kept", b"5")),
        "t",
    )
    api.write("outside")
    before = api("GET", "/v1/files/stat", query={"path": "t/kept"}).json["version"]
    new = archive(("d", b"a file now"), ("l/in", b"a directory now"), ("kept", b"5"))
    assert put(api, new, "t").status == 409
    assert put(api, new, "t", replace=True).json["files"] == 3
    found = {path: value[-1] for path, value in read(export(api, "t").body).items()}
    assert found == {"d": b"a file now", "l": b"", "l/in": b"a directory now", "kept": b"5"}
    assert api.read("outside").status == 200
    assert api("GET", "/v1/files/stat", query={"path": "t/kept"}).json["version"] == before
    assert put(api, tars.END, replace=True).json["files"] == 0
    assert tree(api) == {}


@pytest.mark.parametrize(
    ("there", "new", "said"),
    [
        (("a/b", b""), ("a", b""), "workspace/t/a is a directory"),
        (("a", b""), ("a/b/c", b""), "workspace/t/a is not a directory"),
        (("a", b""), ("a",), "workspace/t/a is not a directory"),
        (("a", None, b"d"), ("a/b", b""), "workspace/t/a is not a directory"),
        (("a", None, b"d"), ("a",), "workspace/t/a is not a directory"),
    ],
)
def test_clashes_with_what_is_there(api, there, new, said):
    put(api, archive(there, ("d",)), "t")
    before = tree(api), told(api)
    answer = put(api, archive(("fine", b""), new), "t")
    assert (answer.status, answer.json["detail"]) == (409, said)
    assert (tree(api), told(api)) == before
    assert put(api, archive(new), "t", replace=True).status == 200


def test_links_above_are_followed_and_those_in_the_way_are_not(api):
    put(api, archive(("real",), ("link", None, b"real"), ("out", None, b"/etc"), ("file", b"")))
    assert put(api, archive(("f", b"1")), "link/sub").json["path"] == "workspace/link/sub"
    assert "real/sub/f" in tree(api)
    assert read(export(api, "link/sub").body).keys() == {"f"}
    assert put(api, archive(("f", b"1")), "out").status == 400
    assert put(api, archive(("f", b"1")), "file").status == 409
    assert put(api, archive(("f", b"1")), "file/x").status == 409
    assert export(api, "file").status == 400
    assert export(api, "out").status == 400
    assert export(api, "missing").status == 404
    assert "real" in tree(api)


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (tars.head(Member("a\nb", "file", 0o644, 0)) + tars.END, 400, "'a\\nb' holds control"),
        (tars.head(Member("a\x85b", "directory", 0o644, 0)) + tars.END, 400, "'a\\x85b' holds control"),
        (archive(("ok", b"1"))[:-1024], 422, "breaks off"),
        (archive(("ok", b"1")) + b"more", 422, "follow the end"),
        (b"\x1f\x8b" + bytes(1000), 422, "compressed"),
        (b"", 422, "breaks off"),
        (archive(("ok", b"z" * 50_000))[:30_000], 422, "breaks off"),
        (archive(("ok", b"z" * 50_000), ("ok", b"")), 422, "'ok' is there twice"),
    ],
)
def test_what_is_refused_leaves_nothing(api, data, status, said):
    api.write("before")
    events = told(api)
    answer = put(api, data, replace=True)
    assert answer.status == status
    assert said in answer.json["detail"]
    assert tree(api).keys() == {"before"}
    assert told(api) == events
    assert spooled(api) == []


def test_paths_that_would_be_too_long_below_the_directory(api):
    data = archive(("/".join(["n" * 250] * 15), b""))
    assert put(api, data, "/".join(["m" * 250] * 3)).status == 400
    assert put(api, data).status == 200


def test_content_encoding_and_sizes(api, monkeypatch):
    data = archive(("a", b"1" * 40_000), ("b/c", b""))
    assert put(api, data, headers=[("Content-Encoding", "gzip")]).status == 422
    monkeypatch.setattr(limits, "TREE_ENTRIES", 2)
    answer = put(api, data)
    assert (answer.status, answer.json["code"]) == (413, "too-large")
    monkeypatch.setattr(limits, "TREE_ENTRIES", 3)
    monkeypatch.setattr(limits, "TREE_PATHS_BYTES", 4)
    assert put(api, data).status == 413
    monkeypatch.setattr(limits, "TREE_PATHS_BYTES", 5)
    monkeypatch.setattr(limits, "TREE_BYTES", len(data) - 1)
    assert put(api, data).status == 413
    assert put(api, iter([data])).status == 413  # without a length
    monkeypatch.setattr(limits, "TREE_BYTES", len(data))
    assert put(api, iter([data])).status == 200


def test_a_size_that_lies_is_not_waited_for(api):
    data = tars.head(Member("a", "file", 0o644, 0, 2**50)) + b"x" * 1000
    assert put(api, data).status == 413


def test_quota(api):
    admin = api.trove.credentials.admin_key
    body = {"quota_bytes": 60_000}
    assert api("PATCH", "/v1/namespaces/main", body=body, key=admin, namespace=None).status == 200
    assert put(api, archive(("a", b"1" * 50_000))).status == 200
    answer = put(api, archive(("b", b"1" * 50_000)))
    assert (answer.status, answer.json["code"]) == (413, "quota-exceeded")
    assert tree(api).keys() == {"a"}
    assert put(api, archive(("b", b"1" * 50_000)), replace=True).status == 200


def test_step_lease_reference_and_key(api):
    lease = api("POST", "/v1/leases", body={"ttl": 60}).json["lease_id"]
    data = archive(("a", b"1"))
    assert put(api, data).json["code"] == "workspace-leased"
    said = [
        ("X-Trove-Lease", lease),
        ("X-Trove-Step", 'thread="t"'),
        ("X-Trove-Reference", "1"),
        ("Idempotency-Key", '"k"'),
    ]
    first = put(api, data, headers=said)
    assert first.json["reference_id"].startswith("ref-")
    assert versions(api)[0]["step"] == {"thread": "t"}
    again = put(api, data, headers=said)
    assert (again.json, again.headers["idempotency-replayed"]) == (first.json, "true")
    assert put(api, archive(("a", b"2")), headers=said).json["code"] == "idempotency-mismatch"
    assert put(api, data, "other", headers=said).json["code"] == "idempotency-mismatch"
    assert len(versions(api)) == 2


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_upload_that_breaks_off_leaves_what_was_there(api, size):
    put(api, archive(("a", b"old")))
    data = archive(("a", b"x" * size), ("b", b"x" * size))

    def pieces(stop):
        yield data[:stop]
        raise OSError("the disk of the caller")

    for stop in (0, 600, len(data) // 2, len(data)):
        request = Outgoing(
            "PUT",
            "/v1/tree",
            "",
            (("Authorization", f"Bearer {api.key}"), ("X-Namespace", "main")),
            pieces(stop),
            len(data) + 1,
            20.0,
        )
        with pytest.raises((TroveConnectionError, OSError)):
            api.transport.send(request)
    assert tree(api)["a"][-1] == b"old"
    assert tree(api).keys() == {"a"}
    assert spooled(api) == []


def test_an_export_is_of_one_version(api):
    entries = [(f"d{n % 7}/f{n}", b"%d" % n * 3000) for n in range(450)]
    put(api, archive(*entries))
    wanted = tree(api)
    taken = api.snapshot()["snapshot_id"]
    request = Outgoing(
        "GET",
        "/v1/tree",
        "",
        (("Authorization", f"Bearer {api.key}"), ("X-Namespace", "main")),
        b"",
        None,
        60.0,
    )
    with api.transport.stream(request) as reply:
        found = next(reply.chunks)
        assert len(found) < 2 * limits.MB
        put(api, archive(("d1/f1", b"other"), ("d9/new", b"")), replace=True)  # all others go
        found += b"".join(reply.chunks)
    assert read(found) == wanted
    assert read(export(api, at=taken).body) == wanted
    assert tree(api).keys() == {"d1", "d1/f1", "d9", "d9/new"}


def test_an_export_whose_state_goes_breaks_off(api):
    put(api, archive(*[(f"f{n}", b"%d" % n * 3000) for n in range(450)]))
    request = Outgoing(
        "GET",
        "/v1/tree",
        "",
        (("Authorization", f"Bearer {api.key}"), ("X-Namespace", "main")),
        b"",
        None,
        60.0,
    )
    with api.transport.stream(request) as reply:
        found = next(reply.chunks)
        assert (
            api("DELETE", "/v1/namespaces/main", key=api.trove.credentials.admin_key, namespace=None).status
            == 200
        )
        with pytest.raises(TroveConnectionError, match="broke off"):
            for piece in reply.chunks:
                found += piece
    with pytest.raises(BrokenOff):
        read(found)


def test_who_may(api):
    api.write("a")
    trove = api.trove
    with trove.admin() as admin:
        other = admin.create_key("other", namespace="elsewhere").api_key
    for method, data in (("GET", None), ("PUT", archive(("b", b"")))):
        assert api(method, "/v1/tree", data=data, key=trove.credentials.admin_key).status == 403
        assert api(method, "/v1/tree", data=data, key=other).status == 403
        assert api(method, "/v1/tree", data=data, key="trove-sk-unknown").status == 401
    assert "tree" in api("GET", "/v1/me").json["capabilities"]
    fresh = api.with_key(api.key, "fresh")
    assert export(fresh).body == tars.END
    assert export(fresh, "d").status == 404


def test_other_programs_read_it(api):
    put(api, archive(("dé/" + "n" * 120, b"text"), ("empty",), (names.from_bytes(b"raw\xff"), b"")))
    with tarfile.open(fileobj=io.BytesIO(export(api).body)) as found:
        assert found.getnames() == ["dé", "empty", "dé/" + "n" * 120, "raw\udcff"][:1] + found.getnames()[1:]
        assert {each.name for each in found} == {"dé", "dé/" + "n" * 120, "empty", "raw\udcff"}
        assert found.extractfile("dé/" + "n" * 120).read() == b"text"


def test_memory_does_not_grow_with_the_tree(api):
    """24 MB of small files, and 12 MB in a large one, in and out again."""
    own_disk = api.trove.server.settings.blobs is None  # the bucket of these tests is in this very process
    head = [tars.head(Member(f"f{n}", "file", 0o644, TIME, 16_000)) for n in range(1500)]
    small = b"x" * 16_000 + tars.padding(16_000)

    def pieces():
        for each in head:
            yield each + small
        if own_disk:
            yield tars.head(Member("big", "file", 0o644, TIME, 12 * limits.MB))
            for n in range(12):
                yield bytes([n]) * limits.MB
        yield tars.END

    tracemalloc.start()
    try:
        assert put(api, pieces()).status == 200
        taken_in = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        request = Outgoing(
            "GET",
            "/v1/tree",
            "",
            (("Authorization", f"Bearer {api.key}"), ("X-Namespace", "main")),
            b"",
            None,
            60.0,
        )
        with api.transport.stream(request) as reply:
            size = sum(map(len, reply.chunks))
        sent = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > (36 if own_disk else 24) * 1000 * 1000
    assert taken_in < 16 * limits.MB
    assert sent < 16 * limits.MB


SEGMENTS = st.one_of(
    st.sampled_from("abc"),
    st.binary(min_size=1, max_size=255)
    .map(lambda raw: bytes(b for b in raw if b >= 32 and b not in b"/\x7f"))
    .map(names.from_bytes)
    .filter(
        lambda name: name not in {"", ".", "..", "workspace"} and not any("\x80" <= c <= "\x9f" for c in name)
    ),
)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=5).map("/".join)
TIMES = st.integers(-(2**62), 2**62)
WHAT = st.one_of(
    st.tuples(st.just(Kind.DIRECTORY), st.integers(0, 0o1777), TIMES, st.just(b"")),
    st.tuples(
        st.just(Kind.FILE), st.integers(0, 0o1777), TIMES, st.binary(max_size=600) | st.just(b"z" * 20_000)
    ),
    st.tuples(
        st.just(Kind.LINK),
        st.just(0o777),
        TIMES,
        st.binary(min_size=1, max_size=300).filter(lambda t: b"\0" not in t),
    ),
)
COUNT = itertools.count()


@hypothesis.settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@hypothesis.given(
    stored=st.dictionaries(PATHS, WHAT, max_size=8), over=st.dictionaries(PATHS, WHAT, max_size=4)
)
def test_any_tree_comes_back_as_it_was(api, stored, over):
    """Out of one namespace and into another, which is empty, and one that holds something else."""
    database, workspace = api.trove.server.database, api.trove.credentials.workspace_id
    blobs = api.trove.server.blobs

    def store(name, entries):
        made = {path: timelines.payload(blobs, workspace, what[3]) for path, what in entries.items()}

        def commit(tx):
            now = database.now_ns()
            space = timelines.create_namespace(tx, workspace, name, now_ns=now)
            change = Change(tx, space, kind="exec", now_ns=now)
            for path, (kind, mode, time, data) in entries.items():
                if kind is Kind.DIRECTORY:
                    change.put_directory(path, mode=mode, mtime_ns=time, replace=True)
                elif kind is Kind.LINK:
                    change.put_link(path, data, mtime_ns=time, replace=True)
                else:
                    change.put_file(path, made[path], mode=mode, mtime_ns=time, replace=True)
            change.commit()

        database.write(commit)
        return api.with_key(api.key, name)

    number = next(COUNT)
    first, second = store(f"a{number}", stored), store(f"b{number}", over)
    third = api.with_key(api.key, f"c{number}")
    sent = export(first)
    for other in (second, third):
        assert put(other, sent.body, replace=True).status == 200
        assert tree(other) == read(sent.body)
        assert [e["path"] for e in other.list(recursive=True).json["entries"]] == [
            e["path"] for e in first.list(recursive=True).json["entries"]
        ]
    with database.read() as db:
        space = timelines.namespace(db, workspace, f"a{number}")
        wanted = {entry.path: (entry.mode, entry.mtime_ns) for entry in timelines.walk(db, space.at)}
    assert {path: value[1:3] for path, value in read(sent.body).items()} == wanted
    assert versions(first)[0]["size_bytes"] == versions(third)[0]["size_bytes"]
