"""Whether a tool has returned: hooks around it may still raise what a tool raises that was not run."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.toolsets import ToolsetTool, WrapperToolset

_RETURNED: ContextVar[set[str | None] | None] = ContextVar("pydantic_ai_trove_returned", default=None)


@contextmanager
def noted() -> Iterator[set[str | None]]:
    """The ids of the calls whose tools have returned in the block."""
    calls: set[str | None] = set()
    token = _RETURNED.set(calls)
    try:
        yield calls
    finally:
        _RETURNED.reset(token)


@dataclass
class Returning(WrapperToolset[Any]):
    """Notes which calls of its tools have returned."""

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Calls the tool."""
        result = await super().call_tool(name, tool_args, ctx, tool)
        if (calls := _RETURNED.get()) is not None:
            calls.add(ctx.tool_call_id)
        return result
