"""How a paid call is known again: over resumed approvals, stored histories and replays, and apart from every other call."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from pydantic_ai import RunContext
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_core import to_jsonable_python

from pydantic_ai_trove.acting import label
from trove_agents.guard import AsyncGuard, Guard, PaymentInDoubt, Receipt

_LOST = (
    "the history has lost which response decided this call, and something was paid for under its id before:"
    " whether that is this call cannot be told"
)
_FREE: Final = ("voided", "denied")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a call is known by."""

    call_id: str
    tool: str
    vendor: str | None
    arguments: dict[str, Any]
    """As JSON has them."""
    changed: dict[str, Any] | None = None
    """Those that a person gave it instead of the model's."""

    async def key(self, ctx: RunContext[Any], guard: AsyncGuard | Guard) -> str:
        """Of its payment. The same over resumed approvals, stored histories and replays of this call, and of no other call;
        with arguments that a person has changed it is another purchase.

        The response that holds the call is known by its run and its time, which are stored with it. An interface that
        rebuilds histories loses both. Then a payment of the same conversation, id and arguments is this one's, and
        where that may be another call's (models use ids again) nothing is paid.

        Raises:
            PaymentInDoubt: it cannot be told whether it was paid before.
        """
        response, _ = decided(ctx, self.call_id)
        if response is None:  # a tool made the call: it is in no message
            return self._made(ctx.run_id, ctx.run_step, self.arguments)
        if response.run_id is None:
            return await self._rebuilt(ctx, guard)
        stored = self._made(response.run_id, response.timestamp.astimezone(UTC).isoformat())
        if response.run_id == ctx.run_id:
            return stored
        rebuilt, _ = self._place(ctx)
        return rebuilt if rebuilt in await self._charged(ctx, guard) else stored

    async def _rebuilt(self, ctx: RunContext[Any], guard: AsyncGuard | Guard) -> str:
        key, uses = self._place(ctx)
        here = await self._charged(ctx, guard)
        if key in here:
            return key
        alike = await guard.aalike(tool=self.tool, vendor=self.vendor, arguments=self.arguments)
        same = [each.key for each in alike if self._is_charge(each)]
        if not same and (
            len(here) < uses or self.changed is not None
        ):  # those are of other uses, or purchases
            return key
        if len(same) == uses == 1 and same[0] in here:
            return same[0]
        raise PaymentInDoubt(key, _LOST)

    async def _charged(self, ctx: RunContext[Any], guard: AsyncGuard | Guard) -> list[str]:
        """Keys under which a call of this id was paid in the conversation, unless that certainly cost nothing."""
        made = await guard.areceipts(thread=label(ctx.conversation_id) or "")
        return [each.key for each in made if self._is_charge(each)]

    def _is_charge(self, receipt: Receipt) -> bool:
        call = None if receipt.step is None else receipt.step.call
        return call == label(self.call_id) and receipt.tool == self.tool and receipt.state not in _FREE

    def _place(self, ctx: RunContext[Any]) -> tuple[str, int]:
        """The key in a rebuilt history, and how often the model used the id in it; the last use is this one."""
        uses = sum(part.tool_call_id == self.call_id for _, part in _calls(ctx))
        return self._made("rebuilt", ctx.conversation_id, uses), uses

    def _made(self, *place: Any) -> str:
        changed = [] if self.changed is None else [self.changed]
        said = json.dumps([*place, self.call_id, self.tool, *changed], sort_keys=True)
        return f"pydantic-ai-{hashlib.sha256(said.encode()).hexdigest()}"


def decided(ctx: RunContext[Any], call_id: str) -> tuple[ModelResponse | None, ToolCallPart | None]:
    """The response in which the model decided a call, and the call as it was then."""
    for response, part in _calls(ctx):
        if part.tool_call_id == call_id:
            return response, part
    return None, None


def changed_by_a_person(ctx: RunContext[Any], call: ToolCallPart) -> dict[str, Any] | None:
    """The arguments that a call is made with, where they are not those that the model decided."""
    _, part = decided(ctx, call.tool_call_id)
    given = call.args_as_dict()
    return None if part is None or part.args_as_dict() == given else as_json(given)


def as_json(value: Any) -> Any:
    """A value as JSON has it, bytes in base64."""
    return to_jsonable_python(value, bytes_mode="base64")


def _calls(ctx: RunContext[Any]) -> Iterator[tuple[ModelResponse, ToolCallPart]]:
    """The calls of a history, the newest response first."""
    for message in reversed(ctx.messages):
        if isinstance(message, ModelResponse):
            yield from ((message, part) for part in message.parts if isinstance(part, ToolCallPart))
