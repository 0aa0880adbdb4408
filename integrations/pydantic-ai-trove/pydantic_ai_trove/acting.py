"""Which step of a run is at work here: what changes are marked with, whoever makes them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from pydantic_ai import RunContext

from trove_agents import AsyncTroveClient, Step, TroveClient
from trove_agents.tools import namespace_of

C = TypeVar("C", TroveClient, AsyncTroveClient)

_STEP: ContextVar[Step | None] = ContextVar("pydantic_ai_trove_step", default=None)
_SHORT: Final = re.compile(r"[ !#-\[\]-~]{1,100}")


def step_of(ctx: RunContext[Any]) -> Step:
    """Where a run is, in texts that fit into a header: conversation, run, step, and the tool call if there is one.

    What an agent does for another one, inside a tool call, is part of that call.
    """
    return _STEP.get() or own_step_of(ctx)


def own_step_of(ctx: RunContext[Any]) -> Step:
    """As ``step_of``, of this run itself."""
    return Step(
        thread=label(ctx.conversation_id),
        run=label(ctx.run_id),
        step=str(ctx.run_step),
        call=label(ctx.tool_call_id),
    )


def label(text: str | None) -> str | None:
    """A text that stands for another: itself, unless it is long or no plain ASCII."""
    return text if not text or _SHORT.fullmatch(text) else namespace_of(text)


@contextmanager
def acting(step: Step) -> Iterator[None]:
    """Marks what is changed inside, in this task and in those that it starts."""
    token = _STEP.set(step)
    try:
        yield
    finally:
        _STEP.reset(token)


def current() -> Step | None:
    """The step that is at work; None: nothing is marked."""
    return _STEP.get()


def marked(client: C, step: Step | None) -> C:
    """A client whose changes say the step."""
    if step is None:
        return client
    return client.with_step(thread=step.thread, run=step.run, step=step.step, call=step.call)
