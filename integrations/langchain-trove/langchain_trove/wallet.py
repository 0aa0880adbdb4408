"""Paid tools: a guard around every call that costs money, in the words of LangChain's agents."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeAlias, TypeGuard, cast

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
    messages_from_dict,
    messages_to_dict,
)
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphInterrupt, ParentCommand
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command
from pydantic import BaseModel, ValidationError

from langgraph_trove import Barrier, NotDurable
from langgraph_trove.asking import Question
from trove_agents import NotSupported, Step, TroveAuthError, TroveError
from trove_agents.guard import (
    AlreadyPaid,
    ApprovalNeeded,
    AsyncGuard,
    Evidence,
    Guard,
    Payment,
    Price,
    texts,
)

Reply: TypeAlias = ToolMessage | Command[Any]
RECEIPT: Final = "receipt"
"""Where a message's artifact has it; in ``additional_kwargs``, if the artifact is no dict."""


@dataclass(frozen=True, slots=True)
class Priced:
    """What a tool costs, and how its failures are read."""

    price: Price
    """USD: an amount, a function of the arguments, or ``Metered``, whose ``cost`` is given the ``ToolMessage``."""
    vendor: str | None = None
    """Who is paid."""
    not_charged: Evidence | None = None
    """Which exceptions prove that nothing was charged, beside ``NotCharged``."""
    reported: Callable[[ToolMessage], bool] | None = None
    """Whether a message of status ``error``, which the tool returned instead of raising, proves that nothing was charged.
    None: such a payment is in doubt."""


class WalletMiddleware(AgentMiddleware):
    """Pays for tools: the money is held before a call, captured after it, and never paid twice for one call.

    A call that the budget, a policy or a person refuses comes back to the model as a message of status ``error`` that says
    what is missing and what remains. A call whose outcome nobody knows stays in doubt and keeps its money held. The
    same call again (after a crash, an interrupt, or from an older checkpoint) is answered with the result that was paid for.

    Put it before ``ToolRetryMiddleware``, so that a call is paid once however often it is tried.

    Args:
        guard: Whose wallet pays; for asynchronous agents too, which then use it in threads.
        async_guard: For asynchronous agents.
        prices: By the tool's name, MCP tools included: a price, or ``Priced``. Other tools are free.
        checkpointer: The one that the agent is compiled with. None: the one that the run has.
        ask: What happens to a payment that needs a person's yes: ``interrupt`` stops the run with a question, to be resumed
            with True or False; ``refuse`` tells the model.
        on_replay: A call that is run again from an older checkpoint: ``reuse_receipt`` answers with what was paid for,
            ``charge_again`` runs and pays again.
        show: Tells the model the budget that is left with each request, and prices in the descriptions of the tools.

    Raises:
        TypeError: there is no guard, or one of the wrong kind.

    Raises (when a paid tool is called):
        NotDurable: the run would forget that it paid; see ``Barrier``.
    """

    def __init__(
        self,
        guard: Guard | None = None,
        *,
        async_guard: AsyncGuard | None = None,
        prices: Mapping[str, Price | Priced],
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        ask: Literal["interrupt", "refuse"] = "interrupt",
        on_replay: Literal["reuse_receipt", "charge_again"] = "reuse_receipt",
        show: bool = True,
    ) -> None:
        super().__init__()
        if (beside_a_loop := async_guard or guard) is None:
            raise TypeError("a Guard is needed, an AsyncGuard, or both")
        given: tuple[Any, Any] = (guard, async_guard)
        if isinstance(given[0], AsyncGuard) or isinstance(given[1], Guard):
            raise TypeError("guard= takes a Guard, async_guard= an AsyncGuard")
        self._guard = guard
        self._async_guard = beside_a_loop
        self._prices = {
            name: price if isinstance(price, Priced) else Priced(price) for name, price in prices.items()
        }
        self._barrier = Barrier(checkpointer)
        self._asks = ask == "interrupt"
        self._again = on_replay == "charge_again"
        self._show = show

    # Tools

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Reply]) -> Reply:
        """Pays for a call, if it costs something."""
        priced = self._prices.get(request.tool_call["name"])
        if priced is None or _invalid(request):
            return handler(request)
        if (guard := self._guard) is None:
            raise TypeError("there is only an AsyncGuard: use ainvoke, or add a Guard")
        self._barrier.wait(request.runtime)
        call = _Call(request, priced, again=self._again, asks=self._asks)

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
                call.question.ask(needed)
                return attempt(approved=True)
        except TroveError as error:
            return call.refused(error)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Reply]]
    ) -> Reply:
        """As ``wrap_tool_call``."""
        priced = self._prices.get(request.tool_call["name"])
        if priced is None or _invalid(request):
            return await handler(request)
        await self._barrier.await_(request.runtime)
        call = _Call(request, priced, again=self._again, asks=self._asks)

        async def attempt(*, approved: bool) -> Reply:
            paying = self._async_guard.aauthorize(priced.price, **call.named, approved=approved)
            async with paying as payment:
                with call.watching(payment) as seen:
                    call.question.before_tool(payment)
                    seen.reply = await handler(request)
            return seen.answer()

        try:
            try:
                return await attempt(approved=False)
            except ApprovalNeeded as needed:
                call.question.ask(needed)
                return await attempt(approved=True)
        except TroveError as error:
            return call.refused(error)

    # What the model sees

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Shows prices and what is left; nothing of it stays in the conversation."""
        if not self._show:
            return handler(request)
        line = None
        if self._guard is not None:
            with suppress(TroveError):
                line = texts.budget(self._guard.wallet.balance())
        return handler(self._shown(request, line))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """As ``wrap_model_call``."""
        if not self._show:
            return await handler(request)
        line = None
        with suppress(TroveError):
            line = texts.budget(await self._async_guard.abalance())
        return await handler(self._shown(request, line))

    def _shown(self, request: ModelRequest[Any], line: str | None) -> ModelRequest[Any]:
        tools = [self._tagged(tool) for tool in request.tools]
        messages = request.messages if line is None else [*request.messages, HumanMessage(line)]
        return request.override(tools=tools, messages=messages)

    def _tagged(self, tool: BaseTool | dict[str, Any]) -> BaseTool | dict[str, Any]:
        if not isinstance(tool, BaseTool) or (priced := self._prices.get(tool.name)) is None:
            return tool
        description = f"{tool.description} {texts.price_tag(priced.price)}".strip()
        return tool.model_copy(update={"description": description})


class _Call:
    """One call of a paid tool."""

    def __init__(self, request: ToolCallRequest, priced: Priced, *, again: bool, asks: bool) -> None:
        self.request, self.priced = request, priced
        called = request.tool_call
        self.named: dict[str, Any] = {
            "key": _key(request, again=again),
            "tool": called["name"],
            "vendor": priced.vendor,
            "arguments": called["args"],
            "step": Step(thread=_info(request, "thread_id"), run=_info(request, "run_id"), call=called["id"]),
            "not_charged": priced.not_charged,
        }
        self.question = Question(
            asks=asks, tool=called["name"], arguments=called["args"], vendor=priced.vendor, price=priced.price
        )

    def watching(self, payment: Payment) -> "_Seen":
        return _Seen(self, payment)

    def refused(self, error: TroveError) -> ToolMessage:
        """What the model is told instead of a result.

        Raises:
            TroveError: it is the tool's own, or nothing that a model can do something about.
        """
        if self.question.over:
            raise error
        if isinstance(error, AlreadyPaid):
            if error.result is not None:
                (kept,) = messages_from_dict([json.loads(error.result)])
                assert isinstance(kept, ToolMessage), "only these are kept"
                return kept.model_copy(update={"tool_call_id": self.request.tool_call["id"]})
            return self._message(texts.NOT_KEPT)
        if isinstance(error, TroveAuthError | NotSupported):
            raise error
        return self._message(texts.refusal(error))

    def _message(self, text: str) -> ToolMessage:
        called = self.request.tool_call
        return ToolMessage(text, name=called["name"], tool_call_id=called["id"], status="error")


class _Seen:
    """What became of a tool while it was paid for."""

    def __init__(self, call: _Call, payment: Payment) -> None:
        self._call, self._payment = call, payment
        self.reply: Reply | None = None
        self._command: ParentCommand | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if isinstance(error, GraphInterrupt):
            self._call.question.wait(self._payment)
            return False
        if isinstance(error, ParentCommand):
            self._command = error  # the tool ended with it
            return True
        if error is None and (message := _message_of(self.reply)) is not None:
            self._read(message)
        return False

    def answer(self) -> Reply:
        """The reply with its receipt."""
        if self._command is not None:
            raise self._command
        assert self.reply is not None, "it returned"
        if self._payment.receipt is None or (message := _message_of(self.reply)) is None:
            return self.reply
        receipted = _with_receipt(message, self._payment.receipt.as_json())
        if isinstance(self.reply, ToolMessage):
            return receipted
        update = dict(cast("dict[str, Any]", self.reply.update))
        update["messages"] = [receipted if each is message else each for each in update["messages"]]
        return Command(graph=self.reply.graph, update=update, resume=self.reply.resume, goto=self.reply.goto)

    def _read(self, message: ToolMessage) -> None:
        if message.status == "error":
            reported = self._call.priced.reported
            if reported is not None and reported(message) is True:
                self._payment.void()
            else:
                self._payment.doubt(f"the tool reported an error: {message.text[:200]}")
        else:
            self._payment.meter(self._call.priced.price, message)
        if isinstance(self.reply, ToolMessage):
            self._payment.keep(messages_to_dict([message])[0])


def _invalid(request: ToolCallRequest) -> bool:
    """Whether the tool will not run, since its arguments are wrong: then it says so, and costs nothing.

    They are tried with what the tool itself tries them with, where those that are injected are still missing.
    """
    tool = request.tool
    if tool is None or not _is_model(tool.args_schema):
        return False
    try:
        tool.args_schema.model_validate(request.tool_call["args"])
    except ValidationError as error:
        shown: Any = tool.tool_call_schema
        injected = tool.args_schema.model_fields.keys() - shown.model_fields.keys()
        return any(each["loc"] and each["loc"][0] not in injected for each in error.errors())
    return False


def _is_model(schema: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(schema, type) and issubclass(schema, BaseModel)


def _key(request: ToolCallRequest, *, again: bool) -> str:
    """What stays the same over retries, crashes, interrupts and replays of this call, and of no other call.

    Ids of tool calls alone are not enough, since some providers count them from 0 in every answer; the arguments
    belong to it, since a person may edit them.
    """
    called = request.tool_call
    place = [_info(request, "thread_id"), _message_id(request), called["id"]]
    if not called["id"] or not (place[0] or place[1]):
        raise ValueError(
            f"a call of {called['name']} has nothing to be known by: no thread and no message with an id"
        )
    if again:
        place.append(_info(request, "checkpoint_id"))
    said = json.dumps([*place, called["name"], called["args"]], sort_keys=True)
    return f"langchain-{hashlib.sha256(said.encode()).hexdigest()}"


def _info(request: ToolCallRequest, name: str) -> str | None:
    info = getattr(request.runtime, "execution_info", None)
    return getattr(info, name, None)


def _message_id(request: ToolCallRequest) -> str | None:
    """The id of the message that holds the call."""
    state = request.state
    messages: Any = state if isinstance(state, list) else None
    if messages is None:
        messages = state.get("messages", []) if isinstance(state, dict) else getattr(state, "messages", [])
    for message in reversed(messages):
        if isinstance(message, AIMessage) and any(
            call["id"] == request.tool_call["id"] for call in message.tool_calls
        ):
            return message.id
    return None


def _message_of(reply: Reply | None) -> ToolMessage | None:
    if isinstance(reply, ToolMessage):
        return reply
    update = getattr(reply, "update", None)
    messages: list[BaseMessage] = update.get("messages", []) if isinstance(update, dict) else []
    return next((each for each in messages if isinstance(each, ToolMessage)), None)


def _with_receipt(message: ToolMessage, receipt: dict[str, Any]) -> ToolMessage:
    if message.artifact is None or isinstance(message.artifact, dict):
        return message.model_copy(update={"artifact": {**(message.artifact or {}), RECEIPT: receipt}})
    return message.model_copy(update={"additional_kwargs": {**message.additional_kwargs, RECEIPT: receipt}})


__all__ = ["NotDurable", "Priced", "WalletMiddleware"]
