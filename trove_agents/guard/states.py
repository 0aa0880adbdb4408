"""The states of a payment, and what may follow what."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec.structs import replace

from trove_agents.wire.money import from_micros
from trove_agents.wire.steps import Step, from_header

State = Literal[
    "intended", "running", "waiting", "settling", "captured", "voided", "in_doubt", "written_off", "denied"
]

STATES: Final[tuple[State, ...]] = get_args(State)

FOLLOWS: Final[Mapping[State, frozenset[State]]] = {
    "intended": frozenset({"intended", "running", "denied", "settling"}),  # again: with an approval
    "running": frozenset({"settling", "in_doubt", "waiting"}),
    # The tool stopped to wait for somebody, and runs again under the same key and hold
    "waiting": frozenset({"running", "settling", "in_doubt"}),
    # "denied": it was to be held, or bought in advance, and was not. "settling": as of "voided"
    "settling": frozenset({"settling", "captured", "voided", "in_doubt", "written_off", "denied"}),
    # Told here, or answered in the wallet by somebody else. "waiting": its tool ran all the time, and has stopped now
    "in_doubt": frozenset({"settling", "captured", "voided", "written_off", "waiting"}),
    "captured": frozenset(),
    "written_off": frozenset(),
    # Nothing was charged, for certain: the same payment may be tried anew. "settling": a tool that ran meanwhile
    # knows better than whoever said so
    "voided": frozenset({"intended", "settling"}),
    "denied": frozenset({"intended"}),
}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One payment, as the journal has it."""

    wallet_id: int
    key: str
    fingerprint: str
    """Of what must be the same when the key is: price, tool, vendor, arguments."""
    micros: int
    """Micro-USD that are held: the most that it can cost."""
    tool: str | None = None
    vendor: str | None = None
    intent: str | None = None
    """Of what makes two payments of different keys the same purchase: tool, vendor, arguments."""
    step: str | None = None
    """The step of an agent's that it is for, as the header ``X-Trove-Step`` says it."""
    approval: str | None = None
    """The person's yes that it makes use of, as JSON."""
    state: State = "intended"
    attempt: int = 1
    """One more each time after a hold was given back; so each has a hold of its own."""
    hold_id: int | None = None
    transaction_id: int | None = None
    drawn: int = 0
    """Micro-USD of what was bought in advance that it uses. 0 in a wallet with holds."""
    settle_micros: int | None = None
    """Micro-USD that were charged; 0: the hold is given back. None: not known yet."""
    result: bytes | None = None
    """What the tool returned, as JSON."""
    note: str | None = None
    """Why it is in doubt, or waits. Of one that runs, why it waited before."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """Money that was bought in advance in a wallet without holds."""

    transaction_id: int
    tag: str
    """Of the payment that it was bought for."""
    micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What was bought in advance in one wallet, together."""

    credit: int = 0
    """Micro-USD that no payment uses. Negative: tools have charged more than was bought."""
    purchases: int = 0
    """How many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a payment, as data."""

    wallet_id: int
    key: str
    state: State
    tool: str | None
    vendor: str | None
    held_usd: Decimal
    """What was held for it, or bought: the most that it could cost."""
    charged_usd: Decimal | None
    """What it did cost; None while nobody knows."""
    hold_id: int | None
    transaction_id: int | None
    note: str | None
    """Why it is in doubt, or waits."""
    step: Step | None = None
    """The step of an agent's that it is for."""

    @classmethod
    def of(cls, entry: Entry) -> "Receipt":
        """Of what the journal has."""
        return cls(
            wallet_id=entry.wallet_id,
            key=entry.key,
            state=entry.state,
            tool=entry.tool,
            vendor=entry.vendor,
            held_usd=as_usd(entry.micros),
            charged_usd=None if entry.settle_micros is None else as_usd(entry.settle_micros),
            hold_id=entry.hold_id,
            transaction_id=entry.transaction_id,
            note=entry.note,
            step=from_header(entry.step) if entry.step else None,
        )

    def as_json(self) -> dict[str, Any]:
        """For the metadata of a framework's tool result, whose step it is: only what JSON has, amounts as text."""
        return {
            "wallet_id": self.wallet_id,
            "key": self.key,
            "state": self.state,
            "tool": self.tool,
            "vendor": self.vendor,
            "held_usd": str(self.held_usd),
            "charged_usd": None if self.charged_usd is None else str(self.charged_usd),
            "hold_id": self.hold_id,
            "transaction_id": self.transaction_id,
            "note": self.note,
        }


@lru_cache(maxsize=512)  # the same few prices are told several times in each payment
def as_usd(micros: int) -> Decimal:
    """Micro-USD in USD, exactly."""
    return Decimal(bytes(from_micros(micros)).decode())
