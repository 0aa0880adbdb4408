"""Before a run's first step the workspace is brought to where the run starts from.

Where somebody else changed it meanwhile, their changes are kept for a new turn, and otherwise moved out of the way into
a reference.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Final, NamedTuple, TypeVar

from langgraph_trove.errors import ForeignChange, NoReference, UnknownReference, WorkspaceTaken
from langgraph_trove.flows import Ask, Clients, Flow, Take
from langgraph_trove.runs import KEPT, MARK, Binding, named, new_run, ours, reference, written
from langgraph_trove.starts import Start
from langgraph_trove.state import WorkspaceRef
from trove_agents import Difference, HistoryEntry, StepReference, TroveConflictError, TroveNotFoundError

T = TypeVar("T")
ALIGN: Final = "align"
"""The ``step`` of what is done here."""
_SHOWN: Final = 100
"""Paths in a refusal."""
_NAME: Final = 90
"""Characters of a workspace's name that begin the names of its forks."""


class Place(NamedTuple):
    """Where a run works."""

    clients: Clients
    ref: WorkspaceRef | None
    """The state that it starts from; None: the workspace as it is, for a thread that is new to it."""
    new: bool
    """Whether the checkpoint that the run starts from does not say so yet."""
    notice: str | None = None
    """What its user should know."""


class Alignment:
    """What is to be done before one run.

    Args:
        keep_both: Whether the run gets a fork, so that what the workspace holds now stays where it is.
    """

    def __init__(self, binding: Binding, thread: str, start: Start, *, keep_both: bool) -> None:
        self._binding = binding
        self._thread = thread
        self._mark = {"thread": thread, "run": new_run(), "step": ALIGN}
        self._start = start
        self._keep_both = keep_both

    def place(self) -> Flow[Place]:
        """Finds the workspace, or forks it: for a branch that is to be kept, or for another thread's checkpoint.

        Raises:
            NoReference: the run goes on from a checkpoint without a reference.
            UnknownReference: the reference is not there.
        """
        ref = self._start.ref
        if ref is None:
            if self._start.known and not self._start.fresh:
                raise NoReference(
                    "the run would go on from a checkpoint that says nothing of the workspace: it was made before the"
                    " graph was bound. Go on with new input, which takes the workspace as it is"
                )
            return Place(self._in(self._binding.clients.namespace), None, new=True)
        if ref["thread"] != self._thread:
            return (yield from self._fork(self._in(ref["namespace"]), ref, ref["reference"]))
        if self._keep_both:
            return (yield from self._fork(self._in(ref["namespace"]), ref, secrets.token_hex(8)))
        return Place(self._in(ref["namespace"]), ref, new=False)

    def is_there(self, place: Place) -> Flow[bool]:
        """Whether nothing is to be done: the usual case, found out with one call."""
        if place.ref is None:
            return False
        ref = place.ref
        walked = yield from _known(_walk(place.clients, _changes), ref)
        if not walked or not _changes(walked[-1]):
            return True
        return walked[-1].version <= ref["version"] or self._set(walked[-1], ref["reference"])

    def settle(self, place: Place) -> Flow[Place]:
        """Brings the workspace to where the run starts from. To be called under the lease; asks the saver nothing.

        Raises:
            UnknownReference: the reference is not there.
            WorkspaceTaken: the thread is new, and another works here.
            ForeignChange: somebody else changed the workspace, and that is to be refused.
        """
        if place.ref is None:
            adopted = yield from self._adopt(place.clients)
            if adopted.clients is not place.clients:
                return adopted
            place = adopted
        assert place.ref is not None
        return (yield from _known(self._settle(place, place.ref), place.ref))

    def _adopt(self, clients: Clients) -> Flow[Place]:
        """A thread that is new to the workspace takes it as it is, unless it is another's."""
        first = yield from self._first(clients)
        if first is not None:  # an earlier run of the thread ended before anything was stored
            return Place(clients, first, new=True)
        found = yield Take(clients, lambda client: client.references(), self._is_others)
        if found and self._is_others(found[-1]):
            if self._binding.on_taken == "refuse":
                raise WorkspaceTaken(
                    f"thread '{found[-1].thread}' works in the workspace '{clients.namespace}': give this one another,"
                    ' or bind with on_taken="fork"',
                    found[-1].thread or "",
                )
            return (yield from self._fork(clients, None, ""))
        return Place(clients, (yield from reference(clients, self._thread)), new=True)

    def _settle(self, place: Place, ref: WorkspaceRef) -> Flow[Place]:
        clients = place.clients
        turn = self._start.fresh and self._start.latest
        floor = ref["version"] if turn else max(ref["version"], (yield from self._newest(clients)))
        walked = yield from _walk(clients, lambda entry: entry.version <= floor or self._set(entry))
        end = walked[-1].version
        since = [entry for entry in walked[:-1] if _changes(entry)]
        foreign = [entry for entry in since if not ours(entry, self._thread)]
        kept = None
        if foreign:
            top = list(takewhile(lambda entry: not ours(entry, self._thread), since))
            below = end if len(top) == len(since) else since[len(top)].version
            as_left = turn and (
                below <= ref["version"]
                or not (yield Ask(clients, lambda client: client.diff(ref["reference"], below)))
            )
            changes = yield Ask(clients, lambda client: client.diff(below if as_left else end))
            if changes and self._binding.on_foreign_change == "refuse":
                raise _foreign(clients.namespace, changes)
            if changes and as_left and self._binding.on_foreign_change == "keep":
                return Place(clients, (yield from reference(clients, self._thread)), new=True)
            if changes:
                kept = yield from reference(clients, self._thread, KEPT)
        # The next run sees by the mark that it was to this one
        marked = clients.in_step(call=ref["reference"])
        yield Ask(marked, lambda client: client.restore_to(ref["reference"]))
        return place._replace(notice=None if kept is None else _notice(kept, changes))

    def _fork(self, clients: Clients, ref: WorkspaceRef | None, salt: str) -> Flow[Place]:
        """A workspace of the thread's own, as this one is in a state or now. An earlier run may have made it."""
        name = fork_name(self._binding.clients.namespace, self._thread, salt)
        at = None if ref is None else ref["reference"]
        fork = self._in(name)
        try:
            yield Ask(clients, lambda client: client.fork(name, at))
        except TroveNotFoundError as error:
            if ref is None:
                raise
            raise _unknown(ref, error) from error
        except TroveConflictError:
            first = yield from self._first(fork)
            if first is not None:
                return Place(fork, first, new=True)
        return Place(fork, (yield from reference(fork, self._thread)), new=True)

    def _in(self, namespace: str) -> Clients:
        """Clients of a workspace, whose changes are marked with this run."""
        return self._binding.clients.elsewhere(namespace).in_step(**self._mark)

    def _first(self, clients: Clients) -> Flow[WorkspaceRef | None]:
        """What the workspace was when the thread came to it."""
        found = yield Take(clients, lambda client: client.references(thread=self._thread), lambda _: False)
        mine = [each for each in found if each.step == MARK]
        return written(mine[-1]) if mine else None

    def _newest(self, clients: Clients) -> Flow[int]:
        """The version of the thread's newest reference."""
        found = yield Take(
            clients, lambda client: client.references(thread=self._thread), lambda each: each.step == MARK
        )
        return found[-1].version if found else 0

    def _is_others(self, found: StepReference) -> bool:
        return found.step == MARK and found.thread != self._thread

    def _set(self, entry: HistoryEntry, reference_id: str | None = None) -> bool:
        """Whether the workspace was set to a state on purpose, or to that of one reference: what lies before was dealt with
        then.
        """
        return (
            entry.kind == "restore"
            and ours(entry, self._thread)
            and entry.step is not None
            and entry.step.step == ALIGN
            and (reference_id is None or entry.step.call == reference_id)
        )


def _changes(entry: HistoryEntry) -> bool:
    return entry.kind != "snapshot"


def fork_name(namespace: str, thread: str, salt: str) -> str:
    """The name of a thread's fork of a workspace: the same at the next try."""
    return f"{namespace[:_NAME]}-{_digest(thread)[:12]}-{_digest(salt)[:8]}"


def is_fork_of(namespace: str, thread: str) -> bool:
    """Whether a workspace was made as a fork for a thread."""
    return re.fullmatch(rf".+-{_digest(thread)[:12]}-[0-9a-f]{{8}}", namespace) is not None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _walk(clients: Clients, last: Callable[[HistoryEntry], bool]) -> Flow[list[HistoryEntry]]:
    """What happened in the workspace, newest first, back to the first that is the ``last``."""
    walked: list[HistoryEntry] = yield Take(clients, lambda client: client.history(), last)
    return walked


def _known(flow: Flow[T], ref: WorkspaceRef) -> Flow[T]:
    """What a flow comes to that needs a reference."""
    try:
        return (yield from flow)
    except TroveNotFoundError as error:
        raise _unknown(ref, error) from error


def _unknown(ref: WorkspaceRef, error: TroveNotFoundError) -> UnknownReference:
    return UnknownReference(
        f"the checkpoint goes with '{ref['reference']}' of the workspace '{ref['namespace']}', which is not there: {error}"
    )


def _foreign(namespace: str, changes: Sequence[Difference]) -> ForeignChange:
    paths = [each.path for each in changes[:_SHOWN]]
    return ForeignChange(
        f"the workspace '{namespace}' was changed since the graph's last step: {named(changes)}", paths
    )


def _notice(kept: WorkspaceRef, changes: Sequence[Difference]) -> str:
    return (
        f"the workspace '{kept['namespace']}' was changed by others and goes back to where the run starts from;"
        f" '{kept['reference']}' has what it was: {named(changes)}"
    )
