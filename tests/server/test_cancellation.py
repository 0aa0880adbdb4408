"""Calls that end in the middle, at each point where they wait: what they would have done is there wholly or not at
all, and nothing they held stays behind.
"""

import asyncio
import itertools
import json
import types
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import select

from trove_agents.embedded import Trove
from trove_agents.server.db.tables import locks
from trove_agents.server.settings import Settings

from .conftest import Api

LARGE = b"large " * 20_000


@pytest.fixture
def trove(tmp_path):
    with Trove(Settings(tmp_path / "state", sandbox="none")) as trove:
        edge = trove._runtime().app
        edge._pool = Pool()
        yield trove


async def interrupted(call, number):
    """Whether it came to its end before that."""
    await cancelled_at(number, call.run())
    return not asyncio.current_task().cancelling()


@types.coroutine
def cancelled_at(number, work):
    """Awaits ``work`` and cancels the task where it waits for the time of that number."""
    thrown = None
    for count in itertools.count():
        try:
            waited = work.send(None) if thrown is None else work.throw(thrown)
        except StopIteration as done:
            return done.value
        thrown = None
        if count == number:
            asyncio.current_task().cancel()
        try:
            yield waited
        except BaseException as error:
            thrown = error


class Pool(ThreadPoolExecutor):
    """Worker threads that can be waited for: what a cancelled call had begun there ends by itself."""

    def __init__(self):
        super().__init__(40)
        self.begun = []

    def submit(self, *work, **more):
        self.begun.append(super().submit(*work, **more))
        return self.begun[-1]

    def settle(self):
        while self.begun:
            wait([self.begun.pop()])


class Call:
    """One request to the application, as a server with sockets makes it."""

    def __init__(self, api, method, path, pieces=(b"",), headers=()):
        sent = {"Authorization": f"Bearer {api.key}", "X-Namespace": "main", **dict(headers)}
        self.app = api.trove._runtime().app
        self.pieces = pieces
        self.status = None
        length = sum(map(len, pieces))
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()]
            + [(b"content-length", str(length).encode())],
            "client": None,
            "server": None,
        }

    async def run(self, leaves_after=None):
        """The status; None where no answer was begun. The caller may leave after some pieces of the body."""
        pieces = iter(self.pieces)
        left = len(self.pieces)
        came = 0

        async def receive():
            nonlocal left, came
            await asyncio.sleep(0)
            if leaves_after is not None and came >= leaves_after:
                return {"type": "http.disconnect"}
            if left == 0:
                await asyncio.Event().wait()
            left, came = left - 1, came + 1
            return {"type": "http.request", "body": next(pieces), "more_body": left > 0}

        async def send(message):
            await asyncio.sleep(0)
            if message["type"] == "http.response.start":
                self.status = message["status"]

        await self.app(self.scope, receive, send)
        return self.status


def upload(api):
    return Call(api, "PUT", "/files/f", [LARGE[at : at + 30_000] for at in range(0, len(LARGE), 30_000)])


def execute(api, **headers):
    body = json.dumps({"command": "echo new > f; rm -r d; echo new > g"}).encode()
    return Call(api, "POST", "/v1/exec", [body], headers)


def restore(api):
    [taken] = api("GET", "/v1/snapshots").json["snapshots"]
    return Call(api, "POST", f"/v1/snapshots/{taken['snapshot_id']}/restore")


def rewind(api):
    [taken] = api("GET", "/v1/snapshots").json["snapshots"]
    return Call(api, "POST", "/v1/restore", [json.dumps({"to": taken["snapshot_id"]}).encode()])


BEFORE = {"d/a": b"old", "d/b": b"old", "f": b"old"}
CALLS = {
    # name: the call, what is there when it was done
    "upload": (upload, {**BEFORE, "f": LARGE}),
    "exec": (execute, {"f": b"new\n", "g": b"new\n"}),
    "exec that streams": (
        lambda api: execute(api, Accept="text/event-stream"),
        {"f": b"new\n", "g": b"new\n"},
    ),
    "restore": (restore, {"d/a": b"then", "x": b"then"}),
    "restore to any state": (rewind, {"d/a": b"then", "x": b"then"}),
    "delete namespace": (lambda api: Call(api, "DELETE", "/v1/namespaces/main"), {}),
}


def begin(api):
    api("DELETE", "/v1/namespaces/main")
    for path in ("d/a", "x"):
        api.write(path, "then")
    api.snapshot()
    api.delete("x")
    for path in ("d/a", "d/b", "f"):
        api.write(path, "old")


def files(api):
    listing = api.list(recursive=True).json["entries"]
    paths = [entry["path"].removeprefix("workspace/") for entry in listing if not entry["is_dir"]]
    return {path: api.get(path).body for path in paths}


def check(api, after, done):
    """All or nothing; nobody waits for a lock, and no half of a blob is left."""
    api.trove._runtime().app.pool.settle()
    there = files(api)
    assert there in ([after] if done else [BEFORE, after])
    incoming = api.trove.folder / "blobs" / "incoming"
    assert not incoming.exists() or list(incoming.iterdir()) == []
    with api.trove.server.database.read() as db:
        assert {expires for (expires,) in db.all(select(locks.c.expires_us))} <= {0}
    return there == after


@pytest.mark.parametrize("name", CALLS)
def test_cancelled_wherever_it_waits(trove, name):
    api = Api(trove)
    make, after = CALLS[name]
    outcomes = []

    async def main():
        for number in itertools.count():
            await asyncio.to_thread(begin, api)
            call = await asyncio.to_thread(make, api)
            task = asyncio.create_task(interrupted(call, number))
            await asyncio.wait([task])
            ended = not task.cancelled() and task.result()
            outcomes.append(await asyncio.to_thread(check, api, after, done=ended))
            if ended:
                assert call.status == 200
                return

    asyncio.run(main())
    # What is one transaction from its first wait on may always come to its end
    assert set(outcomes) >= ({True} if name in {"restore", "delete namespace"} else {False, True})


def test_an_uploader_that_leaves_after_each_piece(trove):
    api = Api(trove)
    begin(api)
    pieces = len(upload(api).pieces)
    for left in range(pieces):
        asyncio.run(upload(api).run(leaves_after=left))
        check(api, BEFORE, done=True)
    assert asyncio.run(upload(api).run()) == 200
    check(api, {**BEFORE, "f": LARGE}, done=True)
