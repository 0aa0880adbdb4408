"""Making directories, moving and copying: the section of that name in docs/wire.md."""

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck

CALLS = {
    "mkdir": {"path": "d"},
    "move": {"from": "a", "to": "b"},
    "copy": {"from": "a", "to": "b"},
}


def transfer(api, verb, source, target, **more):
    return api("POST", f"/v1/files/{verb}", body={"from": source, "to": target, **more})


def mkdir(api, path):
    return api("POST", "/v1/files/mkdir", body={"path": path})


def paths(api):
    return [entry["path"].removeprefix("workspace/") for entry in api.list(recursive=True).json["entries"]]


def events(api):
    found = api("GET", f"/v1/workspaces/{api.trove.credentials.workspace_id}/events").json["events"]
    return [(event["type"], event["data"]) for event in found]


def test_mkdir_makes_directories_and_says_whether_they_were_there(api):
    assert mkdir(api, "/workspace/a/b").json == {"path": "workspace/a/b", "created": True}
    assert paths(api) == ["a", "a/b"]
    assert mkdir(api, "a/b").json == {"path": "workspace/a/b", "created": False}
    assert events(api)[:1] == [("directory.created", {"path": "workspace/a/b"})]
    assert [kind for kind, _ in events(api)].count("directory.created") == 1


def test_mkdir_where_a_file_is(api):
    api.write("f")
    assert mkdir(api, "f").status == 409
    answer = mkdir(api, "f/x/y")
    assert (answer.status, answer.json["detail"]) == (409, "workspace/f is not a directory")


@pytest.mark.parametrize("verb", ["move", "copy"])
def test_a_file(api, verb):
    api.write("a", "text")
    answer = transfer(api, verb, "workspace/a", "/workspace/deep/er/b")
    assert answer.json == {"from": "workspace/a", "to": "workspace/deep/er/b", "files": 1}
    assert api.read("deep/er/b").json["content"] == "text"
    assert api.read("a").status == (404 if verb == "move" else 200)
    kind = "file.moved" if verb == "move" else "file.copied"
    assert events(api)[0] == (kind, {"from": "workspace/a", "to": "workspace/deep/er/b", "files": 1})


@pytest.mark.parametrize("verb", ["move", "copy"])
def test_a_tree_is_one_version_and_shares_its_contents(api, verb):
    big = b"x" * 50_000
    api.put("d/big", big)
    api.write("d/e/small")
    mkdir(api, "d/empty")
    database = api.trove.server.database

    def count(table):
        from sqlalchemy import text

        with database.read() as db:
            return db.one(text(f"SELECT count(*) FROM {table}"))[0]

    before = {table: count(table) for table in ("contents", "blobs", "log")}
    assert transfer(api, verb, "d", "t/u").json["files"] == 2
    assert {table: count(table) for table in before} == before | {"log": before["log"] + 1}
    moved = ["t", "t/u", "t/u/e", "t/u/e/small", "t/u/empty", "t/u/big"]
    kept = [] if verb == "move" else ["d", "d/e", "d/e/small", "d/empty", "d/big"]
    assert paths(api) == kept + moved
    assert api.get("t/u/big").body == big


def test_times_stay(api):
    api.write("a")
    (before,) = api.list().json["entries"]
    transfer(api, "move", "a", "b")
    (after,) = api.list().json["entries"]
    assert after["modified_at"] == before["modified_at"]


@pytest.mark.parametrize("verb", ["move", "copy"])
def test_what_is_at_the_target_goes_only_when_asked(api, verb):
    api.write("a/new")
    api.write("b/old/deep")
    assert transfer(api, verb, "a", "b").status == 409
    assert paths(api) == ["a", "a/new", "b", "b/old", "b/old/deep"]
    assert transfer(api, verb, "a", "b", overwrite=True).json["files"] == 1
    assert paths(api) == ([] if verb == "move" else ["a", "a/new"]) + ["b", "b/new"]
    api.write("f")
    assert transfer(api, verb, "f", "b", overwrite=True).status == 200
    assert api.read("b").status == 200


@pytest.mark.parametrize("verb", ["move", "copy"])
@pytest.mark.parametrize(
    ("source", "target", "status"),
    [
        ("missing", "x", 404),
        ("f/x", "x", 404),
        ("d", "d", 409),
        ("d", "d/e/x", 409),
        ("d/e", "d", 409),
        ("d", "f/x", 409),
        ("d", "f/x/y", 409),
        ("", "x", 400),
        ("workspace/", "x", 400),
        ("d", "/workspace", 400),
        ("../d", "x", 400),
        ("d", "a/../../b", 400),
        ("d", "x" * 256, 400),
        ("d", "a\nb", 400),
    ],
)
def test_what_is_refused_changes_nothing(api, verb, source, target, status):
    api.write("d/e/f")
    api.write("f")
    before = events(api)
    assert transfer(api, verb, source, target, overwrite=True).status == status
    assert paths(api) == ["d", "d/e", "d/e/f", "f"]
    assert events(api) == before


def test_paths_below_that_would_be_too_long(api):
    long = "/".join(["x" * 250] * 15)
    api.write(f"d/{long}")
    answer = transfer(api, "move", "d", "/".join(["y" * 250] * 3))
    assert (answer.status, answer.json["code"]) == (400, "bad-request")


def test_a_namespace_that_was_never_used(api):
    assert transfer(api.with_key(api.key, "new"), "move", "a", "b").status == 404
    assert mkdir(api.with_key(api.key, "newer"), "a").status == 200


def put_link(api, path, target):
    from trove_agents.server import timelines
    from trove_agents.server.timelines import Change

    database = api.trove.server.database

    def commit(tx):
        space = timelines.namespace(tx, api.trove.credentials.workspace_id, "main")
        change = Change(tx, space, kind="exec", now_ns=database.now_ns())
        change.put_link(path, target)
        change.commit()

    database.write(commit)


def test_links_are_moved_themselves_and_followed_above(api):
    api.write("real/f", "text")
    put_link(api, "link", b"real")
    assert mkdir(api, "link").json["created"] is False
    assert mkdir(api, "link/new").json == {"path": "workspace/link/new", "created": True}
    assert transfer(api, "copy", "link/f", "link/g").status == 200
    assert paths(api) == ["real", "real/new", "real/f", "real/g", "link"]
    assert transfer(api, "move", "real", "link/x").status == 409
    assert transfer(api, "move", "link", "other").json["files"] == 1
    assert paths(api) == ["real", "real/new", "real/f", "real/g", "other"]
    put_link(api, "out", b"/etc")
    for verb in ("move", "copy"):
        assert transfer(api, verb, "real/f", "out/f").status == 400
        assert transfer(api, verb, "out/passwd", "stolen").status == 400


@pytest.mark.parametrize("name", CALLS)
def test_who_may(api, name):
    api.write("a")
    trove = api.trove
    with trove.admin() as admin:
        locked = admin.create_key("locked", namespace="main").api_key
        other = admin.create_key("other", namespace="elsewhere").api_key
    url = f"/v1/files/{name}"
    assert api("POST", url, body=CALLS[name], key=trove.credentials.admin_key).status == 403
    assert api("POST", url, body=CALLS[name], key=other).status == 403
    assert api("POST", url, body=CALLS[name], namespace=None).status == 400
    assert api("POST", url, body=CALLS[name], key="trove-sk-unknown").status == 401
    assert api("POST", url, body={}).status == 422
    assert api("POST", url, body=CALLS[name], key=locked, namespace=None).status == 200
    assert f"files.{name}" in api("GET", "/v1/me").json["capabilities"]


PLACES = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map("/".join)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PLACES),
        st.tuples(st.just("mkdir"), PLACES),
        st.tuples(st.sampled_from(["move", "copy"]), PLACES, PLACES, st.booleans()),
    ),
    max_size=12,
)


class Model:
    """A dictionary of paths to texts; None is a directory."""

    def __init__(self):
        self.tree = {}

    def parents(self, path):
        above = path.split("/")[:-1]
        found = ["/".join(above[:n]) for n in range(1, len(above) + 1)]
        if any(self.tree.get(parent) is not None for parent in found):
            return 409
        for parent in found:
            self.tree[parent] = None
        return 200

    def below(self, path):
        return {p: text for p, text in self.tree.items() if p == path or p.startswith(path + "/")}

    def write(self, path, text):
        if path in self.tree and self.tree[path] is None:
            return 409
        if (status := self.parents(path)) == 200:
            self.tree[path] = text
        return status

    def mkdir(self, path):
        if self.tree.get(path) is not None:
            return 409
        if (status := self.parents(path)) == 200:
            self.tree[path] = None
        return status

    def transfer(self, verb, source, target, overwrite):
        if source not in self.tree:
            return 404
        nested = (source + "/").startswith(target + "/") or (target + "/").startswith(source + "/")
        if nested or (target in self.tree and not overwrite):
            return 409
        moving = self.below(source)
        before = dict(self.tree)
        for path in self.below(target):
            del self.tree[path]
        if self.parents(target) != 200:
            self.tree = before
            return 409
        for path, text in moving.items():
            self.tree[target + path[len(source) :]] = text
            if verb == "move":
                del self.tree[path]
        return 200


@hypothesis.settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@hypothesis.given(steps=STEPS, snapshot=st.integers(0, 12))
def test_any_sequence_does_what_a_dictionary_does(api, steps, snapshot):
    test_any_sequence_does_what_a_dictionary_does.count += 1
    space = api.with_key(api.key, f"n{test_any_sequence_does_what_a_dictionary_does.count}")
    model = Model()
    for number, (what, *rest) in enumerate(steps):
        if number == snapshot:  # from here on over a base
            taken = space.snapshot()["snapshot_id"]
            assert space("POST", f"/v1/snapshots/{taken}/restore").status == 200
        if what == "write":
            wanted = model.write(rest[0], str(number))
            answer = space("POST", "/write", body={"path": rest[0], "content": str(number)})
        elif what == "mkdir":
            wanted, answer = model.mkdir(rest[0]), mkdir(space, rest[0])
        else:
            source, target, overwrite = rest
            wanted = model.transfer(what, source, target, overwrite)
            answer = transfer(space, what, source, target, overwrite=overwrite)
        assert answer.status == wanted, answer.body
        assert sorted(paths(space)) == sorted(model.tree)
    for path, text in model.tree.items():
        if text is not None:
            assert space.read(path).json["content"] == text


test_any_sequence_does_what_a_dictionary_does.count = 0
