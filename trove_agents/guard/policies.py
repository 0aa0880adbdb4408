"""Whether a payment may be made: what a policy is asked, and what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from trove_agents.client.money import Amount, dollars
from trove_agents.guard.prices import micros
from trove_agents.guard.states import as_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A payment that is about to be made."""

    key: str
    price_usd: Decimal
    """The most that it can cost."""
    tool: str | None
    vendor: str | None
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Approve:
    """It may be made."""


@dataclass(frozen=True, slots=True)
class Deny:
    """It may not."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A person decides."""

    reason: str


Verdict: TypeAlias = Approve | Deny | Ask
Policy: TypeAlias = Callable[[Proposal], Verdict]
"""Asked before anything is held or written down. One that raises, or answers something else, denies."""


def ask_above(usd: Amount) -> Policy:
    """Asks a person about payments that can cost more.

    Raises:
        TypeError: the amount is a float, or none.
        ValueError: it is negative or too large, or has more than six decimals.
    """
    most = as_usd(micros(usd))

    def decide(proposal: Proposal) -> Verdict:
        if proposal.price_usd <= most:
            return Approve()
        return Ask(f"it can cost {dollars(proposal.price_usd)}, which is more than {dollars(most)}")

    return decide
