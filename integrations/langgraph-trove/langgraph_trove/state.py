"""The one channel that this integration writes: which state of which workspace a checkpoint goes with."""

from typing import Annotated, Final, NotRequired

from typing_extensions import TypedDict

CHANNEL: Final = "workspace"


class WorkspaceRef(TypedDict):
    """A step reference, as a checkpoint stores it: plain values that every saver can keep."""

    namespace: str
    """The workspace; a branch of the graph may have one of its own."""
    reference: str
    """The id, ``ref-...``."""
    version: int
    """The workspace's version. Versions grow, also from a workspace to its forks: of two references in one line of steps
    the greater is the later."""
    thread: str
    """Which thread took it, by ``thread_name``."""
    line: NotRequired["LinePlace"]
    """Where it stands among those of the steps beside its own, if a step took it."""
    since: NotRequired[str]
    """If a step inside another took it: the reference to what the files were before the outermost."""


class LinePlace(TypedDict):
    """Which of the references of one superstep a reference is: see ``lines``."""

    id: str
    """Of the attempt at the superstep."""
    count: int
    """How many of its steps had changed something, this one included."""
    own: dict[str, int]
    """How many of them were its task, and each task that this one is inside of, or had run inside them."""


def later(old: WorkspaceRef | None, new: WorkspaceRef | None) -> WorkspaceRef | None:
    """The later of two references: parallel tasks work one after the other, so it has what all of them did."""
    if not old or not new:
        return new or old
    if (
        new["version"] == old["version"] and "since" in new
    ):  # what a graph inside a step left may be what the step left
        return old
    return new if new["version"] >= old["version"] else old


class WorkspaceState(TypedDict, total=False):
    """What the state of a bound graph has, beside your own: ``class State(WorkspaceState, total=False): ...``.

    It is written by the nodes of this package. To set it by hand, wrap the value in LangGraph's ``Overwrite``.
    """

    workspace: Annotated[WorkspaceRef, later]
