"""How a call of a tool is paid for, whoever makes it: what it is known by, how it may end, and what the model is told."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Literal, Self, TypeGuard

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphInterrupt, ParentCommand
from langgraph.prebuilt.tool_node import ToolCallRequest
from pydantic import BaseModel, ValidationError

from langchain_trove.clients import thread_of
from langchain_trove.costs import Heard
from langchain_trove.kept import Reply, answered, kept, message_of, replaced
from langchain_trove.priced import Priced
from langgraph_trove import Barrier, NotDurable, inside
from langgraph_trove.asking import Question, alast_asked, last_asked
from langgraph_trove.position import Place, atask_place, task_place
from langgraph_trove.repeating import arepeat, repeat, with_files
from langgraph_trove.spending import step_of
from trove_agents import NotSupported, TroveAuthError, TroveError
from trove_agents.guard import (
    AlreadyPaid,
    ApprovalNeeded,
    AsyncGuard,
    Guard,
    Payment,
    Receipt,
    texts,
)

RECEIPT: Final = "receipt"
"""Where a message's artifact has it; in ``additional_kwargs``, if the artifact is no dict."""


class Till:
    """Pays for calls: ``WalletMiddleware`` says what its arguments are.

    Raises:
        TypeError: there is no guard, or one of the wrong kind.
    """

    def __init__(
        self,
        guard: Guard | None,
        async_guard: AsyncGuard | None,
        *,
        checkpointer: BaseCheckpointSaver[Any] | None,
        ask: Literal["interrupt", "refuse"],
        on_replay: Literal["reuse_receipt", "charge_again"],
    ) -> None:
        if (beside_a_loop := async_guard or guard) is None:
            raise TypeError("a Guard is needed, an AsyncGuard, or both")
        given: tuple[Any, Any] = (guard, async_guard)
        if not (isinstance(given[0], Guard | None) and isinstance(given[1], AsyncGuard | None)):
            raise TypeError("guard= takes a Guard, async_guard= an AsyncGuard")
        self.guard = guard
        self.async_guard = beside_a_loop
        self._barrier = Barrier(checkpointer)
        self._asks = ask == "interrupt"
        self._again = on_replay == "charge_again"

    def pay(
        self,
        request: ToolCallRequest,
        priced: Priced,
        handler: Callable[[ToolCallRequest], Reply],
        *,
        key: str | None = None,
        told: bool = True,
    ) -> Reply:
        """What the tool returns, paid for now or before, or why it was not run.

        Args:
            request: The call.
            priced: What it costs.
            handler: Makes it.
            key: What it is known by; None: what LangGraph says of it.
            told: Whether a model is told why it was not run. Else that is raised.

        Raises:
            NotDurable: the run would forget that it paid.
            LookupError: there is nothing to know the call by.
        """
        if _will_not_run(request, asynchronous=False):
            return handler(request)
        if (guard := self.guard) is None:
            raise TypeError("there is only an AsyncGuard: use ainvoke, or add a Guard")
        saver = self._barrier.wait(request.runtime)
        if key is None:
            task = task_place(saver, request.runtime) if _is_of_task(request) else None
            key = _key(request, task, again=self._again)
        call = self._call(request, priced, key, told=told)

        def attempt(*, approved: bool) -> Reply:
            paying = guard.authorize(priced.price, **call.named, approved=approved)
            with paying as payment, call.watching(payment) as seen:
                call.question.before_tool(payment)
                seen.reply = handler(request)
            return seen.answer()

        try:
            try:
                return attempt(approved=False)
            except ApprovalNeeded as needed:
                call.question.ask(needed, last_asked(saver, _config(request)))
                return attempt(approved=True)
        except TroveError as error:
            if isinstance(error, AlreadyPaid) and not call.question.over:
                with suppress(AlreadyPaid):
                    return repeat(error, call.again(error.receipt))
            return call.refused(error)

    async def apay(
        self,
        request: ToolCallRequest,
        priced: Priced,
        handler: Callable[[ToolCallRequest], Awaitable[Reply]],
        *,
        key: str | None = None,
        told: bool = True,
    ) -> Reply:
        """As ``pay``."""
        if _will_not_run(request, asynchronous=True):
            return await handler(request)
        saver = await self._barrier.await_(request.runtime)
        if key is None:
            task = await atask_place(saver, request.runtime) if _is_of_task(request) else None
            key = _key(request, task, again=self._again)
        call = self._call(request, priced, key, told=told)

        async def attempt(*, approved: bool) -> Reply:
            paying = self.async_guard.aauthorize(priced.price, **call.named, approved=approved)
            async with paying as payment:
                with call.watching(payment) as seen:
                    call.question.before_tool(payment)
                    seen.reply = await handler(request)
            return seen.answer()

        try:
            try:
                return await attempt(approved=False)
            except ApprovalNeeded as needed:
                call.question.ask(needed, await alast_asked(saver, _config(request)))
                return await attempt(approved=True)
        except TroveError as error:
            if isinstance(error, AlreadyPaid) and not call.question.over:
                with suppress(AlreadyPaid):
                    return await arepeat(error, call.again(error.receipt))
            return call.refused(error)

    def _call(self, request: ToolCallRequest, priced: Priced, key: str, *, told: bool) -> "_Call":
        return _Call(request, priced, key, asks=self._asks and _can_ask(request), told=told)


class _Call:
    """One call of a paid tool."""

    def __init__(self, request: ToolCallRequest, priced: Priced, key: str, *, asks: bool, told: bool) -> None:
        self.request, self.priced, self._told = request, priced, told
        called = request.tool_call
        self.named: dict[str, Any] = {
            "key": key,
            "tool": called["name"],
            "vendor": priced.vendor,
            "arguments": called["args"],
            "step": step_of(_config(request), called["id"], run=_info(request, "run_id")),
            "not_charged": priced.not_charged,
        }
        self.question = Question(
            _config(request),
            key,
            asks=asks,
            tool=called["name"],
            arguments=called["args"],
            vendor=priced.vendor,
            price=priced.price,
        )

    def watching(self, payment: Payment) -> "_Seen":
        return _Seen(self, payment)

    def again(self, receipt: Receipt) -> Callable[[Any], Reply]:
        """Makes what was kept the answer, which raises ``ParentCommand`` where the tool ended with it."""

        def reply(stored: Any) -> Reply:
            return self.receipted(
                answered(self.question.passed(stored), self.request.tool_call["id"]), receipt
            )

        return reply

    def refused(self, error: TroveError) -> ToolMessage:
        """What the model is told instead of a result.

        Raises:
            TroveError: it is the tool's own, or nothing that a model can do something about.
        """
        if self.question.over:
            raise error
        if not self._told or isinstance(error, TroveAuthError | NotSupported):
            raise error
        called = self.request.tool_call
        return ToolMessage(
            texts.refusal(error), name=called["name"], tool_call_id=called["id"], status="error"
        )

    def receipted(self, reply: Reply, receipt: Receipt | None) -> Reply:
        """The reply with its receipt; as it is where there is none, or no message to have it."""
        message = message_of(reply, self.request.tool_call["id"])
        if receipt is None or message is None:
            return reply
        return replaced(reply, message, _with_receipt(message, receipt.as_json()))


class _Seen:
    """What became of a tool while it was paid for."""

    def __init__(self, call: _Call, payment: Payment) -> None:
        self._call, self._payment = call, payment
        self.reply: Reply | None = None
        self._command: ParentCommand | None = None
        self._heard = Heard(call.request.tool_call["name"])

    def __enter__(self) -> Self:
        self._heard.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        self._heard.__exit__()
        if isinstance(error, GraphInterrupt):
            self._call.question.wait(self._payment)
        elif isinstance(error, ParentCommand):
            self._command = error  # the tool ended with it
            self._keep(error.args[0], raised=True)
            return True
        elif error is None:
            self._read()
        return False

    def answer(self) -> Reply:
        """The reply with its receipt."""
        if self._command is not None:
            raise self._command
        assert self.reply is not None, "it returned"
        return self._call.receipted(self.reply, self._payment.receipt)

    def _read(self) -> None:
        priced = self._call.priced
        message = message_of(self.reply, self._call.request.tool_call["id"])
        metered = self._heard.metered(priced.price)
        if message is not None and message.status == "error" and metered is None:
            if priced.reported is not None and priced.reported(message) is True:
                self._payment.void()
            else:
                self._payment.doubt(f"the tool reported an error: {message.text[:200]}")
        elif message is not None:
            self._payment.meter(metered or priced.price, message)
        self._keep(self.reply)

    def _keep(self, reply: Any, *, raised: bool = False) -> None:
        if (result := kept(reply, self._call.request.tool_call["id"], raised=raised)) is not None:
            self._payment.keep(with_files(self._call.question.noted(result)))


def _will_not_run(request: ToolCallRequest, *, asynchronous: bool) -> bool:
    """Whether the tool will say that it cannot be called so: its arguments are wrong, or it has no synchronous half. That
    costs nothing.

    Arguments are tried with what the tool itself tries them with, where those that are injected are still missing.
    """
    tool = request.tool
    if not asynchronous and _has_no_synchronous_half(tool):
        return True
    if tool is None or not _is_model(tool.args_schema):
        return False
    try:
        tool.args_schema.model_validate(request.tool_call["args"])
    except ValidationError as error:
        shown: Any = tool.tool_call_schema
        injected = tool.args_schema.model_fields.keys() - shown.model_fields.keys()
        return any(each["loc"] and each["loc"][0] not in injected for each in error.errors())
    return False


def _has_no_synchronous_half(tool: BaseTool | None) -> bool:
    return isinstance(tool, StructuredTool) and tool.func is None and type(tool)._run is StructuredTool._run  # noqa: SLF001


def _is_model(schema: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(schema, type) and issubclass(schema, BaseModel)


def _is_of_task(request: ToolCallRequest) -> bool:
    """Whether a call is known by the task that makes it: no message with an id is known to have decided it."""
    if _info(request, "task_id") is None or "langgraph_node" not in _config(request).get("metadata", {}):
        return False  # of no task, or called without its configuration
    message = _decided(request)
    return message is None or message.id is None


def _key(request: ToolCallRequest, task: Place | None, *, again: bool) -> str:
    """What stays the same over retries, crashes, interrupts and replays of this call, and of no other call.

    Ids of tool calls alone are not enough, since some providers count them from 0 in every answer; the arguments
    belong to it, since a person may edit them.
    """
    called = request.tool_call
    message = _decided(request)
    place: list[Any] = [_thread(request), task if message is None else message.id or task, called["id"]]
    if not called["id"] or not (place[0] or place[1]):
        raise LookupError(
            f"a call of {called['name']} has no key to be paid under: it needs the id of a tool call, and a thread or the "
            "message that decided it"
        )
    if again:
        place.append(_info(request, "checkpoint_id"))
    said = json.dumps([*place, called["name"], called["args"]], sort_keys=True)
    return f"langchain-{hashlib.sha256(said.encode()).hexdigest()}"


def _info(request: ToolCallRequest, name: str) -> str | None:
    info = getattr(request.runtime, "execution_info", None)
    return getattr(info, name, None)


def _config(request: ToolCallRequest) -> RunnableConfig:
    found: RunnableConfig | None = getattr(request.runtime, "config", None)
    return found or {}


def _thread(request: ToolCallRequest) -> str | None:
    thread: object = _info(request, "thread_id")
    return str(thread) if thread else thread_of(_config(request))


def _decided(request: ToolCallRequest) -> AIMessage | None:
    """The message that holds the call."""
    state = request.state
    messages: Any = state if isinstance(state, list) else None
    if messages is None:
        messages = state.get("messages", []) if isinstance(state, dict) else getattr(state, "messages", [])
    for message in reversed(messages):
        if isinstance(message, AIMessage) and any(
            call["id"] == request.tool_call["id"] for call in message.tool_calls
        ):
            return message
    return None


def _can_ask(request: ToolCallRequest) -> bool:
    """Whether a person can be asked in the run: in a graph, in a task that makes no other call, since LangGraph knows the
    answers of a task by their order alone.
    """
    if _info(request, "task_id") is None:
        return False
    message = _decided(request)
    return message is None or len(message.tool_calls) == 1 or inside.was_sent(request.runtime.config)


def _with_receipt(message: ToolMessage, receipt: dict[str, Any]) -> ToolMessage:
    if message.artifact is None or isinstance(message.artifact, dict):
        return message.model_copy(update={"artifact": {**(message.artifact or {}), RECEIPT: receipt}})
    return message.model_copy(update={"additional_kwargs": {**message.additional_kwargs, RECEIPT: receipt}})


__all__ = ["NotDurable", "Till"]
