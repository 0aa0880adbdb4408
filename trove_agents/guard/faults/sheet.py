"""The sheet: the vendor's truth against the ledger, over many runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Final

from trove_agents.guard.faults.lives import Run

KEPT: Final = 20
"""How many of the runs that went wrong are remembered."""


@dataclass(slots=True)
class Sheet:
    """What a subject came to. Amounts are USD, and sums of what each run came to."""

    subject: str
    runs: int = 0
    crashes: int = 0
    """Processes that ended in the middle."""
    faults: int = 0
    """All that went wrong, crashes included."""
    took: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)
    in_doubt: Decimal = Decimal(0)
    """What the ledger keeps for payments that have not ended: held or in doubt."""
    lost: Decimal = Decimal(0)
    double: Decimal = Decimal(0)
    overshoot: Decimal = Decimal(0)
    exposed: Decimal = Decimal(0)
    surplus: Decimal = Decimal(0)
    seconds: float = 0.0
    unsound: int = 0
    """Runs in which something was wrong."""
    examples: list[Run] = field(default_factory=list)
    """The first ``KEPT`` of them."""

    def add(self, run: Run) -> None:
        """Enters a run."""
        self.runs += 1
        self.crashes += run.crashes
        self.faults += len(run.struck)
        self.took += run.took
        self.spent += run.spent
        self.in_doubt += run.held + run.in_doubt
        self.lost += run.lost
        self.double += run.double
        self.overshoot += run.overshoot
        self.exposed += run.exposed
        self.surplus += run.surplus
        if not run.sound:
            self.unsound += 1
            if len(self.examples) < KEPT:
                self.examples.append(run)

    def add_all(self, other: "Sheet") -> None:
        """Enters the runs of another sheet; the seconds stay."""
        for each in fields(self):
            if each.name not in ("subject", "seconds", "examples"):
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        self.examples += other.examples[: KEPT - len(self.examples)]

    @property
    def sound(self) -> bool:
        """Nothing was wrong in any run."""
        return self.unsound == 0

    def __str__(self) -> str:
        return table([self])


_COLUMNS: Final = (
    "subject",
    "runs",
    "crashes",
    "faults",
    "vendor took",
    "ledger spent",
    "in doubt",
    "lost",
    "double",
    "overshoot",
    "seconds",
)


def table(sheets: Sequence[Sheet]) -> str:
    """Sheets under one another, for a terminal."""
    rows = [_COLUMNS, *map(_row, sheets)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown(sheets: Sequence[Sheet]) -> str:
    """The same, as a table of Markdown."""
    rows = [_COLUMNS, ("---", *["---:"] * (len(_COLUMNS) - 1)), *map(_row, sheets)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(sheet: Sheet) -> tuple[str, ...]:
    counts = (sheet.runs, sheet.crashes, sheet.faults)
    amounts = (sheet.took, sheet.spent, sheet.in_doubt, sheet.lost, sheet.double, sheet.overshoot)
    return (
        sheet.subject,
        *(f"{count:,}" for count in counts),
        *(f"{amount:,.3f}" if amount else "0" for amount in amounts),
        f"{sheet.seconds:,.0f}",
    )
