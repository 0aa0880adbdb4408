"""Scenarios: what a program pays for, how its tools end, and what goes wrong in each of its lives."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from trove_agents.guard.faults.moments import Fault, Moments
from trove_agents.guard.faults.subject import Declined
from trove_agents.guard.faults.vendor import Vendor

Ending: TypeAlias = Literal[
    "returns",
    "charges-and-times-out",
    "times-out",
    "charges-and-fails",
    "fails",
    "charges-and-is-cancelled",
    "declines",
]
"""How a tool ends. Only ``declines`` says that nothing was charged."""
ENDINGS: Final[tuple[Ending, ...]] = get_args(Ending)

PRICES: Final = {
    "a": Decimal("0.001"),
    "b": Decimal("0.01"),
    "c": Decimal("0.1"),
    "d": Decimal(1),
}
"""The payments and their prices, in USD. Each is ten of the one before, so that a sum says by its digits how often each
of them is in it, up to nine times.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One payment that the program makes, or makes again."""

    key: str
    """One of ``PRICES``."""
    ending: Ending = "returns"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One case."""

    steps: tuple[Step, ...]
    """What the program does, one after another; started again, it goes on with the step that it was at."""
    lives: tuple[tuple[Fault, ...], ...] = ()
    """What goes wrong in its first process, in the one that is started after that crashed, and so on."""
    budget_usd: Decimal = Decimal(100)
    idempotent: bool = False
    """Whether the vendor knows a key again."""
    resends: bool = False
    """Whether the subject's client sends again by itself what got lost."""

    def __str__(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def of(cls, text: str) -> "Scenario":
        """The scenario that was printed.

        Raises:
            ValueError: it is none.
        """
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ValueError(f"no scenario: {error}") from error


def tool(step: Step, vendor: Vendor, moments: Moments) -> Callable[[], str]:
    """What the program pays for: it charges and ends as the step says, with a moment before and after the charge."""

    def run() -> str:
        moments.reached("before the charge")
        receipt = ""
        if step.ending == "returns" or step.ending.startswith("charges"):
            receipt = vendor.charge(step.key, PRICES[step.key])
        moments.reached("after the charge")
        match step.ending:
            case "charges-and-times-out" | "times-out":
                raise TimeoutError("the vendor did not answer in time")
            case "charges-and-fails" | "fails":
                raise RuntimeError("the vendor's answer makes no sense")
            case "charges-and-is-cancelled":
                raise asyncio.CancelledError
            case "declines":
                raise Declined("the vendor has refused")
        return receipt

    return run


def counted(amount_usd: Decimal) -> Counter[str]:
    """How often each key is in a sum of prices.

    Raises:
        ValueError: it is no sum of prices.
    """
    smallest = min(PRICES.values())
    digits = int(amount_usd / smallest)
    if amount_usd < 0 or digits * smallest != amount_usd:
        raise ValueError(f"{amount_usd} is no sum of prices")
    found = Counter[str]()
    for key in list(PRICES)[:-1]:
        digits, found[key] = divmod(digits, 10)
    found[list(PRICES)[-1]] = digits
    return found
