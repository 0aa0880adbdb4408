"""What was paid for is not done again: the call's result is given once more, and so are the files that it wrote.

The wallet keeps with a result where in the workspace's history the changes of the call stand. All that it knows of the workspace is
``Files``, which ``TroveWorkspace`` is. In durable runs all of it is part of the operation that pays.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol, TypedDict, runtime_checkable

from pydantic_ai import RunContext

from trove_agents import AsyncTroveClient, Step, TroveNotFoundError
from trove_agents.guard import again

_FILES: Final = "__trove_files"
_KEPT: Final = "kept"


class Mark(TypedDict):
    """What tells the changes of a call from all others, as JSON."""

    namespace: str
    since: int
    """They are of later versions."""
    step: dict[str, str | None]


@runtime_checkable
class Files(Protocol):
    """The workspace of a run, as the wallet needs it."""

    def mark(self, ctx: RunContext[Any], call: str) -> Mark | None:
        """Of a call that has just been made, by its id; None: what it changed cannot be told."""

    async def write_again(self, ctx: RunContext[Any], call: str, mark: Mark) -> Sequence[str] | None:
        """Lets a call that is not made again change what it changed before; as ``made_again``."""


def with_files(ctx: RunContext[Any], call: str, kept: Any) -> Any:
    """What is kept of a call's result, as JSON, with the mark of the files that it may have changed."""
    files = _files(ctx)
    mark = None if files is None else files.mark(ctx, call)
    return kept if mark is None else {_FILES: mark, _KEPT: kept}


async def repeat(ctx: RunContext[Any], call: str, kept: Any) -> tuple[Any, Sequence[str] | None]:
    """The result of a call that was made before, and which of its files are missing, as ``made_again``."""
    if not isinstance(kept, dict) or _FILES not in kept:
        return kept, None
    files = _files(ctx)
    missing = () if files is None else await files.write_again(ctx, call, kept[_FILES])
    return kept[_KEPT], missing


async def made_again(there: AsyncTroveClient, here: AsyncTroveClient, mark: Mark) -> Sequence[str] | None:
    """Makes the changes of a call once more.

    None: the files are as the call left them. Else the paths of those that are not, left alone; empty, where it is not
    known any more which these are.

    Args:
        there: Where the call was made.
        here: Where the run works, with changes marked as it marks them.
        mark: Of the call.
    """
    try:
        spans = await there.run(again.spans_of(Step(**mark["step"]), mark["since"]))
        if spans is None:
            return ()
        if len(spans) == 1 and there.namespace == here.namespace and await here.run(again.at_once(spans[0])):
            return None
        changes = await there.run(again.changes(spans))
    except TroveNotFoundError:
        return ()
    return await here.run(again.make(changes)) or None


def _files(ctx: RunContext[Any]) -> Files | None:
    return next((each for each in ctx.capabilities.values() if isinstance(each, Files)), None)
