import asyncio

import pytest

from trove_agents.client import files
from trove_agents.client.retry import Retries, passing
from trove_agents.client.upload import Upload
from trove_agents.errors import (
    NotSupported,
    TroveConnectionError,
    TroveConnectionTimeoutError,
    TroveError,
    TroveRateLimitError,
    TroveServerError,
    TroveTimeoutError,
)

from .conftest import SWIFT, Colour, reply

ME = (
    b'{"workspace_id": "w", "key_id": "k", "key_name": "n", "scope": "workspace", "namespace": null, '
    b'"capabilities": [%s]}'
)
STORED = reply(200, b'{"path": "workspace/a", "size_bytes": 1}')


class Flaky:
    """Fails as told, then answers; says what it can do, if anything, whenever it is asked for that."""

    def __init__(self, *failures: object, answer=STORED, capabilities: str | None = "") -> None:
        self.left = list(failures)
        self.answer = answer
        self.asked = 0
        self.questions = 0
        self.capabilities = capabilities

    def __call__(self, request):
        if request.path == "/v1/me":
            self.questions += 1
            if self.capabilities is None:
                raise TroveConnectionError("reset")
            return reply(200, ME % self.capabilities.encode())
        self.asked += 1
        if not self.left:
            return self.answer
        failure = self.left.pop(0)
        if isinstance(failure, Exception):
            raise failure
        return failure


@pytest.mark.parametrize(
    "failure",
    [
        TroveConnectionError("reset"),
        TroveConnectionTimeoutError("slow"),
        reply(429, b'{"detail": "slow down"}'),
        reply(503, b'{"detail": "busy"}', retry_after="0"),
        reply(503, b"<html>"),
    ],
)
def test_a_passing_failure_is_repeated(colour: Colour, failure: object) -> None:
    server = Flaky(failure, failure)
    client = colour.client(colour.transport(server))
    assert colour.call(client, "write", "a", "x").size_bytes == 1
    assert server.asked == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 422, 500, 502, 504])
def test_other_failures_are_not(colour: Colour, status: int) -> None:
    server = Flaky(reply(status, b'{"detail": "no"}'))
    with pytest.raises(TroveError) as caught:
        colour.call(colour.client(colour.transport(server)), "read_bytes", "a")
    assert (caught.value.status_code, server.asked) == (status, 1)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("exec", ("ls",)),
        ("exec_detailed", ("ls",)),
        ("delete", ("a",)),
        ("create_snapshot", ()),
        ("restore_snapshot", ("snap-1",)),
        ("delete_snapshot", ("snap-1",)),
    ],
)
def test_what_may_have_happened_already_is_not_repeated(
    colour: Colour, method: str, arguments: tuple
) -> None:
    server = Flaky(TroveConnectionError("reset", may_have_committed=True))
    with pytest.raises(TroveConnectionError):
        colour.call(colour.client(colour.transport(server)), method, *arguments)
    assert (server.asked, server.questions) == (1, 1)


EXITED = reply(200, b'{"exit_code": 0}')


def keys(transport) -> list[str]:
    """Of the requests, without the questions."""
    acts = [request for request in transport.requests if request.path != "/v1/me"]
    return [value for request in acts for name, value in request.headers if name == "idempotency-key"]


def test_a_server_that_keeps_answers_is_asked_again(colour: Colour) -> None:
    running = reply(409, b'{"detail": "running", "code": "idempotency-in-flight"}', retry_after="0")
    failures = (TroveConnectionError("reset"), running, reply(503, b"{}"))
    server = Flaky(*failures, answer=EXITED, capabilities='"idempotency"')
    transport = colour.transport(server)
    client = colour.client(transport)
    assert colour.call(client, "exec_detailed", "make").exit_code == 0
    assert (server.asked, server.questions) == (4, 1)
    assert len(set(keys(transport))) == 1
    server.left = [TroveConnectionError("reset")]
    assert colour.call(client, "exec_detailed", "make").exit_code == 0
    assert (server.asked, server.questions) == (6, 1)
    assert len(set(keys(transport))) == 2, "each call has a key of its own"


def test_while_the_server_cannot_be_asked_nothing_is_repeated(colour: Colour) -> None:
    server = Flaky(TroveConnectionError("first"), answer=EXITED, capabilities=None)
    with pytest.raises(TroveConnectionError, match="first"):
        colour.call(colour.client(colour.transport(server)), "exec_detailed", "make")
    assert (server.asked, server.questions) == (1, 1)


def test_what_succeeds_asks_nothing(colour: Colour) -> None:
    server = Flaky(answer=EXITED, capabilities='"idempotency"')
    colour.call(colour.client(colour.transport(server)), "exec_detailed", "make")
    assert (server.asked, server.questions) == (1, 0)


def test_a_key_of_ones_own_is_sent_with_each_attempt(colour: Colour) -> None:
    server = Flaky(TroveConnectionError("reset"), answer=EXITED, capabilities='"idempotency"')
    transport = colour.transport(server)
    client = colour.client(transport).with_idempotency_key('run "1"/step')
    assert colour.call(client, "exec_detailed", "make").exit_code == 0
    assert keys(transport) == ['"run \\"1\\"/step"'] * 2


def test_in_process_only_a_key_of_ones_own_is_sent(colour: Colour) -> None:
    server = Flaky(answer=EXITED, capabilities='"idempotency"')
    transport = colour.transport(server, retries=False)
    client = colour.client(transport)
    colour.call(client, "exec_detailed", "make")
    colour.call(client.with_idempotency_key("k"), "exec_detailed", "make")
    assert keys(transport) == ['"k"']


def test_a_key_of_ones_own_needs_a_server_that_keeps_answers(colour: Colour) -> None:
    server = Flaky(answer=EXITED)
    client = colour.client(colour.transport(server)).with_idempotency_key("k")
    with pytest.raises(NotSupported, match="idempotency"):
        colour.call(client, "exec_detailed", "make")
    assert server.asked == 0


@pytest.mark.parametrize("key", ["", "x" * 256, "\n", "\u00e9"])
def test_what_cannot_be_a_key_is_refused(colour: Colour, key: str) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        colour.client(colour.transport(Flaky())).with_idempotency_key(key)


def test_attempts_are_bounded_and_the_last_failure_is_raised(colour: Colour) -> None:
    server = Flaky(*(TroveConnectionError(f"failure {n}") for n in range(9)))
    with pytest.raises(TroveConnectionError, match="failure 3"):
        colour.call(colour.client(colour.transport(server)), "read_file", "a")
    assert server.asked == SWIFT.attempts == 4


@pytest.mark.parametrize("retries", [None, Retries(attempts=1)])
def test_retries_can_be_turned_off(colour: Colour, retries: Retries | None) -> None:
    server = Flaky(TroveConnectionError("reset"))
    with pytest.raises(TroveConnectionError):
        colour.call(colour.client(colour.transport(server), retries=retries), "read_file", "a")
    assert server.asked == 1


def test_a_transport_in_process_is_never_asked_twice(colour: Colour) -> None:
    server = Flaky(TroveConnectionError("reset"))
    with pytest.raises(TroveConnectionError):
        colour.call(colour.client(colour.transport(server, retries=False)), "read_file", "a")
    assert server.asked == 1


def test_the_wait_is_what_the_server_asked_for(colour: Colour) -> None:
    waits: list[tuple[float, int]] = []

    class Noting(Retries):
        """Notes the waits instead of spending them."""

        def wait(self, error, attempt: int) -> float:
            waits.append((super().wait(error, attempt), attempt))
            return 0.0

    server = Flaky(
        reply(429, b"{}", retry_after="7"), reply(503, b"{}", retry_after="40"), TroveConnectionError("x")
    )
    client = colour.client(colour.transport(server), retries=Noting(first_wait=0.0))
    colour.call(client, "write", "a", "x")
    assert waits == [(7.0, 1), (40.0, 2), (0.0, 3)]


def test_a_wait_that_does_not_fit_is_not_begun(colour: Colour) -> None:
    server = Flaky(reply(429, b"{}", retry_after="3600"))
    with pytest.raises(TroveRateLimitError) as caught:
        colour.call(colour.client(colour.transport(server)), "write", "a", "x")
    assert (caught.value.retry_after, server.asked) == (3600.0, 1)


def test_waits_grow_up_to_the_longest_and_come_after_what_the_server_asked() -> None:
    retries = Retries(first_wait=1.0, longest_wait=8.0)
    for attempt, longest in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0), (10_000, 8.0)]:
        waits = [retries.wait(TroveConnectionError("x"), attempt) for _ in range(200)]
        assert 0.0 <= min(waits) < max(waits) <= longest
        assert max(waits) > longest / 2  # of 200 draws, for all practical purposes
    assert 30.0 <= retries.wait(TroveRateLimitError("x", 429, retry_after=30.0), 1) <= 31.0
    assert retries.wait(None, 1) <= 1.0


@pytest.mark.parametrize(
    "fields", [{"attempts": 0}, {"seconds": -1.0}, {"first_wait": -0.1}, {"longest_wait": -2.0}]
)
def test_nonsense_is_refused(fields: dict) -> None:
    with pytest.raises(ValueError, match="attempts is at least 1"):
        Retries(**fields)


def test_what_is_passing() -> None:
    assert passing(TroveConnectionError("x"))
    assert passing(TroveServerError("x", 503))
    assert not passing(TroveServerError("x", 500))
    assert not passing(TroveTimeoutError("x", 504))
    assert not passing(OSError("x"))


def test_an_upload_is_repeated_from_its_beginning(colour: Colour, tmp_path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"0123456789")
    with source.open("rb") as file:
        file.seek(4)
        for data, sent in [
            (b"bytes", b"bytes"),
            (source, b"0123456789"),
            (file, b"456789"),
            ([b"a", b"b"], b"ab"),
        ]:
            seen: list[tuple[int, int | None]] = []
            server = Flaky(TroveConnectionError("reset"))
            transport = colour.transport(server)
            colour.call(colour.client(transport), "upload", "a", data, progress=lambda *at: seen.append(at))
            assert transport.bodies == [sent, sent]
            total = None if isinstance(data, list) else len(sent)
            assert seen.count((len(sent), total)) == 2


def test_a_body_that_is_used_up_is_not_sent_again(colour: Colour) -> None:
    server = Flaky(TroveConnectionError("reset"))
    with pytest.raises(TroveConnectionError, match="reset"):
        colour.call(colour.client(colour.transport(server)), "upload", "a", iter([b"a"]))
    assert server.asked == 1


def test_a_body_that_was_not_touched_is(colour: Colour) -> None:
    class Refusing:
        """Fails before it reads the body."""

        retries = True

        def __init__(self) -> None:
            self.inner = colour.transport(lambda _: STORED)
            self.asked = 0

        def send(self, request):
            self.asked += 1
            if self.asked == 1:
                raise TroveConnectionError("refused")
            return self.inner.send(request)

    transport = Refusing()
    colour.call(colour.client(transport), "upload", "a", iter([b"a", b"b"]))
    assert (transport.asked, transport.inner.bodies) == (2, [b"ab"])


def test_a_failing_source_ends_the_upload(colour: Colour) -> None:
    def broken():
        yield b"a"
        raise OSError("disk gone")

    client = colour.client(colour.transport(lambda _: STORED))
    with pytest.raises(OSError, match="disk gone"):
        colour.call(client, "upload", "a", broken())
    with pytest.raises(TypeError, match="not text"):
        Upload("text")
    assert files.upload("a", b"x").repeatable


def test_cancellation_is_no_failure_to_repeat() -> None:
    colour = Colour("async")
    asked: list[str] = []

    class Hanging:
        retries = True

        async def send(self, request):
            asked.append(request.path)
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(colour.client(Hanging()).read_file("a"))
        while not asked:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert asked == ["/v1/files/content"]
