"""``Idempotency-Key`` under faults: a caller who repeats until there is an answer gets one, and one effect."""

import contextlib
import json
import os
import random
import socket
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import httpx
import pytest

from trove_agents.embedded import Trove
from trove_agents.server.settings import Settings

KILLS = 150 if os.environ.get("TROVE_SOAK") else 4
WRITERS = 4
LIMIT = 120.0


class Caller:
    """Sends one call after another, each with a key of its own, until it is answered, whatever happens between."""

    def __init__(self, server, name, ended):
        self.server, self.name, self.ended = server, name, ended
        self.done, self.replayed, self.failure = [], 0, None

    def run(self, call):
        try:
            while not self.ended.is_set():
                key = f"{self.name}-{len(self.done)}"
                answer = self.until_answered(key, *call(key))
                self.replayed += "idempotency-replayed" in answer.headers
                self.done.append(key)
        except BaseException as error:
            self.failure = error

    def until_answered(self, key, path, body):
        limit = time.monotonic() + LIMIT
        while time.monotonic() < limit:
            headers = {"Authorization": f"Bearer {self.server.key}", "X-Namespace": "main"}
            headers["Idempotency-Key"] = f'"{key}"'
            content = json.dumps(body).encode()
            try:
                answer = httpx.post(
                    f"{self.server.base_url}{path}", content=content, headers=headers, timeout=30.0
                )
            except httpx.TransportError:
                time.sleep(0.02)  # it is being started again
                continue
            if answer.status_code in {200, 201}:
                return answer
            assert answer.status_code == 503 or answer.json()["code"] == "idempotency-in-flight", answer.text
            time.sleep(0.02)
        raise AssertionError(f"{key} was never answered")


def test_a_call_is_done_once_however_often_its_server_is_killed(own_server, place):
    where = place(own_server.folder)
    server = own_server
    if isinstance(where, str):
        server.kill()
        (server.folder / "credentials.json").unlink()
        server.folder, server.options = server.folder / "shared", ("--database-url", where)
        server.folder.mkdir()
        server.start()
    calls = {
        **{f"w{n}": lambda key: ("/write", {"path": key, "content": key}) for n in range(WRITERS)},
        "s": lambda key: ("/v1/snapshots", {"label": key}),
        "f": lambda key: ("/v1/forks", {"namespace": f"fork-{key}"}),
    }
    ended = threading.Event()
    callers = {name: Caller(server, name, ended) for name in calls}
    threads = [threading.Thread(target=callers[name].run, args=(call,)) for name, call in calls.items()]
    for thread in threads:
        thread.start()
    for _ in range(KILLS):
        time.sleep(random.uniform(0.05, 0.4))
        server.kill()
        server.start()
    before = {name: len(caller.done) for name, caller in callers.items()}
    limit = time.monotonic() + LIMIT
    while any(len(caller.done) == before[name] for name, caller in callers.items()):
        assert time.monotonic() < limit, [caller.failure for caller in callers.values()]
        time.sleep(0.02)
    ended.set()
    for thread in threads:
        thread.join()
    assert [caller.failure for caller in callers.values()] == [None] * len(callers)

    done = Counter(key for caller in callers.values() for key in caller.done)
    told = Counter(
        {"file.written": lambda data: data["path"].removeprefix("workspace/")}.get(
            event["type"], lambda data: data.get("label") or event["namespace"].removeprefix("fork-")
        )(event["data"])
        for event in server.events()
        if event["type"] in {"file.written", "snapshot.created", "namespace.forked"}
    )
    assert told == done
    kinds = Counter()
    with httpx.Client(base_url=server.base_url, headers={"Authorization": f"Bearer {server.key}"}) as http:
        cursor = {}
        while cursor is not None:
            answer = http.get("/v1/history", params=cursor, headers={"X-Namespace": "main"}).json()
            kinds.update(entry["kind"] for entry in answer["entries"])
            cursor = {"cursor": answer["next_cursor"]} if answer["next_cursor"] else None
    assert kinds["write"] == sum(len(callers[f"w{n}"].done) for n in range(WRITERS))
    assert kinds["snapshot"] == len(callers["s"].done)


@pytest.mark.sandbox
def test_a_command_takes_effect_once_however_often_its_server_is_killed(own_server):
    server = own_server
    ended = threading.Event()
    caller = Caller(server, "c", ended)
    thread = threading.Thread(
        target=caller.run,
        args=(lambda key: ("/v1/exec", {"command": f"echo {key} >> log; sleep 0.05; echo {key}"}),),
    )
    thread.start()
    for _ in range(max(KILLS // 2, 3)):
        time.sleep(random.uniform(0.1, 0.6))
        server.kill()
        server.start()
    before, limit = len(caller.done), time.monotonic() + LIMIT
    while len(caller.done) == before:
        assert time.monotonic() < limit and caller.failure is None, caller.failure
        time.sleep(0.02)
    ended.set()
    thread.join()
    assert caller.failure is None
    with server.client() as client:
        assert client.read_text("log").split() == caller.done


def raw(server, path, body, key):
    """A socket on which a whole call was sent, and nothing was read."""
    at = urlsplit(server.base_url)
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {at.netloc}\r\nAuthorization: Bearer {server.key}\r\nX-Namespace: main\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\nIdempotency-Key: {key}\r\n\r\n"
    )
    sent = socket.create_connection((at.hostname, at.port))
    sent.sendall(head.encode() + content)
    return sent


def test_an_answer_that_was_lost_is_given_again(server):
    caller = Caller(server, "lost", threading.Event())
    for turn in range(20):
        label = f"lost-{turn}"
        with contextlib.closing(raw(server, "/v1/snapshots", {"label": label}, label)):
            if turn % 2:  # as early as can be; else when it was done
                limit = time.monotonic() + LIMIT
                while not any(event["data"].get("label") == label for event in server.events()):
                    assert time.monotonic() < limit
        answer = caller.until_answered(label, "/v1/snapshots", {"label": label})
        assert "idempotency-replayed" in answer.headers or not turn % 2
    with server.client() as client:
        made = Counter(each.label for each in client.list_snapshots() if each.label.startswith("lost-"))
    assert made == {f"lost-{turn}": 1 for turn in range(20)}


@pytest.mark.sandbox
def test_a_command_whose_caller_left_runs_for_the_one_who_asks_again(server):
    caller = Caller(server, "left", threading.Event())
    command = {"command": "echo x >> left; sleep 0.3; cat left"}
    for turn in range(3):
        with contextlib.closing(raw(server, "/v1/exec", command, f"left-{turn}")):
            time.sleep(random.uniform(0.0, 0.25))
        answer = caller.until_answered(f"left-{turn}", "/v1/exec", command)
        assert answer.json()["stdout"] == "x\n" * (turn + 1)


def test_of_many_at_once_on_two_servers_one_is_done(tmp_path, place):
    folders = [tmp_path / "one", tmp_path / "two"]
    where = place(tmp_path / "state")
    shared = isinstance(where, str)
    settings = [Settings(folder, database_url=where) if shared else Settings(where) for folder in folders]
    from concurrent.futures import ThreadPoolExecutor

    from trove_agents.client.transport import Outgoing
    from trove_agents.embedded.driver import InProcess

    with Trove(settings[0]) as one, Trove(settings[1]) as other, ThreadPoolExecutor(16) as pool:
        key = one.credentials.key
        transports = [InProcess(trove._runtime) for trove in (one, other)]

        def call(number, turn):
            headers = (("Authorization", f"Bearer {key}"), ("X-Namespace", "main"), ("Idempotency-Key", turn))
            body = json.dumps({"namespace": f"fork-{turn}"}).encode()
            request = Outgoing("POST", "/v1/forks", "", headers, body, len(body), 60.0)
            return transports[number % 2].send(request)

        for turn in map(str, range(5)):
            answers = list(pool.map(call, range(16), [turn] * 16))
            assert {answer.status for answer in answers} == {201}, [each.body for each in answers]
            assert len({answer.body for answer in answers}) == 1
            assert sum("idempotency-replayed" in dict(answer.headers) for answer in answers) == 15
