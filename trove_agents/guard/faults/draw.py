"""Which scenarios are played: all of a kind where they can be counted, the rest at random from a seed."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Final, Protocol, TypeAlias

from trove_agents.guard.faults.lives import Run
from trove_agents.guard.faults.moments import ENDS, OF_MESSAGE, End, Fault, What
from trove_agents.guard.faults.scenario import ENDINGS, PRICES, Ending, Scenario, Step

_EVENTS: Final[dict[What, float]] = {
    "rival-recovers": 3,
    "rival-pays": 3,
    "stranger-pays": 1,
    "ahead": 2,
    "back": 1,
    "restart": 0.2,  # takes as long as ten others
    "arrives": 3,
    "unsent": 2,
    "lost": 3,
    "twice": 2,
    "late": 4,
    "busy": 1,
    "garbled": 2,
}
"""How often each is drawn, beside the others."""
_BUDGETS: Final = (
    Decimal(100),
    Decimal("1.111"),
    Decimal("1.1"),
    Decimal(1),
    Decimal("0.111"),
    Decimal("0.1"),
)
_BLOCK: Final = 50

Player: TypeAlias = Callable[[Scenario], Run]


class Job(Protocol):
    """Some scenarios, each of which may depend on how the one before it ended."""

    def runs(self, player: Player) -> Iterator[Run]:
        """Plays them."""
        ...


@dataclass(frozen=True, slots=True)
class Crashes:
    """One payment and a crash at each of its moments, and for each of these one at each moment of the recovery."""

    ending: Ending
    end: End = "crash"

    def runs(self, player: Player) -> Iterator[Run]:
        """See :meth:`Job.runs`."""
        for first in count(1):
            before = (Fault(self.end, first),)
            run = player(Scenario((Step("b", self.ending),), (before,)))
            yield run
            if not run.complete:
                return
            for second in count(1):
                run = player(Scenario((Step("b", self.ending),), (before, (Fault(self.end, second),))))
                yield run
                if not run.complete:
                    break


@dataclass(frozen=True, slots=True)
class Pairs:
    """One payment and a fault at each moment that fits, and for each of these a crash at each moment after it."""

    ending: Ending
    what: What
    resends: bool = False

    def runs(self, player: Player) -> Iterator[Run]:
        """See :meth:`Job.runs`."""
        for first in count(1):
            fault = Fault(self.what, first)
            run = player(self._scenario(fault))
            yield run
            if not run.complete:
                return
            for second in count(1):
                run = player(self._scenario(fault, Fault("crash", second)))
                yield run
                if not run.complete:
                    break

    def _scenario(self, *plan: Fault) -> Scenario:
        return Scenario((Step("b", self.ending),), (plan,), resends=self.resends)


@dataclass(frozen=True, slots=True)
class Histories:
    """Histories drawn at random: those of some numbers of a seed."""

    seed: int
    numbers: range

    def runs(self, player: Player) -> Iterator[Run]:
        """See :meth:`Job.runs`."""
        for number in self.numbers:
            yield player(history(f"{self.seed}/{number}"))


def jobs(seed: int, histories: int, endings: Sequence[Ending] = ENDINGS) -> list[Job]:
    """All that is counted for some endings of a tool, and some histories."""
    found: list[Job] = []
    for ending in endings:
        found += [Crashes(ending), Crashes(ending, "power-fails")]
        found += [Pairs(ending, what) for what in _EVENTS if what not in ("restart", "arrives")]
        found += [Pairs(ending, what, resends=True) for what in OF_MESSAGE]
    blocks = range(0, histories, _BLOCK)
    found += [Histories(seed, range(first, min(first + _BLOCK, histories))) for first in blocks]
    return found


def history(seed: str) -> Scenario:
    """A few payments, some of them tried again, in a few lives of a program. The same seed draws the same."""
    chance = random.Random(seed)  # noqa: S311 - that it can be drawn again is the point
    steps: list[Step] = []
    for key in chance.sample(list(PRICES), chance.randint(1, len(PRICES))):
        [tries] = chance.choices((1, 2, 3), (5, 3, 1))
        steps += [Step(key, chance.choice(ENDINGS)) for _ in range(tries)]
    if chance.choice((True, False)):
        chance.shuffle(steps)
    return Scenario(
        tuple(steps),
        tuple(_plan(chance) for _ in range(chance.randint(1, 4))),
        chance.choice(_BUDGETS),
        idempotent=chance.randrange(5) == 0,
        resends=chance.choice((True, False)),
    )


def _plan(chance: random.Random) -> tuple[Fault, ...]:
    [events] = chance.choices((0, 1, 2, 3), (3, 4, 2, 1))
    faults = chance.choices(list(_EVENTS), list(_EVENTS.values()), k=events)
    [end] = chance.choices(ENDS, (4, 1))
    return (*(Fault(each, chance.randint(1, 12)) for each in faults), Fault(end, chance.randint(1, 25)))
