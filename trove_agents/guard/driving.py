"""How payments are carried out: their logic is flows, run once synchronous and once asynchronous.

A flow yields what it needs done, and is given the result or the failure; failures include a cancellation and Ctrl-C.
"""

import asyncio
import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from trove_agents.client.call import Step
from trove_agents.client.clients import AsyncWalletClient, WalletClient
from trove_agents.guard.threads import Hand, whole
from trove_agents.wire.steps import from_header

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Do(Generic[T]):
    """Something on this machine. It may wait for a disk, so it has a thread beside an event loop; once begun it ends."""

    action: Callable[[], T]


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """A call to the wallet, under an idempotency key and for a step of an agent's, where they are given."""

    call: Step[T]
    key: str | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Consult:
    """A function of the user's, which may be a coroutine function beside an event loop."""

    function: Callable[..., Any]
    argument: object


@dataclass(frozen=True, slots=True)
class Pause:
    """The last moment at which a cancellation that has come is thrown into the flow."""


GuardFlow: TypeAlias = Generator[Do[Any] | Ask[Any] | Consult | Pause, Any, T]


def do(action: Callable[[], T]) -> GuardFlow[T]:
    """The result of something on this machine."""
    done: T = yield Do(action)
    return done


def ask(call: Step[T], *, key: str | None = None, step: str | None = None) -> GuardFlow[T]:
    """The wallet's answer."""
    answer: T = yield Ask(call, key, step)
    return answer


def run(client: WalletClient, flow: GuardFlow[T]) -> T:
    """The result of a flow."""
    try:
        step = next(flow)
        while True:
            try:
                result = _done(client, step)
            except BaseException as error:  # noqa: BLE001 (the flow decides)
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value


async def arun(client: AsyncWalletClient, flow: GuardFlow[T], hand: Hand) -> T:
    """As :func:`run`. What a ``Do`` does, in the thread that it is handed to, is never cut short: a cancellation
    meanwhile comes with the next other step.
    """
    cancelled = False
    try:
        step = next(flow)
        while True:
            try:
                if isinstance(step, Do):
                    result, came = await whole(step.action, hand)
                    cancelled = cancelled or came
                elif cancelled:
                    cancelled = False
                    raise asyncio.CancelledError  # noqa: TRY301 (as if it came now)
                else:
                    result = await _adone(client, step)
            except GeneratorExit:
                flow.close()
                raise
            except BaseException as error:  # noqa: BLE001 (the flow decides)
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except Exception as end:
        if cancelled:
            raise asyncio.CancelledError from None
        if isinstance(end, StopIteration):
            value: T = end.value
            return value
        raise


def _done(client: WalletClient, step: Do[Any] | Ask[Any] | Consult | Pause) -> Any:
    match step:
        case Do(action):
            return action()
        case Ask(call):
            return _saying(client, step).run(iter(call))
        case Consult(function, argument):
            return function(argument)
        case Pause():
            return None


async def _adone(client: AsyncWalletClient, step: Ask[Any] | Consult | Pause) -> Any:
    match step:
        case Ask(call):
            return await _saying(client, step).run(iter(call))
        case Consult(function, argument):
            if inspect.iscoroutinefunction(function):
                return await function(argument)
            return await asyncio.to_thread(function, argument)
        case Pause():
            return None


AnyClient = TypeVar("AnyClient", WalletClient, AsyncWalletClient)


def _saying(client: AnyClient, asked: Ask[Any]) -> AnyClient:
    if asked.step:
        step = from_header(asked.step)
        client = client.with_step(thread=step.thread, run=step.run, step=step.step, call=step.call)
    return client if asked.key is None else client.with_idempotency_key(asked.key)
