"""The public SDK and these clients, side by side: the same requests, and the same results from the same answers."""

import asyncio
import dataclasses
import io
import json

import httpx
import msgspec
import pytest
import trove_sdk

import trove_agents
from trove_agents import AsyncHttpTransport, HttpTransport

BASE = "http://trove.test/base"

FILE = {"path": "workspace/a", "size_bytes": 2}
INFO = {
    "name": "a",
    "path": "workspace/a",
    "is_dir": False,
    "size_bytes": 2,
    "modified_at": "2026-05-07T20:00:00.000000Z",
}
TEXT = {
    "path": "workspace/a",
    "size_bytes": 2,
    "modified_at": "t",
    "encoding": "utf-8",
    "content": "hi",
    "truncated": False,
}
SNAPSHOT = {"snapshot_id": "snap-1", "namespace": "ns", "label": None, "size_bytes": 2, "created_at": "t"}
KEY = {
    "key_id": "key-1",
    "name": "n",
    "prefix": "trove-sk-abc",
    "scope": "workspace",
    "namespace": None,
    "created_at": "t",
}
WEBHOOK = {
    "webhook_id": "wh-1",
    "url": "https://x",
    "events": ["*"],
    "namespace": None,
    "description": None,
    "enabled": True,
    "created_at": "t",
}
EXEC = {"exit_code": 0, "stdout": "out", "stderr": "err", "duration_ms": 5}
ME = {"workspace_id": "ws-1", "key_id": "k", "key_name": "n", "scope": "admin", "namespace": None}
MISSING = httpx.Response(404, json={"detail": "not found"})


def ok(body: object, status: int = 200, **headers: str) -> httpx.Response:
    shown = {name.replace("_", "-"): text for name, text in headers.items()}
    if isinstance(body, bytes):
        return httpx.Response(status, content=body, headers=shown)
    return httpx.Response(status, json=body, headers=shown)


RUNTIME = [
    ("exec", ("ls",), {}, [ok(EXEC)]),
    ("exec", ("cat",), {"stdin": "naïve"}, [ok(EXEC)]),
    ("exec_detailed", ("false",), {"stdin": ""}, [ok(EXEC | {"exit_code": 3})]),
    ("exec_detailed", ("x",), {}, [ok({"exit_code": 0})]),
    ("exec_detailed", ("x",), {}, [ok({"exit_code": "1", "stdout": None, "stderr": None})]),
    ("exec_chain", (["cd a && ls", "pwd || true"],), {}, [ok(EXEC)]),
    ("exec_chain", (("ls",),), {"stdin": "x"}, [ok(EXEC)]),
    ("write", ("a", "text"), {}, [ok(FILE)]),
    ("write", ("/workspace/workspace/ü b", ""), {}, [ok(FILE, 201)]),
    ("upload", ("a", b"\x00\xff"), {}, [ok(FILE)]),
    ("upload", ("workspace/dir/a b.bin", io.BytesIO(b"data")), {}, [ok(FILE)]),
    ("upload", ("a", b""), {}, [ok(FILE)]),
    ("delete", ("workspace/dir",), {}, [ok({"deleted": "workspace/dir"})]),
    ("set_init", ("cd x\n",), {}, [ok(FILE)]),
    ("get_init", (), {}, [ok(TEXT)]),
    ("get_init", (), {}, [MISSING]),
    ("clear_init", (), {}, [ok({"deleted": "x"})]),
    ("clear_init", (), {}, [MISSING]),
    ("list_dir", (), {}, [ok({"entries": [INFO], "truncated": True})]),
    ("list_dir", ("workspace/a b&c=d/ü",), {"recursive": True}, [ok({"path": "workspace", "entries": []})]),
    ("read", ("a",), {}, [ok(TEXT)]),
    ("read", ("a",), {}, [ok(TEXT | {"content": None, "encoding": "binary"}), ok(b"\x00", x_trove_size="1")]),
    ("read_text", ("workspace/a",), {}, [ok(TEXT | {"content": None})]),
    ("read_file", ("/a",), {}, [ok(TEXT)]),
    ("read_bytes", ("workspace/a",), {}, [ok(b"\x00\xff")]),
    ("read_bytes_full", ("a",), {}, [ok(b"x", x_trove_size="9", x_trove_truncated="1")]),
    ("read_bytes_full", ("a",), {}, [ok(b"x", x_trove_size="odd")]),
    ("create_snapshot", (), {}, [ok(SNAPSHOT, 201)]),
    ("create_snapshot", ("before",), {}, [ok(SNAPSHOT | {"label": "before"}, 201)]),
    ("list_snapshots", (), {}, [ok({"snapshots": [SNAPSHOT, SNAPSHOT | {"extra": 1}]})]),
    ("restore_snapshot", ("snap-1",), {}, [ok({"snapshot_id": "snap-1", "files_restored": 3})]),
    ("restore_snapshot", ("snap-1",), {}, [ok({})]),
    ("delete_snapshot", ("snap-1",), {}, [ok({"snapshot_id": "snap-1", "deleted": True})]),
    ("delete_snapshot", ("snap-1",), {}, [ok(b"", 204)]),
]

ADMIN = [
    ("create_key", ("customer",), {}, [ok(KEY | {"api_key": "trove-sk-1"}, 201)]),
    (
        "create_key",
        ("customer",),
        {"namespace": "ns"},
        [ok(KEY | {"api_key": "trove-sk-1", "namespace": "ns"}, 201)],
    ),
    ("list_keys", (), {}, [ok({"keys": [KEY]})]),
    ("revoke_key", ("key-1",), {}, [ok({"key_id": "key-1", "revoked": True})]),
    ("create_webhook", ("https://x",), {}, [ok(WEBHOOK | {"signing_secret": "s"}, 201)]),
    (
        "create_webhook",
        ("https://x",),
        {"events": ["file.written"], "namespace": "ns", "description": "d"},
        [ok(WEBHOOK | {"signing_secret": "s"}, 201)],
    ),
    ("create_webhook", ("https://x",), {"events": []}, [ok(WEBHOOK | {"signing_secret": "s"}, 201)]),
    ("list_webhooks", (), {}, [ok({"webhooks": [WEBHOOK, {"webhook_id": "wh-2", "url": "u"}]})]),
    ("delete_webhook", ("wh-1",), {}, [ok({})]),
    ("test_webhook", ("wh-1",), {}, [ok({"ok": True, "event_id": "evt-1", "status": 200, "error": None})]),
    ("test_webhook", ("wh-1",), {}, [ok({})]),
]

CASES = [
    *(pytest.param("TroveClient", *case, id=f"{case[0]}-{n}") for n, case in enumerate(RUNTIME)),
    *(pytest.param("TroveAdminClient", *case, id=f"{case[0]}-{n}") for n, case in enumerate(ADMIN)),
]


class Recorder:
    """Answers in turn, and keeps what matters of each request."""

    def __init__(self, answers: list[httpx.Response]) -> None:
        self._answers = list(answers)
        self.requests: list[dict[str, object]] = []

    def mock(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = request.content if hasattr(request, "_content") else request.read()
        if request.headers.get("content-type") == "application/json":
            body = json.loads(body)
        self.requests.append(
            {
                "method": request.method,
                "path": request.url.raw_path.decode().partition("?")[0],
                "query": sorted(request.url.params.multi_items()),
                "body": body,
                "headers": {
                    name: request.headers.get(name)
                    for name in ("authorization", "x-namespace", "content-type", "content-length")
                },
            }
        )
        answer = self._answers.pop(0)
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)


def second(client: str) -> str:
    return "ns" if client == "TroveClient" else "ws-1"


def with_sdk(client: str, recorder: Recorder, method: str, arguments, named):
    with getattr(trove_sdk, client)("key", second(client), base_url=BASE) as sdk:
        inner = sdk._http
        sdk._http = httpx.Client(transport=recorder.mock(), base_url=BASE, headers=inner.headers)
        inner.close()
        return getattr(sdk, method)(*arguments, **named)


def with_ours(client: str, recorder: Recorder, method: str, arguments, named):
    transport = HttpTransport(BASE, transport=recorder.mock())
    with getattr(trove_agents, client)("key", second(client), transport=transport) as ours:
        return getattr(ours, method)(*arguments, **named)


def with_ours_async(client: str, recorder: Recorder, method: str, arguments, named):
    async def main():
        transport = AsyncHttpTransport(BASE, transport=httpx.MockTransport(answer))
        async with getattr(trove_agents, f"Async{client}")(
            "key", second(client), transport=transport
        ) as ours:
            return await getattr(ours, method)(*arguments, **named)

    async def answer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        return recorder(request)

    return asyncio.run(main())


def plain(value: object) -> object:
    """A result as plain data. What ours says besides is left out by ``same``."""
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [plain(each) for each in value] if isinstance(value, list) else value


def same(theirs: object, ours: object) -> bool:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return all(name in ours and same(value, ours[name]) for name, value in theirs.items())
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(theirs) == len(ours) and all(map(same, theirs, ours))
    return theirs == ours


def fresh(arguments):
    return tuple(io.BytesIO(each.getvalue()) if isinstance(each, io.BytesIO) else each for each in arguments)


@pytest.mark.parametrize("run", [with_ours, with_ours_async])
@pytest.mark.parametrize(("client", "method", "arguments", "named", "answers"), CASES)
def test_requests_and_results_are_the_same(run, client, method, arguments, named, answers) -> None:
    sent_by_sdk, sent_by_us = Recorder(answers), Recorder(answers)
    theirs = with_sdk(client, sent_by_sdk, method, fresh(arguments), named)
    ours = run(client, sent_by_us, method, fresh(arguments), named)
    assert sent_by_us.requests == sent_by_sdk.requests
    assert same(plain(theirs), plain(ours)), (theirs, ours)
    assert getattr(ours, "truncated", None) == getattr(theirs, "truncated", None)


def test_bootstrap_asks_and_says_the_same() -> None:
    # The SDK reads the note before the script, one after the other; the order of independent reads is free
    def answer(recorder: Recorder):
        def serve(request: httpx.Request) -> httpx.Response:
            body = {"entries": [INFO, INFO | {"is_dir": True}], "truncated": True}
            recorder._answers = [
                ok(body)
                if request.url.path.endswith("/v1/files")
                else ok(TEXT)
                if "init.sh" in str(request.url)
                else MISSING
            ]
            return Recorder.__call__(recorder, request)

        return serve

    class Serving(Recorder):
        def mock(self) -> httpx.MockTransport:
            return httpx.MockTransport(answer(self))

    sdk, us = Serving([]), Serving([])
    theirs, ours = (
        with_sdk("TroveClient", sdk, "bootstrap", (), {}),
        with_ours("TroveClient", us, "bootstrap", (), {}),
    )
    assert same(plain(theirs), plain(ours))
    assert theirs.as_system_prompt_block() == ours.as_system_prompt_block()
    assert sorted(map(str, sdk.requests)) == sorted(map(str, us.requests))


def test_every_public_method_of_the_sdk_is_compared() -> None:
    compared = {
        "TroveClient": {case[0] for case in RUNTIME} | {"bootstrap"},
        "TroveAdminClient": {case[0] for case in ADMIN},
    }
    elsewhere = {"close", "from_api_key"}
    for client, methods in compared.items():
        public = {name for name in dir(getattr(trove_sdk, client)) if not name.startswith("_")}
        assert public - elsewhere == methods


def test_every_name_of_the_sdk_is_here() -> None:
    assert set(trove_sdk.__all__) <= set(trove_agents.__all__)


def test_every_parameter_of_the_sdk_is_here() -> None:
    import inspect

    for client in ("TroveClient", "AsyncTroveClient", "TroveAdminClient", "AsyncTroveAdminClient"):
        theirs = getattr(trove_sdk, client)
        for name in ("__init__", *(each for each in dir(theirs) if not each.startswith("_"))):
            old = inspect.signature(getattr(theirs, name)).parameters
            new = inspect.signature(getattr(getattr(trove_agents, client), name)).parameters
            shared = [new[each] for each in old]
            assert list(new)[: sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in old.values())] == [
                each for each, p in old.items() if p.kind is p.POSITIONAL_OR_KEYWORD
            ]
            assert [p.kind for p in shared] == [p.kind for p in old.values()]
            added = [new[each] for each in new if each not in old]
            assert all(p.default is not p.empty for p in added)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (s, b)
        for s in (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503, 504)
        for b in (b'{"detail": "words"}', b"words")
    ],
)
def test_errors_are_of_the_sdks_class_or_a_finer_one(status: int, body: bytes) -> None:
    answer = [httpx.Response(status, content=body)]
    with pytest.raises(trove_sdk.TroveError) as theirs:
        with_sdk("TroveClient", Recorder(answer), "exec", ("x",), {})
    with pytest.raises(trove_agents.TroveError) as ours:
        with_ours("TroveClient", Recorder(answer * 2), "exec", ("x",), {})
    assert type(theirs.value).__name__ in {each.__name__ for each in type(ours.value).__mro__}
    assert (str(ours.value), ours.value.status_code) == (str(theirs.value), theirs.value.status_code)


KNOWN_IMPROVEMENTS = [
    # path given, path the SDK sends, path these clients send
    ("a#b", "/base/files/a", "/base/files/a%23b"),
    ("a?b", "/base/files/a", "/base/files/a%3Fb"),
    ("100%20.txt", "/base/files/100%20.txt", "/base/files/100%2520.txt"),
    ("../x", "/base/x", "/base/files/%2E%2E/x"),
]


@pytest.mark.parametrize(("path", "sdk", "us"), KNOWN_IMPROVEMENTS)
def test_known_improvements(path: str, sdk: str, us: str) -> None:
    theirs, ours = Recorder([ok(FILE)]), Recorder([ok(FILE)])
    with_sdk("TroveClient", theirs, "upload", (path, b"x"), {})
    with_ours("TroveClient", ours, "upload", (path, b"x"), {})
    assert (theirs.requests[0]["path"], ours.requests[0]["path"]) == (sdk, us)


@pytest.mark.parametrize("step", ["ls # all", "sleep 1 &", "ls;", "cat <<E\nx\nE"])
def test_known_improvement_chains_that_bash_refuses(step: str) -> None:
    theirs, ours = Recorder([ok(EXEC)]), Recorder([ok(EXEC)])
    with_sdk("TroveClient", theirs, "exec_chain", ([step],), {})
    with_ours("TroveClient", ours, "exec_chain", ([step],), {})
    assert theirs.requests[0]["body"] == {"command": "{ " + step + "; }"}
    assert ours.requests[0]["body"] == {"command": "{ " + step + "\n}"}
