"""The edge alone, with routes of its own: no database, no sockets."""

import asyncio
import contextvars
import json
import logging
import threading

import msgspec
import pytest

from trove_agents.server.auth import Principal
from trove_agents.server.db.commit import Closed
from trove_agents.server.errors import Busy, NotFound, Unauthorized
from trove_agents.server.http import Edge, Waits
from trove_agents.server.replies import Reply
from trove_agents.server.routing import Route, Router

KEYS = {
    "Bearer open": Principal("ws-1", "key-1", "one", "workspace", None),
    "Bearer locked": Principal("ws-1", "key-2", "two", "workspace", "mine"),
    "Bearer admin": Principal("ws-1", "key-3", "three", "admin", None),
}


def authenticate(header):
    if header not in KEYS:
        raise Unauthorized("unknown")
    return KEYS[header]


class Body(msgspec.Struct):
    path: str
    size: int = 0


class Query(msgspec.Struct):
    limit: int = 3
    flag: bool = False


class Answer(msgspec.Struct):
    text: str


def route(method, path, endpoint, *, run="inline", access="any", **more):
    return Route(method, path, endpoint, run=run, access=access, summary="", **more)


def edge(*routes):
    return Edge(routes, authenticate=authenticate)


def call(app, method, path, *, key="open", body=b"", headers=(), query="", inline=True, root=""):
    """A whole call, stepped once in this thread unless ``inline`` is off."""
    sent = []
    bodies = [body] if isinstance(body, bytes) else list(body)

    async def receive():
        if not bodies:
            return {"type": "http.disconnect"}
        piece = bodies.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(bodies)}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": root,
        "state": {"inline": True} if inline else {},
        "headers": [*([(b"authorization", f"Bearer {key}".encode())] if key else []), *headers],
    }
    work = app(scope, receive, send)
    if inline:
        with pytest.raises(StopIteration):
            work.send(None)
    else:
        asyncio.run(work)
    if not sent:
        return None
    head = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    content = b"".join(message["body"] for message in sent[1:])
    return sent[0]["status"], head, content


def test_a_call_finishes_in_one_step_of_a_thread_without_a_loop():
    app = edge(
        route("GET", "/ok", lambda request: Answer("ok"), reply=Answer),
        route("GET", "/gone", lambda request: missing()),
        route("GET", "/broken", lambda request: 1 / 0),
    )

    def missing():
        raise NotFound("no such thing")

    results = {}

    def work():
        for path in ("/ok", "/gone", "/broken", "/nowhere"):
            results[path] = call(app, "GET", path)

    logging.disable(logging.CRITICAL)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    logging.disable(logging.NOTSET)
    assert results["/ok"][0] == 200
    assert json.loads(results["/ok"][2]) == {"text": "ok"}
    assert results["/ok"][1]["content-length"] == str(len(results["/ok"][2]))
    assert results["/gone"][0] == 404
    assert json.loads(results["/gone"][2]) == {"detail": "no such thing", "code": "not-found"}
    assert results["/broken"][0] == 500
    assert json.loads(results["/broken"][2]) == {"detail": "internal error", "code": "internal"}
    assert results["/nowhere"][0] == 404


def test_over_the_network_the_function_runs_on_a_worker_thread_in_the_callers_context():
    seen = {}
    variable = contextvars.ContextVar("variable", default="unset")

    def endpoint(request):
        seen["thread"] = threading.current_thread().name
        seen["value"] = variable.get()
        variable.set("leaked")
        return Answer("ok")

    app = edge(route("GET", "/ok", endpoint, run="hop"))
    variable.set("caller")
    assert call(app, "GET", "/ok", inline=False)[0] == 200
    app.close()
    assert seen["thread"].startswith("trove-worker")
    assert seen["value"] == "caller"
    assert variable.get() == "caller"


def test_routes_by_segment():
    def named(name):
        return lambda request: Answer(name)

    router = Router(
        [
            route("GET", "/v1/things", named("list")),
            route("POST", "/v1/things", named("create")),
            route("GET", "/v1/things/{id}", named("one")),
            route("POST", "/v1/things/{id}/undo", named("undo")),
            route("GET", "/v1/things/special", named("special")),
            route("GET", "/files/{path...}", named("file")),
        ]
    )

    def found(path, method="GET"):
        match = router.match(path)
        return (
            None
            if match is None or method not in match[0]
            else (match[0][method].endpoint(None).text, match[1])
        )

    assert found("/v1/things") == ("list", [])
    assert found("/v1/things", "POST") == ("create", [])
    assert found("/v1/things/7") == ("one", ["7"])
    assert found("/v1/things/special") == ("special", [])
    assert found("/v1/things/special/undo", "POST") == ("undo", ["special"])
    assert found("/files/a/b//c") == ("file", ["a/b//c"])
    assert found("/files/") == ("file", [""])
    assert found("/v1/things/") is None
    assert found("/v1") is None
    assert found("/") is None
    with pytest.raises(ValueError, match="two routes"):
        Router([route("GET", "/a/{x}", None), route("GET", "/a/{y}", None)])


def test_a_wrong_method_is_405_with_what_is_allowed_and_nothing_redirects():
    app = edge(route("GET", "/a", lambda r: Answer("")), route("PUT", "/a", lambda r: Answer("")))
    status, head, _ = call(app, "POST", "/a")
    assert (status, head["allow"]) == (405, "GET, PUT")
    assert call(app, "GET", "/a/")[0] == 404


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/f/a%20b", "a b"),
        ("/f/100%.txt", "100%.txt"),
        ("/f/100%2520", "100%20"),
        ("/f/%E2%82%AC", "€"),
        ("/f/%ff", "\udcff"),
        ("/f/a%2Fb", "a/b"),
    ],
)
def test_paths_are_decoded_once(raw, path):
    seen = []
    app = edge(route("GET", "/f/{path...}", lambda r: Answer(seen.append(r.params["path"]) or "")))
    assert call(app, "GET", raw)[0] == 200
    assert seen == [path]


def test_an_application_below_a_prefix():
    app = edge(route("GET", "/a", lambda r: Answer("")))
    assert call(app, "GET", "/base/a", root="/base")[0] == 200
    assert call(app, "GET", "/basement/a", root="/base")[0] == 404


def test_bodies_and_queries_are_checked_and_name_the_field():
    app = edge(
        route("POST", "/b", lambda r, body: Answer(f"{body.path}{body.size}"), body=Body),
        route("POST", "/o", lambda r, body: Answer(body.path), body=Body, body_optional=True),
        route("GET", "/q", lambda r, query: Answer(f"{query.limit}{query.flag}"), query=Query),
    )
    assert json.loads(call(app, "POST", "/b", body=b'{"path": "x", "later": 1}')[2])["text"] == "x0"
    status, _, content = call(app, "POST", "/b", body=b'{"path": "x", "size": "1"}')
    assert status == 422
    assert json.loads(content)["errors"] == [{"field": "size", "message": "Expected `int`, got `str`"}]
    for bad in (b"", b"{", b"[]", b'{"path": "\\ud800"}', b"\xff"):
        assert call(app, "POST", "/b", body=bad)[0] == 422, bad
    assert call(app, "POST", "/o", body=b"")[0] == 422  # an empty object, which lacks the path
    assert json.loads(call(app, "GET", "/q", query="limit=7&flag=true&other=1")[2])["text"] == "7True"
    assert json.loads(call(app, "GET", "/q")[2])["text"] == "3False"
    assert call(app, "GET", "/q", query="limit=x")[0] == 422
    assert call(app, "GET", "/q", query="limit=%ff")[0] == 422


def test_a_body_over_its_limit_is_refused_before_it_is_read_whole():
    app = edge(route("POST", "/b", lambda r, body: Answer("x"), body=Body, body_bytes=100))
    assert call(app, "POST", "/b", headers=[(b"content-length", b"101")])[0] == 413
    pieces = (b"x" * 60 for _ in range(10))
    assert call(app, "POST", "/b", body=pieces)[0] == 413


def test_nothing_large_is_taken_from_strangers():
    taken = []

    def pieces():
        for _ in range(3):
            taken.append(1)
            yield b"x" * 1000

    app = edge(route("POST", "/b", lambda r, body: Answer("x"), body=Body, body_bytes=10**6))
    sent = []

    async def receive():
        taken.append(1)
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/b",
        "query_string": b"",
        "headers": [],
        "state": {"inline": True},
    }
    with pytest.raises(StopIteration):
        app(scope, receive, send).send(None)
    assert sent[0]["status"] == 401
    assert taken == []


@pytest.mark.parametrize(
    ("key", "header", "status"),
    [
        ("open", None, 400),
        ("open", b"n", 200),
        ("open", b"bad name", 400),
        ("open", b"n\n", 400),
        ("open", b"x" * 129, 400),
        ("locked", None, 200),
        ("locked", b"mine", 200),
        ("locked", b"other", 403),
        ("locked", b"bad name", 403),
        ("admin", b"n", 403),
        ("admin", None, 403),
        ("wrong", b"n", 401),
        (None, b"n", 401),
    ],
)
def test_who_may_touch_which_namespace(key, header, status):
    app = edge(route("GET", "/n", lambda r: Answer(r.namespace), access="runtime"))
    headers = [] if header is None else [(b"x-namespace", header)]
    got, head, content = call(app, "GET", "/n", key=key, headers=headers)
    assert got == status
    if status == 403 and key == "locked":
        assert "mine" in json.loads(content)["detail"]
        assert "other" not in json.loads(content)["detail"]
    if status == 401:
        assert head["www-authenticate"] == "Bearer"


def test_admin_routes_and_workspaces():
    app = edge(
        route("GET", "/w/{workspace_id}/a", lambda r: Answer(""), access="admin"),
        route("GET", "/w/{workspace_id}/k", lambda r: Answer(""), access="workspace"),
        route("GET", "/o", lambda r: Answer(""), access="open"),
    )
    assert call(app, "GET", "/w/ws-1/a", key="admin")[0] == 200
    assert call(app, "GET", "/w/ws-2/a", key="admin")[0] == 403
    assert call(app, "GET", "/w/ws-1/a", key="open")[0] == 403
    assert call(app, "GET", "/w/ws-1/k", key="open")[0] == 200
    assert call(app, "GET", "/w/ws-2/k", key="open")[0] == 403
    assert call(app, "GET", "/o", key=None)[0] == 200


@pytest.mark.parametrize("name", [b"authorization", b"x-namespace", b"content-length"])
def test_a_repeated_header_that_decides_is_refused(name):
    app = edge(route("GET", "/n", lambda r: Answer(""), access="open"))
    status, _, _ = call(app, "GET", "/n", key=None, headers=[(name, b"1"), (name, b"2")])
    assert status == 400


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("PATCH", "/n")])
def test_an_ambiguous_request_closes_the_connection_whatever_it_asks_for(method, path):
    """What follows on the connection may be the rest of its body."""
    app = edge(route("GET", "/n", lambda r: Answer(""), access="open"))
    headers = [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")]
    status, head, _ = call(app, method, path, key=None, headers=headers)
    assert (status, head["connection"]) == (400, "close")


@pytest.mark.parametrize("digits", [19, 25, 5000])
def test_an_absurd_content_length_is_over_the_limit(digits):
    app = edge(route("POST", "/b", lambda r, body: Answer("x"), body=Body))
    assert call(app, "POST", "/b", headers=[(b"content-length", b"9" * digits)])[0] == 413


def test_a_query_is_utf8_whether_it_is_escaped_or_not():
    class Path(msgspec.Struct):
        path: str

    app = edge(route("GET", "/q", lambda r, query: Answer(query.path), query=Path))
    for sent in ("path=é€", "path=%C3%A9%E2%82%AC", "path=é%E2%82%AC"):
        assert json.loads(call(app, "GET", "/q", query=sent)[2])["text"] == "é€"
    assert json.loads(call(app, "GET", "/q", query="path=a;b+c&other")[2])["text"] == "a;b c"
    status, _, content = call(app, "GET", "/q", query="path=%ff")
    assert (status, json.loads(content)["detail"]) == (422, "the query is not UTF-8")


def test_the_worker_threads_are_one_pool_and_do_not_come_back_after_the_end():
    app = edge(route("GET", "/ok", lambda r: Answer("ok"), run="hop"))
    barrier = threading.Barrier(8)
    pools = []

    def first():
        barrier.wait(20)
        pools.append(app.pool)

    threads = [threading.Thread(target=first) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(set(map(id, pools))) == 1
    app.close()
    app.close()
    status, head, content = call(app, "GET", "/ok", inline=False)
    assert (status, json.loads(content)["code"], head["retry-after"]) == (503, "unavailable", "1")
    assert call(app, "GET", "/ok")[0] == 200  # what runs in the caller's thread needs no worker


def test_busy_says_when_to_come_back():
    def busy(request):
        raise Busy("later", retry_after=4)

    status, head, _ = call(edge(route("GET", "/b", busy)), "GET", "/b")
    assert (status, head["retry-after"]) == (503, "4")


@pytest.mark.parametrize("failure", [OSError("disk"), NotFound("disk"), Closed("disk")])
def test_a_stream_that_breaks_after_its_head_is_not_ended_as_if_it_were_whole(caplog, failure):
    async def body():
        yield b"half"
        raise failure

    async def endpoint(request):
        return Reply(body(), length=8)

    app = edge(route("GET", "/s", endpoint, run="loop"))
    sent = []

    async def run():
        async def receive():
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/s",
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer open")],
        }
        await app(scope, receive, send)

    with pytest.raises(type(failure), match="disk"):
        asyncio.run(run())
    app.close()
    assert [message.get("body") for message in sent] == [None, b"half"]


def test_a_stream_is_not_made_to_its_end_when_its_caller_has_left():
    """A server accepts what is sent to a closed connection without a word, so it must be asked."""
    made, closed = [], []

    async def run():
        left = asyncio.Event()

        async def body():
            try:
                for number in range(1000):
                    made.append(number)
                    yield b"x"
            finally:
                closed.append(True)

        async def endpoint(request):
            return Reply(body())

        async def receive():
            if not asked:
                asked.append(True)
                return {"type": "http.request", "body": b"", "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)
            if len(sent) == 4:
                left.set()
            await asyncio.sleep(0)

        asked, sent = [], []
        app = edge(route("GET", "/s", endpoint, run="loop"))
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/s",
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer open")],
            "client": ("127.0.0.1", 1),
        }
        await app(scope, receive, send)
        app.close()
        return sent

    sent = asyncio.run(run())
    assert closed == [True]
    assert 3 <= len(made) < 10
    assert sent[-1].get("more_body")  # no end: it was not whole


def test_a_caller_that_goes_away_gets_nothing():
    async def endpoint(request):
        async for _ in request.stream():
            pass
        return Answer("x")

    app = edge(route("PUT", "/s", endpoint, run="loop", reply=Answer))
    assert call(app, "PUT", "/s", body=(), inline=False) is None
    app.close()


def test_a_call_that_may_wait_is_first_tried_without_waiting():
    """In process it ends in the caller's thread, or does nothing there and is sent to the loop."""
    tried, waited = [], []

    def attempt(request):
        tried.append(request.principal.key_id)
        return Answer("at once") if free else None

    async def endpoint(request):
        waited.append(request.principal.key_id)
        return Answer("later")

    app = edge(route("POST", "/r", endpoint, run="loop", reply=Answer, attempt=attempt))
    free = True
    assert json.loads(call(app, "POST", "/r")[2]) == {"text": "at once"}
    assert json.loads(call(app, "POST", "/r", inline=False)[2]) == {"text": "at once"}
    assert waited == []
    free = False
    with pytest.raises(Waits):
        call(app, "POST", "/r")
    assert waited == []
    assert json.loads(call(app, "POST", "/r", inline=False)[2]) == {"text": "later"}
    assert call(app, "POST", "/r", key="wrong")[0] == 401
    assert (len(tried), len(waited)) == (4, 1)
    app.close()
