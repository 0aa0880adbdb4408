"""Where the errors of the client become those of Pydantic AI."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic_ai.exceptions import ModelRetry, ToolFailed

from trove_agents import TroveError
from trove_agents.tools import for_model


@contextmanager
def translated() -> Iterator[None]:
    """Raises what the model can act on in a way it hears of.

    ``ModelRetry`` when other arguments would help, which counts against the tool's retries; ``ToolFailed`` when
    it should take another way or come back later. Whatever it cannot help passes and ends the run.
    """
    try:
        yield
    except TroveError as error:
        text = for_model(error)
        if text is None:
            raise
        if error.recovery == "fix-arguments":
            raise ModelRetry(text) from error
        raise ToolFailed(text) from error
