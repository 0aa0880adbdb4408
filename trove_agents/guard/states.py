"""The states of a payment, and what may follow what."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

State = Literal["intended", "authorized", "running", "settling", "captured", "voided", "in_doubt", "denied"]

FOLLOWS: Final[Mapping[State, frozenset[State]]] = {
    "intended": frozenset({"authorized", "denied", "settling"}),
    "authorized": frozenset({"running", "settling"}),
    "running": frozenset({"settling", "in_doubt"}),
    "settling": frozenset({"captured", "voided", "in_doubt"}),
    "in_doubt": frozenset({"settling"}),
    "captured": frozenset(),
    # Nothing was charged, for certain: the same payment may be tried anew, as another attempt
    "voided": frozenset({"intended"}),
    "denied": frozenset({"intended"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One payment, as the journal has it."""

    wallet_id: int
    key: str
    fingerprint: str
    """Of what must be the same when the key is: price, tool, vendor, arguments."""
    micros: int
    """Micro-USD that are held: the most that it can cost."""
    tool: str | None = None
    vendor: str | None = None
    state: State = "intended"
    attempt: int = 1
    """One more each time after nothing was charged for certain; so each has a hold of its own."""
    hold_id: int | None = None
    settle_micros: int | None = None
    """Micro-USD that were charged; 0: the hold is given back. None: not known yet."""
    result: bytes | None = None
    """What the tool returned, as JSON."""
    created_at: float = 0.0
    """Seconds since 1970, as the next."""
    updated_at: float = 0.0

    def to(self, state: State, **changes: Any) -> "Entry":
        """The entry in a state that may follow on its own.

        Raises:
            ValueError: it may not.
        """
        if state not in FOLLOWS[self.state]:
            raise ValueError(f"a payment that is {self.state} cannot be {state} next")
        return replace(self, state=state, **changes)
