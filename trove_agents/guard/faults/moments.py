"""Moments: the places in the life of a program where something can go wrong, and the plan that says where it does.

A plan is a sequence of faults. Each waits for its own n-th fitting moment, counted from where the one before it
struck, so that every pair of moments has a plan and the same plan always strikes at the same ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeGuard, get_args

Outside: TypeAlias = Literal["restart", "ahead", "back", "arrives"]
"""What happens to a server: it is started anew, its clock jumps two hours ahead or back, a request that was late
reaches it."""
Rival: TypeAlias = Literal["rival-recovers", "rival-pays", "stranger-pays"]
"""What another process does meanwhile: at the same place it recovers, or makes the same payment; or it does so at a
place of its own, which has nothing in common with this one but the budget."""
OfMessage: TypeAlias = Literal["unsent", "lost", "twice", "late", "busy", "garbled"]
"""What happens to a request: it does not reach the server; the answer is lost; it is delivered twice; it reaches the
server later, and the sender gets a timeout; 503 instead of an answer, with nothing done; 502, with all done."""
End: TypeAlias = Literal["crash", "power-fails"]
"""How a process ends in the middle: alone, or with the machine, which takes what was not synced to the disk."""
What: TypeAlias = End | Outside | Rival | OfMessage

ALL: Final[frozenset[What]] = frozenset(
    what for kind in (End, Outside, Rival, OfMessage) for what in get_args(kind)
)
ENDS: Final[tuple[End, ...]] = get_args(End)
OF_MESSAGE: Final[tuple[OfMessage, ...]] = get_args(OfMessage)


class Crash(BaseException):
    """The process is gone. Nothing that it still does has an effect: every later moment raises it too."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong."""

    what: What
    at: int = 1
    """The n-th moment that fits, counted from where the fault before it in the plan struck."""


class Moments:
    """The moments of one life, which is a process from its start to its end.

    Args:
        plan: What goes wrong, in this order.
        happens: Makes a fault happen that is none of a message; where a process ends, it raises ``Crash`` or does not
            return.
    """

    def __init__(self, plan: Sequence[Fault] = (), happens: "Callable[[What], None] | None" = None) -> None:
        self._plan = list(plan)
        self._happens = happens or _only_crashes
        self._counted = 0
        self.dead = False
        self.unsynced: list[Callable[[], object]] = []
        """Undo what a failure of the power takes away, oldest first."""
        self.struck: list[tuple[Fault, str]] = []
        """What went wrong, and the names of the moments."""

    def reached(self, name: str) -> None:
        """A moment between two steps of the program.

        Raises:
            Crash: the process ends here, or has ended.
        """
        if self.dead:
            raise Crash(name)
        if self._plan and not _of_message(self._plan[0].what) and (fault := self._due(name)) is not None:
            self.dead = fault.what in ENDS
            if fault.what == "power-fails":
                for undo in reversed(self.unsynced):
                    undo()
            self._happens(fault.what)

    def message(self, name: str) -> OfMessage | None:
        """What happens to a request that is on its way now."""
        if not (self._plan and _of_message(what := self._plan[0].what)):
            return None
        return None if self._due(name) is None else what

    def _due(self, name: str) -> Fault | None:
        self._counted += 1
        if self._counted < self._plan[0].at:
            return None
        self._counted = 0
        fault = self._plan.pop(0)
        self.struck.append((fault, name))
        return fault


def _of_message(what: What) -> TypeGuard[OfMessage]:
    return what in OF_MESSAGE


def _only_crashes(what: What) -> None:
    if what in ENDS:
        raise Crash
    raise ValueError(f"nobody makes {what!r} happen here")
