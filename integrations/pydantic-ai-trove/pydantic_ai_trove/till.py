"""What tools cost, and how a call of one is paid for."""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, TypeAlias

from pydantic import TypeAdapter
from pydantic_ai import RunContext, ToolReturn
from pydantic_ai.exceptions import (
    ApprovalRequired,
    CallDeferred,
    ModelRetry,
    SkipToolExecution,
    ToolFailed,
    ToolRetryError,
    UserError,
)
from pydantic_ai.messages import ToolReturnContent
from pydantic_ai.tools import ToolDefinition

from pydantic_ai_trove.acting import label
from pydantic_ai_trove.keys import Identity, as_json, decided
from pydantic_ai_trove.repeating import repeat, with_files
from pydantic_ai_trove.returning import noted
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
    highest_usd,
    texts,
)

RECEIPT: Final = "receipt"
"""Where the metadata of a tool's return has it."""
MISSING: Final = "missing_files"
"""Beside it, where files that a call wrote when it was paid for could not be brought back: their paths, as far as known."""
PRICE: Final = "price_usd"
VENDOR: Final = "vendor"
REASON: Final = "reason"
APPROVED: Final = "approved_usd"
"""In the metadata of an approval: the most that it is for."""
_SHOWN: Final = "trove_shown_usd"
"""In the metadata of a response: by the ids of its calls, the prices that a person was asked for."""
_META: Final = "meta"
"""In the metadata of a tool of an MCP server: the ``_meta`` of the server's definition."""
_CONTENT: Final = TypeAdapter[Any](ToolReturnContent)
"""Reads pictures and documents as what they were."""


@dataclass(frozen=True, slots=True)
class Priced:
    """What a tool costs, and how its failures are read."""

    price: Price
    """USD: an amount, a function of the arguments, or ``Metered``, whose ``cost`` is given what the tool returned."""
    vendor: str | None = None
    """Who is paid."""
    not_charged: Evidence | None = None
    """Which exceptions prove that nothing was charged, beside ``NotCharged``."""
    retry_charges: bool | None = None
    """Whether a tool that raises ``ModelRetry`` may have been charged: then such a payment is in doubt. None: that is so of
    tools of MCP servers, whose every failure is told like that, and not of others. In any case it is in doubt where the
    tool raises it for another exception that does not prove the contrary, and where it ran out of time, which the
    framework reports in the same way."""


Prices: TypeAlias = Mapping[str, Price | Priced] | Callable[[ToolDefinition], Price | Priced | None]
"""By the tool's name, or from its definition; None: free."""


@dataclass(frozen=True, slots=True)
class Bought:
    """What a paid call came to."""

    result: Any = None
    """With its receipt."""
    receipt: dict[str, Any] | None = None
    """Of a payment that was made now."""
    question: dict[str, Any] | None = None
    """A person has to say yes first, and nothing was run: the metadata for who asks."""


@dataclass(frozen=True, slots=True)
class Till:
    """Pays for calls of tools."""

    guard: AsyncGuard | Guard
    prices: Prices

    def priced(self, tool: ToolDefinition) -> Priced | None:
        """What a tool costs: as it was said here, or in the metadata of its definition."""
        found = self.prices(tool) if callable(self.prices) else self.prices.get(tool.name)
        metadata = tool.metadata or {}
        meta = metadata.get(_META)
        by_server = meta if isinstance(meta, dict) else {}
        if found is None:
            found = metadata.get(PRICE)
        if found is None and (said := by_server.get(PRICE)) is not None:
            found = _asked_by_server(said)
        if found is None:
            return None
        if (vendor := metadata.get(VENDOR) or by_server.get(VENDOR)) is not None:
            vendor = str(vendor)
        return found if isinstance(found, Priced) else Priced(found, vendor=vendor)

    async def pay(self, ctx: RunContext[Any], call: "Call", run: Callable[[], Awaitable[Any]]) -> Bought:
        """Runs a call of a tool that costs money.

        Raises:
            ToolFailed: it was not paid for, and why.
        """
        approved = ctx.tool_call_approved and call.covered(ctx)
        async with AsyncExitStack() as paying:
            returned = paying.enter_context(noted())
            try:
                key = await call.identity.key(ctx, self.guard)
                payment = await paying.enter_async_context(
                    self.guard.aauthorize(
                        call.priced.price, key=key, **call.named(ctx, returned), approved=approved
                    )
                )
            except ApprovalNeeded as needed:
                return Bought(question=call.question(needed))
            except AlreadyPaid as paid:
                return Bought(await call.repeated(paid, ctx))
            except TroveError as error:
                if isinstance(error, TroveAuthError | NotSupported):
                    raise
                raise ToolFailed(texts.refusal(error)) from error
            try:
                result = await run()
            except (ApprovalRequired, CallDeferred):
                if call.call_id not in returned:
                    payment.wait()
                raise
            except SkipToolExecution as skipped:
                if call.call_id not in returned:
                    payment.void()
                    return Bought(skipped.result)
                result = skipped.result
            with suppress(Exception):  # what the result looks like must not put the payment in doubt
                payment.keep(with_files(ctx, call.call_id, as_json(_value(result))))
            payment.meter(call.priced.price, _value(result))
        if (receipt := payment.receipt) is None:
            return Bought(result)
        return Bought(_with_receipt(result, receipt.as_json()), receipt.as_json())


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a paid tool."""

    tool: ToolDefinition
    priced: Priced
    call_id: str
    arguments: dict[str, Any]
    """As JSON has them: what the tool is run with."""
    changed: dict[str, Any] | None = None
    """Those that a person gave it instead of the model's, where that is known."""

    @property
    def identity(self) -> Identity:
        """What it is known by."""
        return Identity(self.call_id, self.tool.name, self.priced.vendor, self.arguments, self.changed)

    def named(self, ctx: RunContext[Any], returned: Collection[str | None]) -> dict[str, Any]:
        """What the guard is told. Of a tool that has returned no exception of a hook proves that it charged nothing."""
        evidence = any_of(*(each for each in (self.priced.not_charged, self._retries) if each is not None))
        return {
            "tool": self.tool.name,
            "vendor": self.priced.vendor,
            "arguments": self.arguments,
            "step": Step(thread=label(ctx.conversation_id), run=label(ctx.run_id), call=label(self.call_id)),
            "not_charged": lambda error: self.call_id not in returned and evidence(error),
        }

    def covered(self, ctx: RunContext[Any]) -> bool:
        """Whether a person's yes is for what it costs now: arguments or prices may have changed after one was shown.

        A history that was rebuilt has lost what was shown. Then it is what the model's arguments cost.
        """
        response, part = decided(ctx, self.call_id)
        most = (ctx.tool_call_metadata or {}).get(APPROVED)
        if most is None and response is not None:
            most = (response.metadata or {}).get(_SHOWN, {}).get(self.call_id)
        price = self._price(self.arguments)
        if most is not None:
            try:
                return price is not None and price <= Decimal(str(most))
            except ArithmeticError:
                raise UserError(f"{APPROVED} of an approval is an amount of USD, not {most!r}") from None
        if part is None:
            return False
        try:
            asked = part.args_as_dict(raise_if_invalid=True)
        except ValueError:  # no JSON: nobody was shown a price of it
            return False
        return price is not None and price == self._price(asked)

    def asks(self, ctx: RunContext[Any], question: dict[str, Any]) -> ApprovalRequired:
        """What asks a person. The price that is shown is kept with the response that decided the call."""
        response, _ = decided(ctx, self.call_id)
        if response is not None:
            there = response.metadata or {}
            shown = {**there.get(_SHOWN, {}), self.call_id: question[PRICE]}
            response.metadata = {**there, _SHOWN: shown}
        return ApprovalRequired(metadata=question)

    def question(self, needed: ApprovalNeeded) -> dict[str, Any]:
        """The metadata of the call that waits for a person."""
        price = self._price(self.arguments)
        return {
            PRICE: None if price is None else str(price),
            VENDOR: self.priced.vendor,
            "tool": self.tool.name,
            "arguments": self.arguments,
            REASON: str(needed),
            "approval_id": None if needed.approval is None else needed.approval.id,
        }

    async def repeated(self, paid: AlreadyPaid, ctx: RunContext[Any]) -> Any:
        """What was paid for before. If files belong to it, the workspace has them, or the model is told that it has not."""
        if paid.result is None:
            raise ToolFailed(texts.NOT_KEPT) from paid
        metadata: dict[str, Any] = {RECEIPT: paid.receipt.as_json()}
        kept, missing = await repeat(ctx, self.call_id, json.loads(paid.result))
        value = _CONTENT.validate_json(json.dumps(kept))
        if missing is None:
            return ToolReturn(value, metadata=metadata)
        told = texts.files_missing(missing)
        return ToolReturn(value, content=told, metadata={**metadata, MISSING: list(missing)})

    def _price(self, arguments: dict[str, Any]) -> Decimal | None:
        try:
            return highest_usd(self.priced.price, arguments)
        except PaymentDenied:
            return None

    def _retries(self, error: BaseException) -> bool:
        """A ``ModelRetry`` of the tool's own: not of a timeout, or of another failure that it only passes on."""
        retry = error.__cause__ if isinstance(error, ToolRetryError) else error
        charges = self.priced.retry_charges
        if charges is None:
            charges = _META in (self.tool.metadata or {})
        if charges or not isinstance(retry, ModelRetry):
            return False
        failed = retry.__context__
        proves = self.priced.not_charged
        return failed is None or isinstance(failed, NotCharged) or (proves is not None and proves(failed))


def _asked_by_server(said: object) -> Price:
    """Servers may say anything. Where that is no amount, calls are refused, and the run goes on."""
    price = str(said)  # it may be a number
    try:
        highest_usd(price)
    except ValueError:
        return lambda _: price
    return price


def _value(result: Any) -> Any:
    return result.return_value if isinstance(result, ToolReturn) else result


def _with_receipt(result: Any, receipt: dict[str, Any]) -> ToolReturn[Any]:
    if not isinstance(result, ToolReturn):
        return ToolReturn(result, metadata={RECEIPT: receipt})
    there = result.metadata
    if there is None or isinstance(there, dict):
        return replace(result, metadata={**(there or {}), RECEIPT: receipt})
    return result
