"""Listings page by page: the section of that name in docs/wire.md."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trove_agents.server import timelines
from trove_agents.server.timelines import Place


def pages(api, *, between=lambda: None, **query):
    """All entries; ``between`` runs after each page."""
    found, cursor = [], None
    first = {key: value for key, value in query.items() if value is not None}
    while True:
        answer = api(
            "GET", "/v1/files", query=first if cursor is None else {"cursor": cursor, "limit": query["limit"]}
        )
        assert answer.status == 200, answer.body
        assert answer.json["truncated"] is False
        assert len(answer.json["entries"]) <= query["limit"]
        found += answer.json["entries"]
        cursor = answer.json["next_cursor"]
        if cursor is None:
            return found
        between()


def flat(api, path="", **more):
    return api("GET", "/v1/files", query={"path": path, **more}).json["entries"]


SEGMENT = st.sampled_from(["a", "a-", "a.b", "b", "B", "é", "z"])
PATH = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)
EDIT = st.one_of(
    st.tuples(st.sampled_from(["write", "mkdir", "delete"]), PATH), st.tuples(st.just("restore"), st.none())
)


def act(api, taken, edit, path):
    if edit == "write":
        api("POST", "/write", body={"path": path, "content": path})
    elif edit == "mkdir":
        api("POST", "/v1/files/mkdir", body={"path": path})
    elif edit == "delete":
        api.delete(path)
    else:
        api("POST", f"/v1/snapshots/{taken}/restore")


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EDIT, max_size=15), st.lists(EDIT, max_size=10), st.integers(1, 4), st.booleans())
def test_all_pages_are_the_listing_of_the_first_pages_state(api, before, meanwhile, limit, recursive):
    name = f"n{len(api('GET', '/v1/namespaces', namespace=None).json['namespaces'])}"
    api = api.with_key(api.key, name)
    api.write("a/b/x")
    taken = api.snapshot()["snapshot_id"]
    for edit in before:
        act(api, taken, *edit)
    wanted = flat(api, **({"recursive": "true"} if recursive else {}))
    left = iter(meanwhile)

    def change():
        for edit in left:
            act(api, taken, *edit)
            break

    query = {"recursive": "true"} if recursive else {}
    assert pages(api, between=change, limit=limit, **query) == wanted
    for edit in left:
        act(api, taken, *edit)
    shown = api("GET", "/v1/files", query={"recursive": "true", "at": taken}).json["entries"]
    assert pages(api, limit=limit, recursive="true", at=taken) == shown


def test_without_limit_and_cursor_nothing_is_new(api):
    for index in range(1002):
        api.write(f"d/{index:04}", "")
    api.write("d/" + "x/" * 22 + "deep")
    plain = api.list("d").json
    assert (len(plain["entries"]), plain["truncated"], "next_cursor" in plain) == (1000, True, False)
    assert len(pages(api, path="d", limit=700)) == 1003
    names = [entry["path"] for entry in pages(api, path="d", recursive="true", limit=600)]
    assert names[0] == "workspace/d/x" and names[-1] == "workspace/d/1001"
    assert "workspace/d/" + "x/" * 22 + "deep" in names
    assert len(names) == 1002 + 23
    answer = api("GET", "/v1/files", query={"path": "d", "limit": 100_000}).json
    assert len(answer["entries"]) == 1000


def test_a_directory_of_many_directories(api):
    with api.trove.client("main") as client:
        server = api.trove.server
        client.write("f", "")

        def fill(tx):
            space = timelines.namespace(tx, api.trove.credentials.workspace_id, "main")
            change = timelines.Change(tx, space, kind="mkdir", now_ns=server.database.now_ns())
            for index in range(2100):
                change.put_directory(f"d{index:04}")
            change.commit()

        server.database.write(fill)
        client.fork("main-2")
        fork = api.trove.client("main-2")
        fork.delete("d1000")
        fork.write("d1500x", "")
        wanted = [f"d{index:04}" for index in range(2100) if index != 1000] + ["d1500x", "f"]
        assert [entry.name for entry in fork.iter_dir(page_size=900)] == wanted
        assert len(list(client.iter_dir())) == 2101


def test_below_a_link_and_with_names_that_are_no_text(trove, api):
    api.write("d/a/x")
    api.write("d/b")
    server = trove.server

    def link(tx):
        space = timelines.namespace(tx, trove.credentials.workspace_id, "main")
        change = timelines.Change(tx, space, kind="exec", now_ns=server.database.now_ns())
        change.put_link("l", b"d")
        payload = timelines.payload(server.blobs, trove.credentials.workspace_id, b"x")
        change.put_file("d/\udcff", payload)
        change.put_file("d/\udcfe/y", payload)
        change.commit()

    server.database.write(link)
    wanted = flat(api, "l", recursive="true")
    assert [entry["path"] for entry in wanted][:2] == ["workspace/l/a", "workspace/l/a/x"]
    for limit in range(1, 8):
        assert pages(api, path="l", recursive="true", limit=limit) == wanted


def test_what_is_refused(api):
    api.write("a")
    assert api("GET", "/v1/files", query={"limit": 0}).status == 422
    for cursor in ("x", "bnVsbA", "WzFd"):
        assert api("GET", "/v1/files", query={"cursor": cursor}).status == 400
    assert api("GET", "/v1/files", query={"path": "a", "limit": 1}).status == 400
    assert api("GET", "/v1/files", query={"path": "b", "limit": 1}).status == 404
    never = api.with_key(api.key, "never")
    assert never("GET", "/v1/files", query={"limit": 1}).json["entries"] == []
    api.write("b")
    cursor = api("GET", "/v1/files", query={"limit": 1}).json["next_cursor"]
    api("DELETE", "/v1/namespaces/main", namespace=None)
    api.write("c")
    assert api("GET", "/v1/files", query={"cursor": cursor}).status == 404


@pytest.mark.parametrize("levels", [None, 1, 2])
def test_a_walk_goes_on_behind_every_place_even_one_that_is_gone(api, levels):
    for path in ("a/b/c", "a/b.c", "a/x", "a-/y", "b"):
        api.write(path)
    with api.trove.server.database.read() as db:
        at = timelines.namespace(db, api.trove.credentials.workspace_id, "main").at
        whole = list(timelines.walk(db, at, levels=levels))
        for index, entry in enumerate(whole):
            place = Place(entry.path, entry.is_dir)
            assert list(timelines.walk(db, at, levels=levels, after=place)) == whole[index + 1 :]
        assert [e.path for e in timelines.walk(db, at, levels=1, after=Place("a.", is_dir=True))] == ["b"]
