"""Which step of a run is at work here: what changes are marked with, whoever makes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from trove_agents import AsyncTroveClient, Step

_STEP: ContextVar[Step | None] = ContextVar("pydantic_ai_trove_step", default=None)


@contextmanager
def acting(step: Step) -> Iterator[None]:
    """Marks what is changed inside, in this task and in those that it starts."""
    token = _STEP.set(step)
    try:
        yield
    finally:
        _STEP.reset(token)


def marked(client: AsyncTroveClient) -> AsyncTroveClient:
    """The client, whose changes say the step that is at work now; itself where none is."""
    step = _STEP.get()
    if step is None:
        return client
    return client.with_step(thread=step.thread, run=step.run, step=step.step, call=step.call)
