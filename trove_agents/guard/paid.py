"""Paid functions: the guard as a decorator."""

import functools
import inspect
import threading
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, Final, Generic, ParamSpec, TypeVar, overload

from trove_agents.guard.errors import AlreadyPaid
from trove_agents.guard.evidence import Evidence
from trove_agents.guard.guard import AsyncGuard, Guard, Paid
from trove_agents.guard.money import digest
from trove_agents.guard.prices import Price
from trove_agents.wire.steps import Step

P = ParamSpec("P")
R = TypeVar("R")

_DIGITS: Final = 16


class _Scope:
    """A stretch of an agent's work, in which the n-th of the same calls is always the n-th.

    One that fails does not count: made again, it is the same payment.
    """

    def __init__(self, name: str, step: Step | None, *, approved: bool) -> None:
        self.name, self.step, self.approved = name, step, approved
        self._calls: Counter[str] = Counter()
        self._failed: defaultdict[str, list[int]] = defaultdict(list)
        self._lock = threading.Lock()

    @contextmanager
    def key(self, tool: str, arguments: Mapping[str, Any]) -> Iterator[str]:
        call = f"{tool}/{digest(arguments)[:_DIGITS]}"
        with self._lock:
            if failed := self._failed[call]:
                number = heappop(failed)
            else:
                self._calls[call] += 1
                number = self._calls[call]
        try:
            yield f"{self.name}/{call}/{number}"
        except BaseException:
            with self._lock:
                heappush(self._failed[call], number)
            raise


_SCOPE: ContextVar[_Scope | None] = ContextVar("trove_agents_payments", default=None)


@contextmanager
def paying_for(name: str, *, step: Step | None = None, approved: bool = False) -> Iterator[None]:
    """What paid functions in the block are paid for: their keys come from it.

    A repetition of the block after a crash, under the same name, makes the same payments again, which are not paid again. A
    call that failed and is made again in the block is the same payment too.

    Args:
        name: What is stable over retries and restarts, such as a run and its step. At most about 150 characters.
        step: The step of an agent's, for the wallet's events.
        approved: A person said yes to these payments, so the policy's question is answered.
    """
    token = _SCOPE.set(_Scope(name, step, approved=approved))
    try:
        yield
    finally:
        _SCOPE.reset(token)


class PaidFunction(Generic[P, R]):
    """A function that is paid for. Called, it returns what the function does; :meth:`pay` says what that did cost, too."""

    def __init__(self, function: Callable[P, R], guard: Guard, terms: "_Terms") -> None:
        functools.update_wrapper(self, function)
        self._function, self._guard, self._terms = function, guard, terms

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result, of this call or of the one before with the same key.

        Raises:
            AlreadyPaid: it was paid before, and its result not kept.
            TroveError: see :meth:`Guard.authorize`.
        """
        return _result(self.pay(*args, **kwargs))

    def pay(self, *args: P.args, **kwargs: P.kwargs) -> Paid[R]:
        """The result and the receipt."""
        call = functools.partial(self._function, *args, **kwargs)
        with self._terms.of(self._function, args, kwargs) as named:
            return self._guard.pay(call, self._terms.price, **named)


class AsyncPaidFunction(Generic[P, R]):
    """As :class:`PaidFunction`, of a coroutine function."""

    def __init__(self, function: Callable[P, Awaitable[R]], guard: AsyncGuard, terms: "_Terms") -> None:
        functools.update_wrapper(self, function)
        self._function, self._guard, self._terms = function, guard, terms

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """As :meth:`PaidFunction.__call__`."""
        return _result(await self.pay(*args, **kwargs))

    async def pay(self, *args: P.args, **kwargs: P.kwargs) -> Paid[R]:
        """The result and the receipt."""
        call = functools.partial(self._function, *args, **kwargs)
        with self._terms.of(self._function, args, kwargs) as named:
            return await self._guard.pay(call, self._terms.price, **named)


@dataclass(frozen=True, slots=True)
class _Terms:
    """How a function is paid for."""

    price: Price
    tool: str | None
    vendor: str | None
    key: Callable[[Mapping[str, Any]], str] | None
    fields: Sequence[str] | None
    not_charged: Evidence | None

    @contextmanager
    def of(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Iterator[dict[str, Any]]:
        """What the guard is told of a call, which is made within."""
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = {
            name: given
            for name, given in bound.arguments.items()
            if self.fields is None or name in self.fields
        }
        tool = self.tool or function.__name__
        scope = _SCOPE.get()
        if self.key is not None:
            keyed: AbstractContextManager[str] = nullcontext(self.key(arguments))
        elif scope is not None:
            keyed = scope.key(tool, arguments)
        else:
            raise LookupError(
                f"{tool} has no key to be paid under: call it within `paying_for`, or give it `key=`"
            )
        with keyed as key:
            yield {
                "key": key,
                "tool": tool,
                "vendor": self.vendor,
                "arguments": arguments,
                "step": scope and scope.step,
                "approved": scope is not None and scope.approved,
                "not_charged": self.not_charged,
            }


class _Decorator:
    """What :func:`paid` returns for threads."""

    def __init__(self, guard: Guard, terms: _Terms) -> None:
        self._guard, self._terms = guard, terms

    def __call__(self, function: Callable[P, R]) -> PaidFunction[P, R]:
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{function.__name__} is a coroutine function: pay for it with an AsyncGuard")
        return PaidFunction(function, self._guard, self._terms)


class _AsyncDecorator:
    """As :class:`_Decorator`, for asyncio."""

    def __init__(self, guard: AsyncGuard, terms: _Terms) -> None:
        self._guard, self._terms = guard, terms

    def __call__(self, function: Callable[P, Awaitable[R]]) -> AsyncPaidFunction[P, R]:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function.__name__} is no coroutine function: pay for it with a Guard")
        return AsyncPaidFunction(function, self._guard, self._terms)


@overload
def paid(
    price: Price,
    *,
    guard: Guard,
    tool: str | None = None,
    vendor: str | None = None,
    key: Callable[[Mapping[str, Any]], str] | None = None,
    fields: Sequence[str] | None = None,
    not_charged: Evidence | None = None,
) -> _Decorator: ...
@overload
def paid(
    price: Price,
    *,
    guard: AsyncGuard,
    tool: str | None = None,
    vendor: str | None = None,
    key: Callable[[Mapping[str, Any]], str] | None = None,
    fields: Sequence[str] | None = None,
    not_charged: Evidence | None = None,
) -> _AsyncDecorator: ...
def paid(
    price: Price,
    *,
    guard: Guard | AsyncGuard,
    tool: str | None = None,
    vendor: str | None = None,
    key: Callable[[Mapping[str, Any]], str] | None = None,
    fields: Sequence[str] | None = None,
    not_charged: Evidence | None = None,
) -> _Decorator | _AsyncDecorator:
    """Decorates a function whose calls are paid for.

    Like this::

        @paid("0.25", guard=guard, vendor="acme")
        def search(query: str) -> list[str]: ...

        with paying_for("run-1/step-4"):
            search("trove")

    Args:
        price: USD, from the arguments or metered: see ``Price``.
        guard: Who pays. An ``AsyncGuard`` for coroutine functions.
        tool: What it is called in the wallet; None: the function's name.
        vendor: Who is paid.
        key: Of a call, from its arguments; None: from ``paying_for``, the tool, the arguments and how often they were
            called so within it.
        fields: Names of the parameters that make the payment, whose arguments are JSON; None: all.
        not_charged: Which exceptions prove that nothing was charged, beside ``NotCharged``: see ``evidence``.

    Raises:
        TypeError: a function of the other kind is decorated.
        LookupError: at a call: it has no key.
    """
    terms = _Terms(price, tool, vendor, key, fields, not_charged)
    return _Decorator(guard, terms) if isinstance(guard, Guard) else _AsyncDecorator(guard, terms)


def _result(done: Paid[R]) -> R:
    if not done.kept:
        assert done.receipt is not None, "it was paid"
        raise AlreadyPaid(done.receipt, None)
    result: Any = done.result
    return result  # type: ignore[no-any-return]
