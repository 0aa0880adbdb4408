"""Where the errors of the client become those of LangChain."""

from collections.abc import Iterator
from contextlib import contextmanager

from langchain_core.tools import ToolException

from trove_agents import TroveError
from trove_agents.tools import for_model


class NoThread(ValueError):
    """A run without a ``thread_id`` asked for its thread's workspace, which is never that of another."""


@contextmanager
def translated() -> Iterator[None]:
    """Raises what a model can act on as ``ToolException``, which the tool turns into a message for it. Whatever
    it cannot help, such as a revoked key or a lost connection, passes and ends the run.
    """
    try:
        yield
    except TroveError as error:
        text = for_model(error)
        if text is None:
            raise
        raise ToolException(text) from error
