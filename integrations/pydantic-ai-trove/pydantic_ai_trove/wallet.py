"""Paid tools: a guard around every call that costs money, as a capability or as a toolset."""

from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field, replace
from decimal import Decimal
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.capabilities import (
    AbstractCapability,
    CapabilityOrdering,
    ValidatedToolArgs,
    WrapModelRequestHandler,
    WrapToolExecuteHandler,
    durable_operation,
)
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import InstructionPart, ModelResponse, ToolCallPart
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset

from pydantic_ai_trove.acting import label
from pydantic_ai_trove.durable import Outcome, carry_out, carrying
from pydantic_ai_trove.events import PaymentWaits, Spent
from pydantic_ai_trove.keys import as_json, changed_by_a_person
from pydantic_ai_trove.requests import Requests, cost_of
from pydantic_ai_trove.returning import Returning
from pydantic_ai_trove.till import PRICE, REASON, Bought, Call, Prices, Till
from trove_agents import Step, TroveError
from trove_agents.guard import AsyncGuard, Guard, highest_usd, texts, turned_away


@dataclass
class TroveWallet(AbstractCapability[Any]):
    """Pays for the tools of an agent: the money is held before a call, captured after it, and never paid twice for one call.

    What a tool costs is said here by its name, MCP tools included, or in the metadata of its definition (``price_usd`` and
    ``vendor``). What the budget, a policy or a limit refuses comes back to the model as a failed call with the numbers. A
    payment that needs a person's yes is deferred (``DeferredToolRequests``, or a handler), with the price in its metadata; an
    approval is for that price: where changed arguments cost more, or the tool does by now, it is asked again, unless
    ``approved_usd`` in the approval's metadata covers it.

    A call is known by the response that decided it and its id, so it is paid once also in runs that resume from a stored history;
    with arguments that a person has changed it is another purchase. The receipt is in the metadata of the tool's return.
    """

    guard: AsyncGuard | Guard
    """Whose wallet pays. A ``Guard`` is used in threads."""

    prices: Prices = field(default_factory=dict)
    """What tools cost, beside what their definitions say."""

    _: KW_ONLY

    show: bool = True
    """Tell the model what is left with each request, and prices in the descriptions of the tools."""

    models: Decimal | int | str | None = None
    """USD that one request to a model may cost at most: held before it, and captured as genai-prices has it. None: models
    are not paid from the wallet."""

    id: str | None = "trove_wallet"
    """Fixed, so that durable runs find it again."""

    _requests: Requests | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Checks what would be found out too late."""
        given: Any = self.guard
        if not isinstance(given, Guard | AsyncGuard):
            raise TypeError(f"TroveWallet takes a Guard or an AsyncGuard, not {type(given).__name__}")
        if self.models is not None:
            self._requests = Requests(self.guard, highest_usd(self.models))
        if self.defer_loading:
            raise UserError("TroveWallet cannot be loaded on demand: until then tools would run unpaid")

    def get_ordering(self) -> CapabilityOrdering:
        """Around everything that may run a tool more than once."""
        return CapabilityOrdering(position="outermost")

    def get_instructions(self) -> list[Any]:
        """What is left."""
        return [self._left] if self.show else []

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        """Within all hooks, so that it is seen which tools have returned."""
        return Returning(toolset)

    async def prepare_tools(
        self,
        ctx: RunContext[Any],  # noqa: ARG002 (as it is called)
        tool_defs: list[ToolDefinition],
    ) -> list[ToolDefinition]:
        """Price tags."""
        return [self._tagged(tool) for tool in tool_defs] if self.show else tool_defs

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: ValidatedToolArgs,
        handler: WrapToolExecuteHandler,
    ) -> Any:
        """Pays for a call, if it costs something."""
        till = self._till
        if (priced := till.priced(tool_def)) is None:
            return await handler(args)
        changed = changed_by_a_person(ctx, call)
        call_paid = Call(tool_def, priced, call.tool_call_id, as_json(args), changed)

        async def run() -> Bought:
            return await till.pay(ctx, call_paid, lambda: handler(args))

        if not ctx.in_durable_context:
            return await _told(ctx, call_paid, await run())
        with carrying(run):
            outcome = await self._carry_out(call.tool_call_id)
        return await _told(ctx, call_paid, outcome.of(call.tool_call_id))

    async def wrap_model_request(
        self,
        ctx: RunContext[Any],
        *,
        request_context: ModelRequestContext,
        handler: WrapModelRequestHandler,
    ) -> ModelResponse:
        """Pays for a request to a model.

        Raises:
            BudgetExceededError: the wallet has less left than a request may cost.
        """
        if self._requests is None:
            return await handler(request_context)
        thread, run = label(ctx.conversation_id), label(ctx.run_id)
        key = await self._hold(thread, run, str(ctx.run_step))
        try:
            response = await handler(request_context)
        except Exception as error:
            await self._book(key, None, None if turned_away(error) else _said(error))
            raise
        except BaseException as error:  # the run ends here, so no engine keeps it
            await self._requests.end(key, None, _said(error))
            raise
        if response.state in ("incomplete", "interrupted"):
            await self._book(key, None, "its response was not read to its end, which says what it did cost")
        else:
            await self._book(key, cost_of(response, self._requests.most), None)
        return response

    # What reaches the wallet and the journal, once for each step of a durable run
    @durable_operation(name="pay")
    async def _carry_out(self, call: str) -> Outcome:
        return await carry_out(call)

    @durable_operation(name="balance")
    async def _balance(self) -> str | None:
        with suppress(TroveError):
            return texts.budget(await self.guard.abalance())
        return None

    @durable_operation(name="hold")
    async def _hold(self, thread: str | None, run: str | None, step: str) -> str:
        assert self._requests is not None, "requests are paid"
        return await self._requests.begin(Step(thread=thread, run=run, step=step))

    @durable_operation(name="book")
    async def _book(self, key: str, cost: Decimal | None, doubt: str | None) -> None:
        assert self._requests is not None, "requests are paid"
        await self._requests.end(key, cost, doubt)

    # Its own
    @property
    def _till(self) -> Till:
        return Till(self.guard, self.prices)

    async def _left(self, ctx: RunContext[Any]) -> InstructionPart | None:  # noqa: ARG002 (as it is called)
        line = await self._balance()
        return None if line is None else InstructionPart(line, on_change="append", name="budget")

    def _tagged(self, tool: ToolDefinition) -> ToolDefinition:
        if (priced := self._till.priced(tool)) is None:
            return tool
        return replace(tool, description=f"{tool.description or ''} {texts.price_tag(priced.price)}".strip())


@dataclass
class WalletToolset(WrapperToolset[Any]):
    """The tools of another toolset, paid for as ``TroveWallet`` does; for those who want toolsets only."""

    guard: AsyncGuard | Guard
    prices: Prices = field(default_factory=dict)

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Pays for a call, if it costs something."""
        till = Till(self.guard, self.prices)
        run = super().call_tool
        if (priced := till.priced(tool.tool_def)) is None:
            return await run(name, tool_args, ctx, tool)
        if ctx.in_durable_context:
            raise UserError("only a capability can pay once in a durable run: give the agent a TroveWallet")
        if ctx.tool_call_id is None:
            raise UserError(f"a call of {name} has no id to be known by")
        paid = Call(tool.tool_def, priced, ctx.tool_call_id, as_json(tool_args))
        bought = await till.pay(ctx, paid, lambda: run(name, tool_args, ctx, tool))
        if bought.question is not None:
            raise paid.asks(ctx, bought.question)
        return bought.result


async def _told(ctx: RunContext[Any], call: Call, bought: Bought) -> Any:
    """The result of a call, after the run's events have heard of what became of it.

    Raises:
        ApprovalRequired: a person has to say yes first.
    """
    tool = call.tool.name
    if (asks := bought.question) is not None:
        await ctx.emit(PaymentWaits(tool=tool, reason=asks[REASON], price_usd=asks[PRICE]))
        raise call.asks(ctx, asks)
    if bought.receipt is not None:
        await ctx.emit(Spent(tool=tool, receipt=bought.receipt))
    return bought.result


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]
