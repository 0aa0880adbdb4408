"""Paid tools: a guard around every call that costs money, as a capability or as a toolset."""

import hashlib
import json
import warnings
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import KW_ONLY, dataclass, field, replace
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import uuid4

from pydantic_ai import RunContext, ToolReturn
from pydantic_ai.capabilities import (
    AbstractCapability,
    CapabilityOrdering,
    ValidatedToolArgs,
    WrapModelRequestHandler,
    WrapToolExecuteHandler,
)
from pydantic_ai.exceptions import (
    ApprovalRequired,
    CallDeferred,
    ModelRetry,
    ToolFailed,
    ToolRetryError,
    UserError,
)
from pydantic_ai.messages import InstructionPart, ModelResponse, ToolCallPart
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import ToolsetTool, WrapperToolset
from pydantic_core import to_jsonable_python

from pydantic_ai_trove.events import PaymentWaits, Spent
from trove_agents import NotSupported, Step, TroveAuthError, TroveError
from trove_agents.guard import (
    AlreadyPaid,
    ApprovalNeeded,
    AsyncGuard,
    Evidence,
    Guard,
    NotCharged,
    PaymentDenied,
    Price,
    any_of,
    at_rate,
    highest_usd,
    texts,
    turned_away,
)

RECEIPT: Final = "receipt"
"""Where the metadata of a tool's return has it."""
PRICE: Final = "price_usd"
VENDOR: Final = "vendor"
APPROVED: Final = "approved_usd"
"""In the metadata of an approval: the most that it is for."""


@dataclass(frozen=True, slots=True)
class Priced:
    """What a tool costs, and how its failures are read."""

    price: Price
    """USD: an amount, a function of the arguments, or ``Metered``, whose ``cost`` is given what the tool returned."""
    vendor: str | None = None
    """Who is paid."""
    not_charged: Evidence | None = None
    """Which exceptions prove that nothing was charged, beside ``NotCharged``."""
    retry_charges: bool = False
    """Whether a tool that raises ``ModelRetry`` may have been charged: then such a payment is in doubt. In any case it is
    where the tool raises it for another exception that does not prove the contrary, and where it ran out of time, which
    the framework reports in the same way."""


Prices: TypeAlias = Mapping[str, Price | Priced] | Callable[[ToolDefinition], Price | Priced | None]
"""By the tool's name, or from its definition; None: free."""


class UnpricedModelWarning(UserWarning):
    """Nobody knows what a model costs: what it was used for is not in the wallet."""


@dataclass(frozen=True, slots=True)
class _Till:
    """Pays for calls of tools."""

    guard: AsyncGuard | Guard
    prices: Prices
    tells: bool = True
    """Of payments, in the run's events: capabilities may."""

    def priced(self, tool: ToolDefinition) -> Priced | None:
        """What a tool costs: as it was said here, or in the metadata of its definition."""
        found = self.prices(tool) if callable(self.prices) else self.prices.get(tool.name)
        metadata = tool.metadata or {}
        if found is None:
            found = metadata.get(PRICE)
        if found is None:
            return None
        return found if isinstance(found, Priced) else Priced(found, vendor=metadata.get(VENDOR))

    async def balance_line(self) -> str | None:
        """What is left, for the model; None: the wallet does not say."""
        with suppress(TroveError):
            return texts.budget(await self.guard.abalance())
        return None

    async def pay(
        self,
        ctx: RunContext[Any],
        call: "_Call",
        run: Callable[[], Awaitable[Any]],
    ) -> Any:
        """The result of a tool with its receipt.

        Raises:
            ToolFailed: it was not paid for, and why.
            ApprovalRequired: a person has to say yes first.
        """
        approved = ctx.tool_call_approved and call.covered(ctx)
        async with AsyncExitStack() as paying:
            try:
                payment = await paying.enter_async_context(
                    self.guard.aauthorize(call.priced.price, **call.named(ctx), approved=approved)
                )
            except ApprovalNeeded as needed:
                if self.tells:
                    price = call.shown_price()
                    await ctx.emit(PaymentWaits(tool=call.tool.name, reason=str(needed), price_usd=price))
                raise ApprovalRequired(metadata=call.question(needed)) from needed
            except AlreadyPaid as paid:
                return call.repeated(paid)
            except TroveError as error:
                if isinstance(error, TroveAuthError | NotSupported):
                    raise
                raise ToolFailed(texts.refusal(error)) from error
            try:
                result = await run()
            except (ApprovalRequired, CallDeferred):
                payment.wait()
                raise
            with suppress(Exception):  # what the result looks like must not put the payment in doubt
                payment.keep(to_jsonable_python(_value(result)))
            payment.meter(call.priced.price, _value(result))
        if (receipt := payment.receipt) is None:
            return result
        if self.tells:
            await ctx.emit(Spent(tool=call.tool.name, receipt=receipt.as_json()))
        return _with_receipt(result, receipt.as_json())


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of a paid tool."""

    tool: ToolDefinition
    priced: Priced
    call_id: str
    arguments: dict[str, Any]
    """As JSON has them: what the tool is run with, which a person may have changed."""

    def named(self, ctx: RunContext[Any]) -> dict[str, Any]:
        """What the guard is told."""
        evidence = [each for each in (self.priced.not_charged, self._retries) if each is not None]
        return {
            "key": _key(ctx, self),
            "tool": self.tool.name,
            "vendor": self.priced.vendor,
            "arguments": self.arguments,
            "step": Step(thread=ctx.conversation_id, run=ctx.run_id, call=self.call_id),
            "not_charged": any_of(*evidence),
        }

    def covered(self, ctx: RunContext[Any]) -> bool:
        """Whether a person's yes is for what it costs now: arguments may have been changed after the price was shown."""
        most = (ctx.tool_call_metadata or {}).get(APPROVED)
        price = self._price(self.arguments)
        if most is not None:
            return price is not None and price <= Decimal(str(most))
        _, part = _decided(ctx, self.call_id)
        if part is None:
            return False
        try:
            asked = part.args_as_dict(raise_if_invalid=True)
        except ValueError:  # no JSON: nobody was shown a price of it
            return False
        return price is not None and price == self._price(asked)

    def shown_price(self) -> str | None:
        """For people; None: it cannot be told."""
        price = self._price(self.arguments)
        return None if price is None else str(price)

    def question(self, needed: ApprovalNeeded) -> dict[str, Any]:
        """The metadata of the call that waits for a person."""
        return {
            PRICE: self.shown_price(),
            VENDOR: self.priced.vendor,
            "tool": self.tool.name,
            "arguments": self.arguments,
            "reason": str(needed),
            "approval_id": None if needed.approval is None else needed.approval.id,
        }

    def repeated(self, paid: AlreadyPaid) -> Any:
        """What was paid for before."""
        if paid.result is None:
            raise ToolFailed(texts.NOT_KEPT) from paid
        return ToolReturn(json.loads(paid.result), metadata={RECEIPT: paid.receipt.as_json()})

    def _price(self, arguments: dict[str, Any]) -> Decimal | None:
        try:
            return highest_usd(self.priced.price, arguments)
        except PaymentDenied:
            return None

    def _retries(self, error: BaseException) -> bool:
        """A ``ModelRetry`` of the tool's own: not of a timeout, or of another failure that it only passes on."""
        retry = error.__cause__ if isinstance(error, ToolRetryError) else error
        if self.priced.retry_charges or not isinstance(retry, ModelRetry):
            return False
        failed = retry.__context__
        proves = self.priced.not_charged
        return failed is None or isinstance(failed, NotCharged) or (proves is not None and proves(failed))


@dataclass
class TroveWallet(AbstractCapability[Any]):
    """Pays for the tools of an agent: the money is held before a call, captured after it, and never paid twice for one call.

    What a tool costs is said here by its name, MCP tools included, or in the metadata of its definition (``price_usd`` and
    ``vendor``). What the budget, a policy or a limit refuses comes back to the model as a failed call with the numbers. A
    payment that needs a person's yes is deferred (``DeferredToolRequests``, or a handler), with the price in its metadata; an
    approval is for that price: where changed arguments cost more, it is asked again, unless ``approved_usd`` in the
    approval's metadata covers it.

    A call is known by the response that decided it, its id and its arguments, so it is paid once also in runs that resume from a
    stored history. The receipt is in the metadata of the tool's return.
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

    def __post_init__(self) -> None:
        """Checks what would be found out too late."""
        if self.defer_loading:
            raise UserError("TroveWallet cannot be loaded on demand: until then tools would run unpaid")

    def get_ordering(self) -> CapabilityOrdering:
        """Around everything that may run a tool more than once."""
        return CapabilityOrdering(position="outermost")

    def get_instructions(self) -> list[Any]:
        """What is left."""
        return [self._left] if self.show else []

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
        paid = _Call(tool_def, priced, call.tool_call_id, to_jsonable_python(args))
        return await till.pay(ctx, paid, lambda: handler(args))

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
        if self.models is None:
            return await handler(request_context)
        # Each request is a purchase of its own, whatever it is a repetition of: so is its key
        key = f"model-{ctx.run_id}-{ctx.run_step}-{uuid4()}"
        most = Decimal(self.models)
        named: dict[str, Any] = {
            "key": key,
            "tool": "model",
            "step": Step(thread=ctx.conversation_id, run=ctx.run_id),
            "not_charged": turned_away,
            "approved": True,
        }
        async with self.guard.aauthorize(self.models, **named) as payment:
            response = await handler(request_context)
            if (cost := _cost(response)) is None:
                payment.void()
            else:
                payment.capture(min(cost, most))
        if cost is not None and cost > most:
            message = f"a request to {response.model_name} cost ${cost}, of which ${most} were held and booked: raise models="
            warnings.warn(message, UnpricedModelWarning, stacklevel=2)
        return response

    @property
    def _till(self) -> _Till:
        return _Till(self.guard, self.prices)

    async def _left(self, ctx: RunContext[Any]) -> InstructionPart | None:  # noqa: ARG002 (as it is called)
        line = await self._till.balance_line()
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
        till = _Till(self.guard, self.prices, tells=False)
        run = super().call_tool
        if (priced := till.priced(tool.tool_def)) is None:
            return await run(name, tool_args, ctx, tool)
        if ctx.tool_call_id is None:
            raise UserError(f"a call of {name} has no id to be known by")
        paid = _Call(tool.tool_def, priced, ctx.tool_call_id, to_jsonable_python(tool_args))
        return await till.pay(ctx, paid, lambda: run(name, tool_args, ctx, tool))


def _key(ctx: RunContext[Any], call: _Call) -> str:
    """What stays the same over resumed approvals, stored histories and replays of this call, and of no other call.

    The response that holds the call is known by its run and its time, which are stored with it. Where an interface has
    rebuilt the history without them there is the conversation, and for calls that are in no message the run's step.
    """
    response, _ = _decided(ctx, call.call_id)
    if response is None:
        place = [ctx.run_id, str(ctx.run_step)]
    else:
        place = [response.run_id or ctx.conversation_id, response.timestamp.isoformat()]
    said = json.dumps([*place, call.call_id, call.tool.name, call.arguments], sort_keys=True)
    return f"pydantic-ai-{hashlib.sha256(said.encode()).hexdigest()}"


def _decided(ctx: RunContext[Any], call_id: str) -> tuple[ModelResponse | None, ToolCallPart | None]:
    """The response in which the model decided a call, and the call as it was then."""
    for message in reversed(ctx.messages):
        if isinstance(message, ModelResponse):
            for part in message.parts:
                if isinstance(part, ToolCallPart) and part.tool_call_id == call_id:
                    return message, part
    return None, None


def _value(result: Any) -> Any:
    return result.return_value if isinstance(result, ToolReturn) else result


def _with_receipt(result: Any, receipt: dict[str, Any]) -> ToolReturn[Any]:
    if not isinstance(result, ToolReturn):
        return ToolReturn(result, metadata={RECEIPT: receipt})
    there = result.metadata
    if there is None or isinstance(there, dict):
        return replace(result, metadata={**(there or {}), RECEIPT: receipt})
    return result


def _cost(response: ModelResponse) -> Decimal | None:
    """What a response did cost, rounded up to a micro-dollar; None, with a warning, where nobody knows."""
    cost = getattr(response.usage, "cost", None)
    if cost is None:
        try:
            cost = response.cost().total_price
        except (AssertionError, LookupError, ValueError) as error:
            message = (
                f"{response.model_name} has no price that is known, and is not paid from the wallet: {error}"
            )
            warnings.warn(message, UnpricedModelWarning, stacklevel=2)
            return None
    return at_rate(Decimal(cost), 1)
