"""Paid tools in agents: a guard around every call that costs money."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Literal

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.prebuilt.tool_node import ToolCallRequest

from langchain_trove.kept import Reply
from langchain_trove.paid_tool import PaidTool
from langchain_trove.paying import Till
from langchain_trove.priced import Priced, of_itself, priced
from trove_agents import TroveError
from trove_agents.guard import AsyncGuard, Guard, Price, texts


class WalletMiddleware(AgentMiddleware):
    """Pays for tools: the money is held before a call, captured after it, and never paid twice for one call.

    A call that the budget, a policy or a person refuses comes back to the model as a message of status ``error`` that says
    what is missing and what remains. A call whose outcome nobody knows stays in doubt and keeps its money held. The
    same call again (after a crash, an interrupt, or from an older checkpoint) is answered with the result that was paid for,
    and the files that it left in a workspace are there again; where others changed the same ones, the model is told.

    Put it before ``ToolRetryMiddleware``, so that a call is paid once however often it is tried. How the last attempt failed
    then says whether it was charged: so retry on nothing but what proves that it was not. What corrects the arguments of a call
    goes before it: a call that its tool would turn down is not paid for.

    Args:
        guard: Whose wallet pays; for asynchronous agents too, which then use it in threads.
        async_guard: For asynchronous agents.
        prices: By the tool's name, MCP tools included: a price, or ``Priced``. Other tools cost what they say themselves, as
            ``price_usd`` and ``vendor`` in their metadata or in the ``_meta`` of an MCP tool, or nothing.
        checkpointer: The one that the agent is compiled with. None: the one that the run has.
        ask: What happens to a payment that needs a person's yes: ``interrupt`` stops the run with a question, to be resumed
            with True or False; ``refuse`` tells the model.
        on_replay: A call that is run again from an older checkpoint: ``reuse_receipt`` answers with what was paid for,
            ``charge_again`` runs and pays again.
        show: Tells the model the budget that is left with each request, and prices in the descriptions of the tools.

    Raises:
        TypeError: there is no guard, or one of the wrong kind; or a price is a float.
        ValueError: a price is no amount.

    Raises (when a paid tool is called):
        NotDurable: the run would forget that it paid; see ``Barrier``.
    """

    def __init__(
        self,
        guard: Guard | None = None,
        *,
        async_guard: AsyncGuard | None = None,
        prices: Mapping[str, Price | Priced] | None = None,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        ask: Literal["interrupt", "refuse"] = "interrupt",
        on_replay: Literal["reuse_receipt", "charge_again"] = "reuse_receipt",
        show: bool = True,
    ) -> None:
        super().__init__()
        self._till = Till(guard, async_guard, checkpointer=checkpointer, ask=ask, on_replay=on_replay)
        self._prices = {name: priced(price) for name, price in (prices or {}).items()}
        self._show = show

    # Tools

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Reply]) -> Reply:
        """Pays for a call, if it costs something."""
        if (terms := self._terms(request.tool, request.tool_call["name"])) is None:
            return handler(request)
        return self._till.pay(request, terms, handler)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Reply]]
    ) -> Reply:
        """As ``wrap_tool_call``."""
        if (terms := self._terms(request.tool, request.tool_call["name"])) is None:
            return await handler(request)
        return await self._till.apay(request, terms, handler)

    # What the model sees

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Shows prices and what is left; nothing of it stays in the conversation."""
        if not self._show:
            return handler(request)
        line = None
        if (guard := self._till.guard) is not None:
            with suppress(TroveError):
                line = texts.budget(guard.wallet.balance())
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
            line = texts.budget(await self._till.async_guard.abalance())
        return await handler(self._shown(request, line))

    def _shown(self, request: ModelRequest[Any], line: str | None) -> ModelRequest[Any]:
        tools = [self._tagged(tool) for tool in request.tools]
        messages = request.messages if line is None else [*request.messages, HumanMessage(line)]
        return request.override(tools=tools, messages=messages)

    def _tagged(self, tool: BaseTool | dict[str, Any]) -> BaseTool | dict[str, Any]:
        if not isinstance(tool, BaseTool) or (terms := self._terms(tool, tool.name)) is None:
            return tool
        description = f"{tool.description} {texts.price_tag(terms.price)}".strip()
        return tool.model_copy(update={"description": description})

    def _terms(self, tool: BaseTool | None, name: str) -> Priced | None:
        """What calls of a tool cost; None: nothing, or the tool pays for itself."""
        if isinstance(tool, PaidTool):
            return None
        if name in self._prices or tool is None:
            return self._prices.get(name)
        return of_itself(tool)
