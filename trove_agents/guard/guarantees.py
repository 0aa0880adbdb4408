"""What the guard can promise, by what the wallet's server has."""

from dataclasses import dataclass
from typing import Final, Literal

HOLDING: Final = frozenset({"holds", "idempotency"})
"""The capabilities of a server on which money can be held for a payment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantees:
    """What holds for the payments of one wallet."""

    mode: Literal["holds", "prepay"]
    """``holds``: money is held while a tool runs, and captured or given back. ``prepay``: the server has the public
    wallet service's calls alone, so what a tool can cost is bought before it runs."""
    hard_cap: bool = True
    """The wallet never spends more than its budget, whoever else spends from it."""
    once_per_journal: bool = True
    """A key is not paid twice by those that share a journal."""
    once_everywhere: bool = False
    """Nor by those that do not. They do not know of each other's payments, and each would run the tool."""
    exact_metering: bool
    """The wallet counts what a tool did cost, not what it could have cost."""
    refunds: bool
    """What was not charged is back in the wallet. Otherwise it is credit of the journal, used by a later payment."""
    doubts_in_wallet: bool
    """What is held and in doubt shows in the wallet, for everybody who spends from it."""
    approvals: bool
    """A person can answer in the wallet. Otherwise whoever makes the payment says ``approved=True``."""

    def __str__(self) -> str:
        """For people."""
        return _TEXTS[self.mode]


_TEXTS: Final = {
    "holds": (
        "payments are held in the wallet while their tools run: the budget is never exceeded, what was not charged is"
        " given back, and what is in doubt keeps counting. Only those that share a journal are kept from paying a"
        " key twice."
    ),
    "prepay": (
        "the wallet's server has no holds, so the most that a tool can cost is bought before it runs: the budget is"
        " never exceeded if the server checks it with each purchase. What was not charged is not given back there but"
        " is credit in this journal, used by a later payment, so the wallet can count more than was charged. A purchase"
        " whose answer is lost is looked for by its tag, and a second one of the same tag is found and kept as credit."
        " Only those that share a journal are kept from paying a key twice."
    ),
}


def of(has: frozenset[str]) -> Guarantees:
    """On a server with some capabilities."""
    holding = has >= HOLDING
    return Guarantees(
        mode="holds" if holding else "prepay",
        exact_metering=holding,
        refunds=holding,
        doubts_in_wallet=holding,
        approvals=holding and "approvals" in has,
    )
