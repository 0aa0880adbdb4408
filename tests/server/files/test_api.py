"""Files over the API: wire 1.5, 3.2 to 3.7."""

import itertools
import secrets

import pytest

from trove_agents.wire import limits


def names(answer):
    assert answer.status == 200, answer.body
    return [entry["path"] for entry in answer.json["entries"]]


def test_write_and_read_back(api):
    written = api.write("workspace/a/b.txt", "héllo")
    assert written == {"path": "workspace/a/b.txt", "size_bytes": 6, "etag": written["etag"]}
    found = api.read("workspace/a/b.txt").json
    assert found.pop("modified_at").endswith("Z")
    assert found.pop("etag") == written["etag"]
    assert found == {
        "path": "workspace/a/b.txt",
        "size_bytes": 6,
        "encoding": "utf-8",
        "content": "héllo",
        "truncated": False,
    }


@pytest.mark.parametrize(
    "form",
    ["a/b.txt", "workspace/a/b.txt", "/workspace/a/b.txt", "workspace/workspace/a/b.txt", "//a/./b.txt"],
)
def test_every_form_of_a_path_is_the_same_file(api, form):
    api.write("a/b.txt", "one")
    assert api.read(form).json["content"] == "one"
    assert api.get(form).body == b"one"
    answer = api.put(form, b"two").json
    assert (answer["path"], answer["size_bytes"]) == ("workspace/a/b.txt", 3)
    assert api.read("a/b.txt").json["content"] == "two"
    assert api.delete(form).json == {"deleted": "workspace/a/b.txt"}


@pytest.mark.parametrize(
    "path", ["..", "../x", "a/../b", "a%2f..%2fb", "%2e%2e/x", "a%00b", "a%0ab", "x" * 300]
)
def test_bad_paths_are_refused_everywhere(api, path):
    api.write("a", "x")
    from urllib.parse import unquote

    plain = unquote(path)
    assert api.put(path).status == 400
    assert api.get(path).status == 400
    for answer in (
        api.read(plain),
        api.list(plain),
        api.delete(plain),
        api("POST", "/write", body={"path": plain, "content": ""}),
    ):
        assert answer.status == 400, plain
        assert "detail" in answer.json


@pytest.mark.parametrize("root", ["", "/", "workspace", "workspace/"])
def test_the_root_can_only_be_listed(api, root):
    api.write("kept.txt")
    assert api("POST", "/write", body={"path": root, "content": "x"}).status == 400
    assert api.delete(root).status == 400
    assert api.read(root).status == 400
    assert api.put(root).status == 400
    assert names(api.list(root)) == ["workspace/kept.txt"]


def test_names_that_trip_public_clients(api):
    for stored, sent in {
        "a b.txt": "a%20b.txt",
        "100%.txt": "100%.txt",
        "ü/é.txt": "%C3%BC/%C3%A9.txt",
        "q?#.txt": "q%3F%23.txt",
    }.items():
        assert api.put(sent, b"v").json["path"] == f"workspace/{stored}"
        assert api.read(stored).json["content"] == "v"


def test_a_name_that_is_not_utf8(api):
    path = api.put("%ff%fe", b"v").json["path"]
    assert api.read(path).json["content"] == "v"
    assert names(api.list()) == [path]
    assert api.delete(path).status == 200


def test_what_stands_in_the_way_is_a_conflict(api):
    api.write("file", "x")
    api.write("dir/x", "x")
    assert api("POST", "/write", body={"path": "dir", "content": ""}).status == 409
    answer = api("POST", "/write", body={"path": "file/below", "content": ""})
    assert answer.status == 409
    assert "workspace/file is not a directory" in answer.json["detail"]
    assert api.put("dir", b"").status == 409
    assert api.read("file").json["content"] == "x"


def test_missing_and_wrong_kinds(api):
    api.write("dir/x", "x")
    for answer in (api.read("nope"), api.get("nope"), api.list("nope"), api.delete("nope")):
        assert answer.status == 404
        assert "workspace/nope" in answer.json["detail"]
    assert api.read("dir").status == 400
    assert api.get("dir").status == 400
    assert api.list("dir/x").status == 400


def test_delete_is_recursive_and_says_404_the_second_time(api):
    api.write("d/a/b/c", "x")
    api.write("d/e", "x")
    api.write("f", "x")
    assert api.delete("d").json == {"deleted": "workspace/d"}
    assert names(api.list(recursive=True)) == ["workspace/f"]
    assert api.delete("d").status == 404


def test_a_namespace_never_used(api):
    assert api.list().json == {"entries": [], "truncated": False, "path": "workspace"}
    assert api.list("x").status == 404
    assert api.read("x").status == 404
    assert api.delete("x").status == 404
    assert api("GET", "/v1/snapshots").json == {"snapshots": []}


def test_listings_are_ordered_as_the_contract_says(api):
    for path in ("b.txt", "a/2", "a/1", "a/sub/x", "Z/1", ".trove/init.sh", "é", "a.txt"):
        api.write(path)
    assert names(api.list()) == [f"workspace/{n}" for n in (".trove", "Z", "a", "a.txt", "b.txt", "é")]
    flat = api.list("workspace/a").json
    assert flat["path"] == "workspace/a"
    assert [(e["name"], e["is_dir"], e["size_bytes"]) for e in flat["entries"]] == [
        ("sub", True, None),
        ("1", False, 1),
        ("2", False, 1),
    ]
    assert names(api.list(recursive=True)) == [
        f"workspace/{n}"
        for n in (
            ".trove",
            ".trove/init.sh",
            "Z",
            "Z/1",
            "a",
            "a/sub",
            "a/sub/x",
            "a/1",
            "a/2",
            "a.txt",
            "b.txt",
            "é",
        )
    ]


def test_a_listing_stops_at_a_thousand_entries(api, trove):
    def many(tx):
        space = timelines.create_namespace(tx, trove.credentials.workspace_id, "many", now_ns=1)
        change = timelines.Change(tx, space, kind="write", now_ns=2)
        payload = timelines.payload(trove.server.blobs, "w", b"x")
        for number in range(limits.LIST_ENTRIES + 1):
            change.put_file(f"d/{number:05}", payload)
        change.commit()

    from trove_agents.server import timelines

    trove.server.database.write(many)
    for answer in (api.list("d", namespace="many"), api.list("d", recursive=True, namespace="many")):
        assert len(answer.json["entries"]) == limits.LIST_ENTRIES
        assert answer.json["truncated"] is True
        assert answer.json["entries"][-1]["name"] == "00999"
    api.delete("d/00000", namespace="many")
    assert api.list("d", namespace="many").json["truncated"] is False


def test_a_recursive_listing_stops_at_twenty_levels(api):
    deep = "/".join(str(n) for n in range(1, 21))
    api.write(deep)
    assert api.list(recursive=True).json["truncated"] is False
    assert len(names(api.list(recursive=True))) == 20
    api.write(deep.rpartition("/")[0] + "/d/too-deep")
    answer = api.list(recursive=True)
    assert answer.json["truncated"] is True
    assert not any(path.endswith("too-deep") for path in names(answer))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfbom\r\n", "\ufeffbom\r\n"),
        (b"", ""),
        (b"a\0b", None),
        (b"\xff\xfe", None),
        (b"caf\xc3", None),
    ],
)
def test_what_is_text(api, data, text):
    api.put("f", data)
    found = api.read("f").json
    assert found["encoding"] == ("binary" if text is None else "utf-8")
    assert found["content"] == text
    assert found["truncated"] is False
    assert found["size_bytes"] == len(data)


@pytest.mark.parametrize("split", [1, 2, 3])
def test_a_text_is_cut_before_a_character_that_the_cap_splits(api, split):
    """Wire 11.6: a character across the cap does not make the file binary."""
    data = b"x" * (limits.TEXT_BYTES - split) + "𝄞".encode() + b"tail"
    api.put("f", data)
    found = api.read("f").json
    assert (found["encoding"], found["truncated"], found["size_bytes"]) == ("utf-8", True, len(data))
    assert found["content"] == "x" * (limits.TEXT_BYTES - split)


def test_text_of_exactly_the_cap_is_whole(api):
    api.put("f", b"y" * limits.TEXT_BYTES)
    found = api.read("f").json
    assert (found["truncated"], len(found["content"])) == (False, limits.TEXT_BYTES)


def test_write_limit(api):
    exact = "z" * limits.WRITE_BYTES
    api.write("big", exact)
    answer = api("POST", "/write", body={"path": "big", "content": "é" * (limits.WRITE_BYTES // 2 + 1)})
    assert answer.status == 413
    assert api.get("big").headers["x-trove-size"] == str(limits.WRITE_BYTES)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"path": "a"},
        {"content": "a"},
        {"path": 1, "content": "a"},
        {"path": "a", "content": None},
        [],
        "x",
    ],
)
def test_malformed_writes(api, body):
    assert api("POST", "/write", body=body).status == 422
    assert api("POST", "/write", data=b'{"path": "a", "content": "\\ud800"}').status == 422


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 3 * limits.MB + 7])
def test_bytes_come_back_as_they_went(api, size):
    data = bytes(itertools.islice(itertools.cycle(range(251)), size))
    assert api.put("f.bin", data).json["size_bytes"] == size
    answer = api.get("f.bin")
    assert answer.body == data
    assert answer.headers["x-trove-size"] == str(size)
    assert answer.headers["content-length"] == str(size)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "x-trove-truncated" not in answer.headers


def test_form_content_type_is_raw_bytes_too(api):
    """The CI recipe of the docs: ``curl --data-binary`` sends a form type."""
    data = b"a=1&b=%20"
    assert api.put("f", data, headers=[("Content-Type", "application/x-www-form-urlencoded")]).status == 200
    assert api.get("f").body == data


def test_an_upload_over_the_limit_leaves_the_old_file(api):
    api.put("f", b"old")
    pieces = (b"x" * limits.MB for _ in range(102))
    answer = api.put("f", pieces)
    assert answer.status == 413
    assert api.get("f").body == b"old"
    assert api.put("f", b"x", headers=[("Content-Length", str(limits.UPLOAD_BYTES + 1))]).status in {400, 413}


def test_each_change_is_an_event_with_its_source(api):
    api.write("a", "12")
    api.put("b", b"345")
    api.delete("a")
    events = api.events()["events"]
    told = [(e["type"], e["namespace"], e["data"]) for e in events if e["type"].startswith("file.")]
    assert told == [
        ("file.deleted", "main", {"path": "workspace/a"}),
        ("file.written", "main", {"path": "workspace/b", "size_bytes": 3, "source": "upload"}),
        ("file.written", "main", {"path": "workspace/a", "size_bytes": 2, "source": "write"}),
    ]
    assert all(e["actor"]["key_id"].startswith("key-") for e in events if e["type"].startswith("file."))


def test_namespaces_do_not_see_each_other(api):
    api.write("mine", "1", namespace="one")
    assert api.read("mine", namespace="two").status == 404
    assert names(api.list(namespace="two")) == []


# Links, which only a command (here: the store) can make
@pytest.fixture
def linked(api, trove):
    from trove_agents.server import timelines

    api.write("real/file.txt", "content")
    links = {
        "l": b"real/file.txt",
        "d": b"real",
        "abs": b"/workspace/real/file.txt",
        "up": b"../../../etc/passwd",
        "real/back": b"../real/file.txt",
        "etc": b"/etc/passwd",
        "loop": b"loop",
        "a": b"b",
        "b": b"a",
        "dangling": b"nowhere",
        "workspaced": b"/workspaces/x",
        "self": b".",
    }

    def make(tx):
        space = timelines.namespace(tx, trove.credentials.workspace_id, "main")
        change = timelines.Change(tx, space, kind="exec", now_ns=trove.server.database.now_ns())
        for path, target in links.items():
            change.put_link(path, target)
        change.commit()

    trove.server.database.write(make)
    return api


@pytest.mark.parametrize("path", ["l", "d/file.txt", "abs", "real/back", "d/back", "self/self/d/file.txt"])
def test_links_inside_the_root_are_followed(linked, path):
    assert linked.read(path).json["content"] == "content"
    assert linked.get(path).body == b"content"


@pytest.mark.parametrize("path", ["up", "etc", "loop", "a", "workspaced", "etc/x"])
def test_links_out_of_the_root_lead_nowhere(linked, path):
    for answer in (linked.read(path), linked.get(path), linked.list(path)):
        assert answer.status == 400
        assert "passwd" not in answer.json["detail"]


def test_links_cannot_keep_the_server_busy(api, trove):
    """Few links, and each leads to and fro through hundreds of directories before it leads to the next."""
    from trove_agents.server import timelines

    def make(tx):
        space = timelines.namespace(tx, trove.credentials.workspace_id, "main")
        change = timelines.Change(tx, space, kind="exec", now_ns=trove.server.database.now_ns())
        change.put_directory("x")
        for number in range(30):
            change.put_link(f"l{number}", b"x/../" * 800 + b"l%d" % (number + 1))
        change.put_link("l30", b".")
        change.commit()

    api.write("f")
    trove.server.database.write(make)
    api.write("l29/new")  # as long as that takes little
    answer = api("POST", "/write", body={"path": "l0/f", "content": "x"})
    assert (answer.status, answer.json["code"]) == (400, "bad-request")


def test_a_path_that_no_index_takes_is_refused_as_one(api, trove):
    """PostgreSQL compresses keys and takes less than a third of a page of them; random names stay as long as they are."""
    path = "/".join(secrets.token_hex(120) for _ in range(16))
    answer = api("POST", "/write", body={"path": path, "content": "x"})
    if trove.server.settings.database_url is None:
        assert answer.status == 200
    else:
        assert (answer.status, answer.json["code"]) == (400, "bad-request")
        assert names(api.list()) == []
    same = "/".join(["x" * 240] * 16)
    api.write(same)
    assert api.read(same).status == 200


def test_a_dangling_link_is_not_found(linked):
    assert linked.read("dangling").status == 404


@pytest.fixture
def strange(linked, trove):
    """Links that lead through directories which do not exist, or to names that no file could have."""
    from trove_agents.server import timelines

    links = {
        "climbs": b"nowhere/../../../tmp",
        "back": b"nowhere/..",
        "untidy": b"./nowhere//below/./deep/",
        "out": b"/etc",
        "long": b"x" * 300,
        "far": b"/".join([b"y" * 200] * 20),
    }

    def make(tx):
        space = timelines.namespace(tx, trove.credentials.workspace_id, "main")
        change = timelines.Change(tx, space, kind="exec", now_ns=trove.server.database.now_ns())
        for path, target in links.items():
            change.put_link(path, target)
        change.commit()

    trove.server.database.write(make)
    return linked


@pytest.mark.parametrize(
    "path", ["climbs/f", "climbs/a/b", "back/f", "long/f", "far/" + "z" * 200 + "/f", "out/f"]
)
def test_nothing_is_stored_under_a_name_that_no_file_could_have(strange, path):
    before = names(strange.list(recursive=True))
    assert strange("POST", "/write", body={"path": path, "content": "x"}).status == 400
    assert strange.put(path).status == 400
    assert strange.delete(path).status in {400, 404}
    assert strange.read(path).status in {400, 404}
    assert names(strange.list(recursive=True)) == before


def test_directories_behind_a_link_are_made_under_their_plain_names(strange):
    assert strange.write("untidy/f", "x")["path"] == "workspace/untidy/f"
    assert strange.read("nowhere/below/deep/f").json["content"] == "x"
    found = [path for path in names(strange.list(recursive=True)) if "nowhere" in path]
    assert found == [f"workspace/nowhere{rest}" for rest in ("", "/below", "/below/deep", "/below/deep/f")]


def test_listing_shows_links_as_entries_and_goes_through_them_when_asked(linked):
    found = {e["name"]: e for e in linked.list().json["entries"]}
    assert found["d"]["is_dir"] is False and found["real"]["is_dir"] is True
    assert found["d"]["is_link"] is True and "is_link" not in found["real"]
    assert names(linked.list("d")) == ["workspace/d/back", "workspace/d/file.txt"]


def test_delete_removes_the_link_not_its_target_and_write_replaces_it(linked):
    assert linked.delete("l").status == 200
    linked.write("abs", "new")
    assert linked.read("abs").json["content"] == "new"
    assert linked.read("real/file.txt").json["content"] == "content"
    linked.write("d/new.txt", "through the parent")
    assert linked.read("real/new.txt").json["content"] == "through the parent"


def test_a_file_that_is_written_anew_keeps_its_mode(api, trove):
    from trove_agents.server import timelines

    def make(tx):
        space = timelines.create_namespace(tx, trove.credentials.workspace_id, "main", now_ns=1)
        change = timelines.Change(tx, space, kind="exec", now_ns=2)
        change.put_file("run.sh", timelines.payload(trove.server.blobs, "w", b"#!/bin/sh"), mode=0o755)
        change.commit()

    def mode(path):
        with trove.server.database.read() as db:
            space = timelines.namespace(db, trove.credentials.workspace_id, "main")
            return timelines.find(db, space.at, path).mode

    trove.server.database.write(make)
    api.write("run.sh", "#!/bin/bash")
    assert mode("run.sh") == 0o755
    api.put("run.sh", b"#!/bin/bash -e")
    assert mode("run.sh") == 0o755
    api.delete("run.sh")
    api.write("run.sh", "x")
    assert mode("run.sh") == 0o644
