"""What is tried: anything that makes payments from a budget and keeps books about them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from trove_agents.guard.faults.moments import Moments, Outside, What


class Declined(Exception):
    """Raised by a tool: the vendor has refused, and charged nothing for certain. For a subject that has a word of its
    own for this the adapter translates it; for others it is an exception as any.
    """


@dataclass(frozen=True, slots=True)
class Books:
    """What a subject's ledger says of a budget, in USD."""

    spent: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    """Kept for payments that are under way."""
    in_doubt: Decimal = Decimal(0)
    """Kept for payments of which nobody knows how they ended."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one case happens: what outlives its processes."""

    name: str
    """No other case of a bench has it."""
    folder: Path
    """For what a subject keeps on the disk."""
    budget_usd: Decimal
    resends: bool = False
    """Whether a client over a network, if there is one, sends again by itself what got lost."""


class Subject(Protocol):
    """One process that makes payments. It ends by ``close``, or by a crash without it."""

    def pay(self, tool: Callable[[], object], price_usd: Decimal, key: str) -> object:
        """Runs the tool, which charges the price, under the subject's protection. What the tool raises, or a refusal, is
        raised. A ``Crash`` must get through.
        """
        ...

    def recover(self) -> None:
        """What its documents tell a program to do when it starts again after a crash; nothing, where they tell nothing."""
        ...

    def books(self) -> Books:
        """What its ledger says now."""
        ...

    def audit(self, charged: Mapping[str, int]) -> list[str]:
        """What it finds wrong with itself at the end, when nothing goes wrong any more; it may settle what is open.

        Args:
            charged: The vendor's statement: how often each key was charged.
        """
        ...

    def close(self) -> None:
        """Gives back what this process holds: files, connections. It must not settle anything."""
        ...


class Bench(Protocol):
    """Makes subjects of one kind, and what they need to live: a server, or nothing."""

    name: str
    """For the sheet."""
    faults: frozenset[What]
    """What can go wrong with it: anything else in a plan is left out. A message can be disturbed only where an adapter
    sees it; what another process does at the same place is fair only to who claims to bear it."""
    knows_keys: bool
    """Whether it promises that a payment is made once under one key, however often it is asked for. One that does not
    is not asked again for what has returned.
    """

    def open(self, place: Place, moments: Moments) -> Subject:
        """A process at a place: the first, or one after a crash. Its steps are told to ``moments``, as far as the
        subject has seams where they can be seen.
        """
        ...

    def happens(self, what: Outside, place: Place) -> None:
        """Makes something happen outside of the process; nothing, where there is no server or clock."""
        ...

    def close(self) -> None:
        """Gives everything back."""
        ...
