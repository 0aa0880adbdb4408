"""Where the errors of the client become those of Pydantic AI, and what stands in the way of a run."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic_ai.exceptions import ModelRetry, ToolFailed

from trove_agents import TroveError
from trove_agents.tools import for_model


class ForeignChanges(Exception):
    """The workspace was changed by others since the history that a run starts from, and ``on_foreign_change`` is
    ``"refuse"``. Nothing was done. ``paths`` are the first of those that changed.
    """

    def __init__(self, namespace: str, paths: tuple[str, ...]) -> None:
        super().__init__(namespace, paths)
        self.namespace = namespace
        self.paths = paths

    def __str__(self) -> str:
        return (
            f"others changed the workspace {self.namespace!r} since this history: {', '.join(self.paths)}. "
            'Say on_foreign_change="keep" or "restore", or start from without_references(history)'
        )


class ReferenceGone(Exception):
    """A history names a state of the workspace that is not kept any more, or is another server's."""

    def __init__(self, namespace: str, reference_id: str) -> None:
        super().__init__(namespace, reference_id)
        self.namespace = namespace
        self.reference_id = reference_id

    def __str__(self) -> str:
        return (
            f"the workspace {self.namespace!r} has no {self.reference_id!r}, which this history starts from; "
            "to take the files as they are, start from without_references(history)"
        )


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
