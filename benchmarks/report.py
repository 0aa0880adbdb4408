"""What was measured, beside what was aimed at."""

import json
import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from race import Timing
from rich.console import Console
from rich.table import Table

ENGINES = (("SQLite", ""), ("PostgreSQL", "PostgreSQL, "))
"""With what their sections begin."""
FRAMEWORKS = ("LangGraph", "Pydantic AI")
"""The same, before a comma."""


@dataclass(frozen=True, slots=True)
class Row:
    """One operation: ours, its floor, and what else ran in the same race."""

    section: str
    operation: str
    figure: str
    """Ours, for people."""
    value: float
    """Ours: microseconds of a race, otherwise in the unit of the figure."""
    floor: str = ""
    ratio: float | None = None
    aim: str = ""
    met: bool | None = None
    """None: nothing is aimed at."""
    others: Mapping[str, float] = field(default_factory=dict)
    """Microseconds."""
    p99: float | None = None
    turns: int | None = None

    @property
    def floor_name(self) -> str:
        """The contender that is the floor, without its figure."""
        return self.floor.rsplit(" ", 2)[0]


def raced(
    section: str,
    operation: str,
    times: Mapping[str, Timing],
    *,
    floor: str,
    at_most: float | None = None,
    faster_than: tuple[str, ...] = (),
    plus: str | None = None,
    within: float | None = None,
) -> Row:
    """A row of a race in which ``ours`` took part.

    Args:
        floor: The contender that is the floor.
        at_most: How many times the floor is aimed at.
        faster_than: Contenders that must be slower.
        plus: A contender whose time is allowed on top.
        within: Microseconds that are aimed at, when nothing else is.
    """
    own = times["ours"]
    allowance = times[plus].median if plus else 0.0
    others = {name: each.median for name, each in times.items() if name not in {"ours", floor}}
    aim, met = "", None
    ratio = own.median / times[floor].median
    if at_most is not None:
        ratio_over = (own.median - allowance) / times[floor].median
        slower = [name for name in faster_than if name in times and times[name].median <= own.median]
        aim = (
            f"≤ {at_most:g}x"
            + (f" + {plus}" if plus else "")
            + (", faster than peers" if faster_than else "")
        )
        met = ratio_over <= at_most and not slower
    if within is not None:
        aim, met = f"≤ {duration(within)}", own.median <= within
    shown = f"{floor} {duration(times[floor].median)}"
    return Row(
        section,
        operation,
        duration(own.median),
        own.median,
        shown,
        ratio,
        aim,
        met,
        others,
        own.p99,
        own.turns,
    )


def added(
    section: str,
    operation: str,
    times: Mapping[str, Timing],
    *,
    to: str,
    within: float | None = None,
    at: str = "ours",
) -> Row:
    """A row of what ours takes more than the same without it.

    Args:
        to: The contender that is the same without.
        within: Microseconds that are aimed at.
        at: The contender that is ours.
    """
    own, bare = times[at], times[to]
    more = own.median - bare.median
    others = {"in all": own.median}
    if own.processor is not None and bare.processor is not None:
        others["processor time added"] = own.processor - bare.processor
    others |= {name: each.median for name, each in times.items() if name not in {at, to}}
    return Row(
        section,
        operation,
        duration(more),
        more,
        f"{to} {duration(bare.median)}",
        own.median / bare.median,
        "" if within is None else f"≤ {duration(within)}",
        None if within is None else more <= within,
        others,
        own.p99,
        own.turns,
    )


def duration(microseconds: float) -> str:
    if microseconds < 0:
        return f"-{duration(-microseconds)}"
    if microseconds < 1_000:
        return f"{microseconds:.0f} us"
    if microseconds < 1_000_000:
        return f"{microseconds / 1_000:.2f} ms"
    return f"{microseconds / 1_000_000:.2f} s"


def show(rows: list[Row], console: Console) -> None:
    sections = list(dict.fromkeys(row.section for row in rows))
    for section in sections:
        table = Table(title=section, title_justify="left", title_style="bold")
        for name, side in (
            ("operation", "left"),
            ("ours", "right"),
            ("p99", "right"),
            ("floor", "left"),
            ("ratio", "right"),
            ("aim", "left"),
            ("met", "left"),
            ("in the same race", "left"),
        ):
            table.add_column(name, justify=side, no_wrap=name != "in the same race", overflow="fold")
        for row in (row for row in rows if row.section == section):
            table.add_row(
                row.operation,
                row.figure,
                "" if row.p99 is None else duration(row.p99),
                row.floor,
                "" if row.ratio is None else f"{row.ratio:.2f}x",
                row.aim,
                _verdict(row.met),
                ", ".join(f"{name} {duration(value)}" for name, value in row.others.items()),
            )
        console.print(table)
    aimed = [row for row in rows if row.met is not None]
    console.print(f"{sum(row.met is True for row in aimed)} of {len(aimed)} aims met")


def _verdict(met: bool | None) -> str:
    return {None: "", True: "[green]yes[/]", False: "[red]no[/]"}[met]


def write(rows: list[Row], notes: list[str], about: Mapping[str, str], target: Path) -> None:
    document = {"machine": dict(about), "notes": notes, "rows": [asdict(row) for row in rows]}
    target.write_text(json.dumps(document, indent=1) + "\n")


def markdown(rows: list[Row], about: Mapping[str, str]) -> str:
    """The same figures for a page: tables for what depends on the size or on how many call at once, one for the rest."""
    lines = ["; ".join(f"{name} {value}" for name, value in about.items()) + ".", ""]
    sizes = _sections(rows, r"[\d,]+ files")
    for engine, prefix in ENGINES:
        lines += _table(rows, f"on {engine}", [prefix + size for size in sizes], heads=sizes)
    lines += _beside(rows, sizes, "beside, at the largest size", "ours")
    for name in FRAMEWORKS:
        sections = _sections(rows, rf"{name}, [\d,]+ files")
        heads = [section.removeprefix(f"{name}, ") for section in sections]
        lines += _table(rows, f"what a workspace adds to {name}", sections, heads=heads)
        lines += _beside(rows, sections, f"{name}, at the larger size", "added")
    clients = _sections(rows, r"\d+ clients?")
    for engine, prefix in ENGINES:
        lines += _table(rows, f"payments on {engine}", [prefix + each for each in clients], heads=clients)
    rest = [row for row in rows if not re.fullmatch(r".*\d (files|clients?)", row.section)]
    if rest:
        lines += ["| | ours | floor | ratio | aim |", "|---|---|---|---|---|"]
        for row in rest:
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
            lines.append(f"| {row.operation} | {row.figure} | {row.floor} | {ratio} | {row.aim} |")
        lines.append("")
    return "\n".join(lines)


def _sections(rows: list[Row], pattern: str) -> list[str]:
    return [name for name in dict.fromkeys(row.section for row in rows) if re.fullmatch(pattern, name)]


def _beside(rows: list[Row], sections: list[str], title: str, figure: str) -> list[str]:
    """What else ran in the races of the last of some sections."""
    if not sections:
        return []
    lines = [f"| {title} | {figure} | in the same race |", "|---|---|---|"]
    for row in rows:
        if row.section == sections[-1] and row.others:
            others = ", ".join(f"{name} {duration(value)}" for name, value in row.others.items())
            lines.append(f"| {row.operation} | {row.figure} | {others} |")
    return [*lines, ""]


def _table(rows: list[Row], title: str, sections: list[str], *, heads: list[str]) -> list[str]:
    """A column for each section; a line for each operation, with what it has in the first column for a name."""
    found = {(row.section, row.operation): row for row in rows}
    operations = [row.operation for row in rows if row.section == (sections or [""])[0]]
    if not operations:
        return []
    lines = [
        f"| {title} | floor | {' | '.join(heads)} | aim |",
        "|---" * (len(heads) + 3) + "|",
    ]
    for operation in dict.fromkeys(operations):
        each = [found.get((section, operation)) for section in sections]
        there = [row for row in each if row is not None]
        cells = ["" if row is None else _cell(row) for row in each]
        aims = ", ".join(dict.fromkeys(row.aim for row in there if row.aim))
        lines.append(f"| {operation} | {there[0].floor_name} | {' | '.join(cells)} | {aims} |")
    return [*lines, ""]


def _cell(row: Row) -> str:
    """A figure that is no time of one call is told with what calls took."""
    p99 = "" if row.turns is not None or row.p99 is None else f" (p99 {duration(row.p99)})"
    return f"{row.figure}{p99}, {row.ratio:.1f}x"


def machine(folder: Path) -> dict[str, str]:
    """What the figures depend on, without a name or a path of this machine."""
    return {
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "filesystem": _filesystem(folder),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def _filesystem(folder: Path) -> str:
    found = subprocess.run(
        ["df", "--output=fstype", str(folder)], capture_output=True, text=True, check=False
    )
    return found.stdout.split()[-1] if found.returncode == 0 else "unknown"
