"""A node that costs money: paid for once over retries, crashes, interrupts and replays."""

import asyncio
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Literal

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_config, get_stream_writer
from langgraph.errors import GraphInterrupt, ParentCommand
from langgraph.runtime import get_runtime

from langgraph_trove import inside
from langgraph_trove.asking import Question, alast_asked, last_asked
from langgraph_trove.barrier import Barrier
from langgraph_trove.nodes import works_in_workspace
from langgraph_trove.packing import packed, unpacked
from langgraph_trove.position import Place, atask_place, task_place
from langgraph_trove.repeating import arepeat, repeat, with_files
from langgraph_trove.spending import step_of
from trove_agents import TroveError
from trove_agents.guard import (
    AlreadyPaid,
    ApprovalNeeded,
    AsyncGuard,
    Evidence,
    Guard,
    Metered,
    Payment,
    Price,
    highest_usd,
)


class PaidNode(Runnable[Any, Any]):
    """Runs a function as a node, and pays for it: its price is held before, and captured after it.

    A node that is run again (a retry, after a crash or an interrupt, from the same checkpoint in time travel) is the same
    payment: what it wrote is written again, and the function is not run. With other arguments, or in another step of the
    thread, it is another. So put a retry policy on it, and not on a node around the graph that it is in: LangGraph takes that graph
    for another in each attempt.

    So are the files that a function of ``workspace_node`` left: what it changed is changed again. Where others have changed the
    same files since, the workspace is left alone, and the payment is refused as one that was made (``AlreadyPaid``).

    Args:
        function: From the state to an update of it, or to a ``Command``, which is kept if it is made of what JSON has, tuples and
            messages, at most 1 MB. Synchronous, or a coroutine function for graphs that are run so.
        price: USD: an amount, a function of the arguments, or ``Metered``, whose ``cost`` is given the update.
        guard: Whose wallet pays; for coroutine functions too, with waits in threads.
        async_guard: For coroutine functions.
        arguments: From the state to what the payment is for, as JSON: part of how it is known again. None: the state
            does not matter.
        tool: What it is called in the wallet; None: the function's name.
        vendor: Who is paid.
        not_charged: Which exceptions prove that nothing was charged, beside ``NotCharged``.
        refused: From the reason why it was not paid for to an update of the state: what the graph goes on with. None: the
            reason is raised.
        ask: A payment that needs a person's yes: ``interrupt`` stops the run with a question, to be resumed with True or
            False; ``refuse`` treats it as refused.
        checkpointer: The one that the graph is compiled with. None: the one that the run has.
        on_replay: From an older checkpoint ``reuse_receipt`` writes what was paid for, ``charge_again`` runs and pays again.

    Raises:
        TypeError: there is no guard that fits the function; or the price is a float, or no amount at all.
        ValueError: the price is no amount that can be paid.

    Raises (when it runs):
        NotDurable: the run would forget that it paid; see ``Barrier``.
        TroveError: see ``Guard.authorize``, unless ``refused`` is given.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        price: Price,
        *,
        guard: Guard | None = None,
        async_guard: AsyncGuard | None = None,
        arguments: Callable[[Any], Mapping[str, Any]] | None = None,
        tool: str | None = None,
        vendor: str | None = None,
        not_charged: Evidence | None = None,
        refused: Callable[[TroveError], Any] | None = None,
        ask: Literal["interrupt", "refuse"] = "interrupt",
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        on_replay: Literal["reuse_receipt", "charge_again"] = "reuse_receipt",
    ) -> None:
        self._is_async = inspect.iscoroutinefunction(function)
        beside_a_loop = async_guard or guard
        if beside_a_loop is None or (guard is None and not self._is_async):
            raise TypeError("a Guard is needed, or for a coroutine function an AsyncGuard")
        given: tuple[Any, Any] = (guard, async_guard)
        if not (isinstance(given[0], Guard | None) and isinstance(given[1], AsyncGuard | None)):
            raise TypeError("guard= takes a Guard, async_guard= an AsyncGuard")
        if not callable(most := price.most if isinstance(price, Metered) else price):
            highest_usd(most)
        self.func = function
        self._works = works_in_workspace(function)
        self._price = price
        self._guard = guard
        self._async_guard = beside_a_loop
        self._arguments = arguments
        self._tool: str = getattr(function, "__name__", "node") if tool is None else tool
        self._vendor = vendor
        self._not_charged = not_charged
        self._refused = refused
        self._asks = ask == "interrupt"
        self._barrier = Barrier(checkpointer)
        self._again = on_replay == "charge_again"

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002, ARG002 - LangChain's
        """The update, paid for now or before."""
        if self._is_async or (guard := self._guard) is None:
            raise TypeError(f"{self._tool} is a coroutine function: run the graph with ainvoke or astream")
        runtime = _runtime()
        saver = self._barrier.wait(runtime)
        named = self._named(input, runtime, task_place(saver, runtime))
        question = self._question(runtime.config, named)

        def attempt(*, approved: bool) -> Any:
            with guard.authorize(self._price, **named, approved=approved) as payment:
                try:
                    question.before_tool(payment)
                    update = self.func(input)
                except GraphInterrupt:
                    question.wait(payment)
                    raise
                except ParentCommand as sent:
                    if (update := inside.sent_here(sent, runtime.config)) is None:
                        raise
                self._keep(payment, update, question)
            return self._told(payment, update)

        try:
            try:
                return attempt(approved=False)
            except ApprovalNeeded as needed:
                self._tell_of(question, needed)
                question.ask(needed, last_asked(saver, runtime.config))
                return attempt(approved=True)
        except TroveError as error:
            if question.over:
                raise  # the function's own
            if isinstance(error, AlreadyPaid):
                with suppress(AlreadyPaid):
                    return repeat(error, lambda kept: unpacked(question.passed(kept)))
            return self._instead(error)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002, ARG002 - as above
        """As ``invoke``."""
        runtime = _runtime()
        saver = await self._barrier.await_(runtime)
        named = self._named(input, runtime, await atask_place(saver, runtime))
        question = self._question(runtime.config, named)

        async def attempt(*, approved: bool) -> Any:
            async with self._async_guard.aauthorize(self._price, **named, approved=approved) as payment:
                try:
                    question.before_tool(payment)
                    if self._is_async:
                        update = await self.func(input)
                    else:
                        update = await asyncio.to_thread(self.func, input)
                except GraphInterrupt:
                    question.wait(payment)
                    raise
                except ParentCommand as sent:
                    if (update := inside.sent_here(sent, runtime.config)) is None:
                        raise
                self._keep(payment, update, question)
            return self._told(payment, update)

        try:
            try:
                return await attempt(approved=False)
            except ApprovalNeeded as needed:
                self._tell_of(question, needed)
                question.ask(needed, await alast_asked(saver, runtime.config))
                return await attempt(approved=True)
        except TroveError as error:
            if question.over:
                raise
            if isinstance(error, AlreadyPaid):
                with suppress(AlreadyPaid):
                    return await arepeat(error, lambda kept: unpacked(question.passed(kept)))
            return self._instead(error)

    def _named(self, state: Any, runtime: "_Here", there: Place) -> dict[str, Any]:
        arguments = None if self._arguments is None else dict(self._arguments(state))
        known = [*there, arguments]
        if self._again:
            known.append(runtime.execution_info.checkpoint_id)
        digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
        return {
            "key": f"langgraph-{digest}",
            "tool": self._tool,
            "vendor": self._vendor,
            "arguments": arguments,
            "step": step_of(runtime.config, self._tool),
            "not_charged": self._not_charged,
        }

    def _keep(self, payment: Payment, update: Any, question: Question) -> None:
        with suppress(ValueError):  # it would not be written again as it was
            kept = question.noted(packed(update))
            payment.keep(with_files(kept) if self._works else kept)
        payment.meter(self._price, update)

    def _told(self, payment: Payment, update: Any) -> Any:
        if payment.receipt is not None:
            get_stream_writer()({"type": "spent", "receipt": payment.receipt.as_json()})
        return update

    def _question(self, config: RunnableConfig, named: Mapping[str, Any]) -> Question:
        return Question(
            config,
            named["key"],
            asks=self._asks,
            tool=self._tool,
            arguments=named["arguments"],
            vendor=self._vendor,
            price=self._price,
        )

    def _tell_of(self, question: Question, needed: ApprovalNeeded) -> None:
        if question.asks and not question.over:
            get_stream_writer()({**question.said(needed), "type": "waiting for approval"})

    def _instead(self, error: TroveError) -> Any:
        if self._refused is None:
            raise error
        return self._refused(error)


class _Here:
    """What the barrier looks at, in a node."""

    def __init__(self, config: RunnableConfig, execution_info: Any) -> None:
        self.config, self.execution_info = config, execution_info


def _runtime() -> _Here:
    return _Here(get_config(), get_runtime().execution_info)
