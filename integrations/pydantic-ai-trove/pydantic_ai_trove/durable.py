"""Paid calls in durable runs: each is one operation of the engine's, whatever the tool is.

The hooks around a tool are code of the workflow, which a recovery runs again. A function tool may be such code too, or an
operation, and from outside nobody can tell. So the hold, the tool and the capture are one operation: once it is recorded
nothing of it runs again, and until then the guard decides by its journal.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic_ai import ToolReturn
from pydantic_ai.exceptions import (
    ApprovalRequired,
    CallDeferred,
    ModelRetry,
    ToolFailed,
    ToolFailedError,
    ToolRetryError,
    UserError,
)

from pydantic_ai_trove.till import Bought

_Run: TypeAlias = Callable[[], Awaitable[Bought]]

_CALL: ContextVar[_Run | None] = ContextVar("pydantic_ai_trove_paid_call", default=None)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a paid call came to, as the engine keeps it: failures that the model or a person hears of are data too."""

    call: str
    """The id of the call."""
    returned: ToolReturn[Any] | None = None
    receipt: dict[str, Any] | None = None
    question: dict[str, Any] | None = None
    refusal: str | None = None
    """For the model, instead."""
    retry: bool = False
    """Other arguments may help."""
    waits: Literal["approval", "external", "question"] | None = None
    """The tool itself stopped to wait for somebody."""
    metadata: dict[str, Any] | None = None
    """Of that."""

    def of(self, call: str) -> Bought:
        """The same as it was in the operation of a call.

        Raises:
            ToolFailed, ModelRetry, ApprovalRequired, CallDeferred: that was what it came to.
            UserError: it is another call's.
        """
        if self.call != call:
            raise UserError(
                f"the engine has recorded what {self.call!r} came to where {call!r} is made: the run is not the same as "
                "before; run its tools in turn"
            )
        if self.refusal is not None:
            raise (ModelRetry if self.retry else ToolFailed)(self.refusal)
        if self.waits == "approval":
            raise ApprovalRequired(metadata=self.metadata)
        if self.waits == "question":
            raise CallDeferred(self.metadata, kind="question")
        if self.waits == "external":
            raise CallDeferred(self.metadata)
        return Bought(self.returned, self.receipt, self.question)


@contextmanager
def carrying(run: _Run) -> Iterator[None]:
    """Has a call ready for the operation in the block, which cannot be given it: functions cannot be stored."""
    token = _CALL.set(run)
    try:
        yield
    finally:
        _CALL.reset(token)


def reached() -> _Run:
    """The call that the operation is for.

    Raises:
        UserError: the engine has sent the operation to another process.
    """
    if (run := _CALL.get()) is None:
        raise UserError(
            "this engine runs operations away from their workflow, where TroveWallet cannot reach the tool: "
            "let the tool itself pay, with Guard.pay"
        )
    return run


async def carry_out(call: str) -> Outcome:
    """Makes the call of an id, in the operation."""
    try:
        bought = await reached()()
    except (ModelRetry, ToolRetryError, ToolFailed, ToolFailedError) as refusal:
        return Outcome(
            call=call, refusal=str(refusal), retry=isinstance(refusal, ModelRetry | ToolRetryError)
        )
    except ApprovalRequired as needed:
        return Outcome(call=call, waits="approval", metadata=needed.metadata)
    except CallDeferred as defers:
        # Pydantic AI before 2.68 knows no questions
        asks = getattr(defers, "kind", None) == "question"
        return Outcome(call=call, waits="question" if asks else "external", metadata=defers.metadata)
    if bought.question is not None:
        return Outcome(call=call, question=bought.question)
    result = bought.result
    returned = result if isinstance(result, ToolReturn) else ToolReturn(result)
    return Outcome(call=call, returned=returned, receipt=bought.receipt)
