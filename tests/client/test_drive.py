import asyncio

import pytest

from trove_agents.client import files
from trove_agents.client.call import Call, Flow, gather, nothing
from trove_agents.client.drive import AsyncDriver, Outgoing, Reply
from trove_agents.errors import TroveError, TroveNotFoundError

from .conftest import Colour, reply


def step(name: str) -> Call[str]:
    return Call("POST", (name,), lambda answer: answer.body.decode())


def echo(request: Outgoing) -> Reply:
    """Answers with the path; paths that begin with ``bad`` fail."""
    name = request.path.strip("/")
    return (
        reply(404, b'{"detail": "no %s"}' % name.encode())
        if name.startswith("bad")
        else reply(200, name.encode())
    )


def drive(colour: Colour, flow: Flow[object]):
    """The result of a flow and the paths that were asked for."""
    transport = colour.transport(echo)
    client = colour.client(transport)
    try:
        result = colour.call(client, "run", flow)
    except Exception as error:
        result = error
    return result, [request.path.strip("/") for request in transport.requests]


def test_a_flow_gets_results_and_returns_its_own(colour: Colour) -> None:
    def flow() -> Flow[list[str]]:
        a = yield from step("a")
        b = yield from step(a + "b")
        return [a, b]

    assert drive(colour, flow()) == (["a", "ab"], ["a", "ab"])


def test_a_flow_without_calls_just_returns(colour: Colour) -> None:
    def flow() -> Flow[int]:
        return 7
        yield

    assert drive(colour, flow()) == (7, [])


def test_a_failure_is_raised_inside_where_earlier_steps_can_be_undone(colour: Colour) -> None:
    def flow() -> Flow[str]:
        made = yield from step("make")
        try:
            return (yield from step("bad"))
        except TroveError:
            yield from step(f"un{made}")
            raise

    error, asked = drive(colour, flow())
    assert isinstance(error, TroveNotFoundError)
    assert asked == ["make", "bad", "unmake"]


def test_a_failed_undo_keeps_the_first_failure_as_its_context(colour: Colour) -> None:
    def flow() -> Flow[str]:
        try:
            return (yield from step("bad-1"))
        except TroveError:
            return (yield from step("bad-2"))

    error, asked = drive(colour, flow())
    assert (str(error), str(error.__context__)) == ("no bad-2", "no bad-1")
    assert asked == ["bad-1", "bad-2"]


def test_a_handled_failure_goes_on(colour: Colour) -> None:
    def flow() -> Flow[tuple[object, str]]:
        missing = yield from files.optional(step("bad"))
        return missing, (yield from step("next"))

    assert drive(colour, flow()) == ((None, "next"), ["bad", "next"])


def test_an_error_of_the_flow_itself_is_raised(colour: Colour) -> None:
    def flow() -> Flow[None]:
        yield from step("a")
        raise ZeroDivisionError

    error, asked = drive(colour, flow())
    assert isinstance(error, ZeroDivisionError)
    assert asked == ["a"]


def test_gather_gives_results_in_the_order_of_its_steps(colour: Colour) -> None:
    def inner() -> Flow[str]:
        first = yield from step("c")
        return first + (yield from step("d"))

    def flow() -> Flow[tuple[str, str, str]]:
        return (yield from gather(step("a"), inner(), step("b")))

    result, asked = drive(colour, flow())
    assert result == ("a", "cd", "b")
    if colour.name == "sync":
        assert asked == ["a", "c", "d", "b"]
    else:
        assert asked == ["a", "c", "b", "d"]  # at once: the second step of inner() comes last


def test_gathers_may_be_nested(colour: Colour) -> None:
    result, _ = drive(colour, gather(gather(step("a"), step("b")), step("c"), gather()))
    assert result == (("a", "b"), "c", ())


def test_a_failure_in_gather_is_raised_in_the_flow(colour: Colour) -> None:
    def flow() -> Flow[str]:
        try:
            yield from gather(step("a"), step("bad"), step("b"))
        except TroveNotFoundError:
            return (yield from step("undo"))
        return "not reached"

    result, asked = drive(colour, flow())
    assert result == "undo"
    assert asked[-1] == "undo"
    if colour.name == "sync":
        assert asked == ["a", "bad", "undo"]


class Gate(AsyncDriver):
    """An async driver whose requests to ``slow`` wait for ever, and tell when they are cancelled."""

    def __init__(self) -> None:
        self.retries = False
        self.waiting = asyncio.Event()
        self.cancelled: list[str] = []
        super().__init__(self, (), timeout=1.0, retries=None)

    async def send(self, request):
        if isinstance(request, Call):
            return await super().send(request)
        name = request.path.strip("/")
        if name.startswith("slow"):
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.append(name)
                raise
        if name.startswith("bad"):
            await self.waiting.wait()
        return echo(request)


def test_a_failure_in_gather_cancels_the_rest_and_waits_for_its_end() -> None:
    closed: list[str] = []

    def slow() -> Flow[str]:
        try:
            return (yield from step("slow-flow"))
        finally:
            closed.append("slow-flow")

    def flow(gate: Gate) -> Flow[list[str]]:
        try:
            yield from gather(step("slow-call"), step("bad"), slow())
        except TroveNotFoundError:
            return [*gate.cancelled, *closed]
        return []

    async def main() -> list[str]:
        gate = Gate()
        return await gate.run(flow(gate))

    assert asyncio.run(main()) == ["slow-call", "slow-flow", "slow-flow"]


def test_a_cancelled_flow_is_closed_and_sends_nothing_more() -> None:
    seen: list[str] = []

    def flow() -> Flow[None]:
        try:
            yield from gather(step("slow-a"), step("slow-b"))
        except GeneratorExit:
            seen.append("closed")
            raise

    async def main() -> list[str]:
        gate = Gate()
        task = asyncio.create_task(gate.run(flow()))
        await gate.waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return gate.cancelled

    assert asyncio.run(main()) == ["slow-a", "slow-b"]
    assert seen == ["closed"]


def test_an_interrupted_flow_is_closed(colour: Colour) -> None:
    seen: list[str] = []

    def flow() -> Flow[None]:
        try:
            yield from step("a")
        except GeneratorExit:
            seen.append("closed")
            raise

    def interrupt(_: Outgoing) -> Reply:
        raise SystemExit(3)

    client = colour.client(colour.transport(interrupt))
    with pytest.raises(SystemExit):
        colour.call(client, "run", flow())
    assert seen == ["closed"]


def test_a_streamed_failure_is_raised_with_its_reason() -> None:
    from trove_agents import AsyncTroveClient, TroveClient

    from .conftest import AsyncRecorder, Recorder

    call = Call("GET", ("x",), nothing, idempotent=True)
    missing = reply(404, b'{"detail": "there is no x"}')
    with TroveClient("k", transport=Recorder(lambda _: missing)) as client:
        with pytest.raises(TroveNotFoundError, match="there is no x"), client.stream(call):
            pass

    async def main() -> None:
        async with AsyncTroveClient("k", transport=AsyncRecorder(lambda _: missing)) as client:
            with pytest.raises(TroveNotFoundError, match="there is no x"):
                async with client.stream(call):
                    pass

    asyncio.run(main())
