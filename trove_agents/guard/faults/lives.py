"""One scenario, played: lives that end by a crash, the last one that does not, and what vendor and ledger say then."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Final

from trove_agents.guard.faults.moments import Crash, Fault, Moments, What
from trove_agents.guard.faults.scenario import PRICES, Scenario, Step, counted, tool
from trove_agents.guard.faults.subject import Bench, Books, Place, Subject
from trove_agents.guard.faults.vendor import Vendor

_CHARGES: Final = "charges"
_DONE: Final = "done"
_RETURNED: Final = "."
_RAISED: Final = "x"
_SURVIVED: Final = (Exception, asyncio.CancelledError)
"""What a program goes on after; only its own end ends it."""


@dataclass(frozen=True, slots=True)
class Run:
    """How one scenario ended. Amounts are USD."""

    scenario: Scenario
    took: Decimal
    """By the vendor, as all that follows is by the ledger."""
    spent: Decimal
    held: Decimal
    in_doubt: Decimal
    lost: Decimal
    """Took for payments that the ledger neither has as spent nor keeps anything for."""
    exposed: Decimal
    """The most that was lost at a look before the end: before a recovery, or after it."""
    double: Decimal
    """Took for payments that had been made before."""
    overshoot: Decimal
    """Took beyond the budget."""
    surplus: Decimal
    """Spent by the ledger, and not taken."""
    lives: int
    crashes: int
    struck: tuple[tuple[Fault, str], ...]
    """What went wrong, and at which moments."""
    complete: bool
    """Whether all that was planned did."""
    complaints: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Nothing was lost, made twice or overspent at any time, and the subject has nothing against itself."""
        return not (
            self.lost or self.exposed or self.double or self.overshoot or self.surplus or self.complaints
        )

    def __str__(self) -> str:
        wrong = {name: getattr(self, name) for name in ("lost", "exposed", "double", "overshoot", "surplus")}
        said = [f"{name} {amount}" for name, amount in wrong.items() if amount]
        at = [f"{fault.what} {name}" for fault, name in self.struck]
        return f"{', '.join([*said, *self.complaints]) or 'sound'} [{'; '.join(at)}] {self.scenario}"


class Play:
    """Plays a scenario at a place.

    Args:
        bench: Makes the subjects.
        scenario: What they go through.
        place: A folder that is there and empty, or where lives of this scenario were before.
    """

    def __init__(self, bench: Bench, scenario: Scenario, place: Place) -> None:
        self._bench = bench
        self._scenario = scenario
        self._place = place
        self._exposed = Decimal(0)
        self._vendor = Vendor(place.folder / _CHARGES, idempotent=scenario.idempotent)

    def run(self) -> Run:
        """All lives in this process: a crash is an exception there."""
        struck: list[tuple[Fault, str]] = []
        lives = crashes = 0
        complete = not self._scenario.lives
        for number in range(1, len(self._scenario.lives) + 1):
            moments = Moments(self.plan(number - 1), self.happens)
            lives += 1
            with suppress(Crash):
                self.live(moments, again=number > 1)
            crashes += moments.dead
            struck += moments.struck
            whole = len(moments.struck) == len(self._scenario.lives[number - 1])
            complete = whole and number == len(self._scenario.lives)
            if not moments.dead:
                break
        return self.end(struck=tuple(struck), lives=lives + 1, crashes=crashes, complete=complete)

    def plan(self, life: int) -> list[Fault]:
        """What goes wrong in a life, as far as it can with this bench."""
        return [fault for fault in self._scenario.lives[life] if fault.what in self._bench.faults]

    def live(self, moments: Moments, *, again: bool) -> None:
        """One process of the program: it recovers, and goes on with its steps.

        Raises:
            Crash: it ended before its end.
        """
        subject = self._bench.open(self._place, moments)
        try:
            if again:
                self._look(subject)
                with suppress(*_SURVIVED):
                    subject.recover()
                self._look(subject)
            self._go_on(subject, moments)
        finally:
            subject.close()

    def end(
        self,
        *,
        struck: tuple[tuple[Fault, str], ...],
        lives: int,
        crashes: int,
        complete: bool,
    ) -> Run:
        """The last process, in which nothing goes wrong: it recovers, does what is left, and is asked for each payment
        once more. Then the books are read.
        """
        moments = Moments(happens=self.happens)
        subject = self._bench.open(self._place, moments)
        try:
            self._look(subject)
            complaints = _complaints(lambda: _recovered(subject))
            self._look(subject)
            self._bench.happens("arrives", self._place)
            self._go_on(subject, moments)
            if self._bench.knows_keys:
                for key in dict.fromkeys(step.key for step in self._scenario.steps):
                    self._pay(subject, Step(key), moments)
            self._bench.happens("ahead", self._place)  # what is only held runs out
            books = subject.books()
            charged = self._vendor.charges()
            complaints += _complaints(lambda: subject.audit(charged))
        finally:
            subject.close()
        took = self._vendor.took_usd()
        more = _amount(Counter({key: times - 1 for key, times in charged.items()}))
        return Run(
            scenario=self._scenario,
            took=took,
            spent=books.spent,
            held=books.held,
            in_doubt=books.in_doubt,
            lost=self._lost(books),
            exposed=self._exposed,
            double=more,
            overshoot=max(took - self._scenario.budget_usd, Decimal(0)),
            surplus=_amount(counted(books.spent) - charged),
            lives=lives,
            crashes=crashes,
            struck=struck,
            complete=complete,
            complaints=tuple(complaints),
        )

    def happens(self, what: What) -> None:
        """Makes faults happen in this process."""
        match what:
            case "crash" | "power-fails":
                raise Crash
            case "rival-recovers":
                self._rival(self._place, pays=False)
            case "rival-pays":
                self._rival(self._place, pays=True)
            case "stranger-pays":
                (elsewhere := self._place.folder / "elsewhere").mkdir(exist_ok=True)
                self._rival(replace(self._place, folder=elsewhere), pays=True)
            case "restart" | "ahead" | "back" | "arrives":
                self._bench.happens(what, self._place)

    def _rival(self, place: Place, *, pays: bool) -> None:
        """Another process of the same program comes by: started anew, or one that makes the same payment at once."""
        moments = Moments()
        subject = self._bench.open(place, moments)
        try:
            if not pays:
                with suppress(*_SURVIVED):
                    subject.recover()
            elif len(self._done()) < len(self._scenario.steps):
                self._pay(subject, Step(self._scenario.steps[len(self._done())].key), moments)
        finally:
            subject.close()

    def _go_on(self, subject: Subject, moments: Moments) -> None:
        """The steps that are left. Where a program is it notes after each step, as with a checkpoint."""
        steps = self._scenario.steps
        for number in range(len(self._done()), len(steps)):
            step, done = steps[number], self._done()
            returned = {each.key for each, how in zip(steps, done, strict=False) if how == _RETURNED}
            again = step.key in returned and not self._bench.knows_keys
            paid = again or self._pay(subject, step, moments)
            moments.reached("before the program goes on")
            self._note(_RETURNED if paid else _RAISED)

    def _pay(self, subject: Subject, step: Step, moments: Moments) -> bool:
        """Whether it returned."""
        try:
            subject.pay(tool(step, self._vendor, moments), PRICES[step.key], step.key)
        except _SURVIVED:
            return False
        return True

    def _look(self, subject: Subject) -> None:
        self._exposed = max(self._exposed, self._lost(subject.books()))

    def _lost(self, books: Books) -> Decimal:
        known = counted(books.spent) + counted(books.held) + counted(books.in_doubt)
        return _amount(self._vendor.charges() - known)

    def _done(self) -> str:
        """How the steps ended that the program has behind it."""
        try:
            return (self._place.folder / _DONE).read_text("ascii")
        except FileNotFoundError:
            return ""

    def _note(self, how: str) -> None:
        out = os.open(self._place.folder / _DONE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(out, how.encode())
        finally:
            os.close(out)


def played(bench: Bench, scenario: Scenario, folder: Path, name: str) -> Run:
    """A scenario in a folder of its own, in this process."""
    place = Place(name, folder / name, scenario.budget_usd, scenario.resends)
    place.folder.mkdir()
    return Play(bench, scenario, place).run()


def _complaints(audit: Callable[[], list[str]]) -> list[str]:
    """What a subject has against itself, when nothing goes wrong any more; an exception is such a thing."""
    try:
        return audit()
    except Exception as error:  # noqa: BLE001 - of a subject of any make
        return [f"{type(error).__name__}: {error}"]


def _recovered(subject: Subject) -> list[str]:
    subject.recover()
    return []


def _amount(times: Mapping[str, int]) -> Decimal:
    return sum((PRICES[key] * count for key, count in times.items() if count > 0), Decimal(0))
