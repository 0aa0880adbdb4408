"""How a paid call is known again: over resumed approvals, stored histories and replays, and apart from every other call."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.messages import ModelResponse, ToolCallPart

from pydantic_ai_trove.acting import label
from trove_agents.guard import AsyncGuard, Guard, PaymentInDoubt, Receipt

_LOST = (
    "the history has lost which response decided this call, and the same was paid for under its id before:"
    " whether this is that call cannot be told"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a call is known by."""

    call_id: str
    tool: str
    vendor: str | None
    arguments: dict[str, Any]
    """As JSON has them."""

    async def key(self, ctx: RunContext[Any], guard: AsyncGuard | Guard) -> str:
        """Of its payment. The same over resumed approvals, stored histories and replays of this call, and of no other call.

        The response that holds the call is known by its run and its time, which are stored with it. An interface that
        rebuilds histories loses both. Then a payment of the same conversation, id and arguments is this one's, and
        where that may be another call's (models use ids again) nothing is paid.

        Raises:
            PaymentInDoubt: it cannot be told whether it was paid before.
        """
        response, _ = decided(ctx, self.call_id)
        if response is None:  # a tool made the call: it is in no message
            return self._made("", ctx.run_id, ctx.run_step)
        if response.run_id is not None and response.run_id == ctx.run_id:
            return self._stored(response)
        return await self._resumed(ctx, guard, response)

    async def _resumed(self, ctx: RunContext[Any], guard: AsyncGuard | Guard, response: ModelResponse) -> str:
        same = {each.key: each.step for each in await self._charged(guard)}
        uses = self._uses(ctx)
        rebuilt = self._made("rebuilt-", ctx.conversation_id, uses)
        if response.run_id is not None:
            stored = self._stored(response)
            return rebuilt if rebuilt in same and stored not in same else stored
        if not same or rebuilt in same:
            return rebuilt
        here = [key for key, step in same.items() if step and step.thread == label(ctx.conversation_id)]
        if len(same) == len(here) == uses == 1:
            return here[0]
        raise PaymentInDoubt(rebuilt, _LOST)

    async def _charged(self, guard: AsyncGuard | Guard) -> list[Receipt]:
        """Payments for the same under the same id, of which it is not known that they cost nothing."""
        made = await guard.aalike(tool=self.tool, vendor=self.vendor, arguments=self.arguments)
        call = label(self.call_id)
        return [
            each
            for each in made
            if each.step is not None and each.step.call == call and each.state not in ("voided", "denied")
        ]

    def _uses(self, ctx: RunContext[Any]) -> int:
        """How often the model decided the same under this id; the last one is this one."""
        _, last = decided(ctx, self.call_id)
        assert last is not None, "it is in a response"
        said = (last.tool_name, last.args_as_dict())
        return sum(
            part.tool_call_id == self.call_id and (part.tool_name, part.args_as_dict()) == said
            for _, part in _calls(ctx)
        )

    def _stored(self, response: ModelResponse) -> str:
        return self._made("", response.run_id, response.timestamp.isoformat())

    def _made(self, kind: str, *place: str | int | None) -> str:
        said = json.dumps([*place, self.call_id, self.tool, self.arguments], sort_keys=True)
        return f"pydantic-ai-{kind}{hashlib.sha256(said.encode()).hexdigest()}"


def decided(ctx: RunContext[Any], call_id: str) -> tuple[ModelResponse | None, ToolCallPart | None]:
    """The response in which the model decided a call, and the call as it was then."""
    for response, part in _calls(ctx):
        if part.tool_call_id == call_id:
            return response, part
    return None, None


def _calls(ctx: RunContext[Any]) -> Iterator[tuple[ModelResponse, ToolCallPart]]:
    """The calls of a history, the newest response first."""
    for message in reversed(ctx.messages):
        if isinstance(message, ModelResponse):
            yield from ((message, part) for part in message.parts if isinstance(part, ToolCallPart))
