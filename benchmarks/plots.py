"""Pictures of a run: time against the number of files, ours and the others of the same races, one for each operation; and
payments in a second against the number of callers.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from report import Row

_OURS = "#0b6e4f"
_OTHERS = ("#c1666b", "#4d7ea8", "#d4a15a", "#7d5ba6", "#5b5b5b")
_FLOOR = "#9a9a9a"


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes an SVG for each operation that was timed at two sizes or more; the files written."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "trove-agents"  # the same figures give the same bytes
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for operation, points in _series(rows).items():
        if len({size for line in points.values() for size, _ in line}) > 1:
            written.append(_picture(operation, points, folder, across="files in the workspace", shown=_time))
    for operation, points in _payments(rows).items():
        written.append(_picture(operation, points, folder, across="callers at once", shown=_rate))
    return written


def _series(rows: Sequence[Row]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """By operation and contender: sizes and microseconds."""
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in rows:
        match = re.fullmatch(r"(PostgreSQL, )?([\d,]+) files", row.section)
        if match is None or row.turns is None:
            continue
        size = int(match[2].replace(",", ""))
        lines = found.setdefault(row.operation, {})
        if match[1]:
            lines.setdefault("ours on PostgreSQL", []).append((size, row.value))
            continue
        lines.setdefault("ours", []).append((size, row.value))
        if row.ratio:
            lines.setdefault(row.floor_name, []).append((size, row.value / row.ratio))
        for name, value in row.others.items():
            lines.setdefault(name, []).append((size, value))
    return found


def _payments(rows: Sequence[Row]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """By payment and layer, on SQLite: callers and payments in a second."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for row in rows:
        match = re.fullmatch(r"(\d+) clients?", row.section)
        if match is None:
            continue
        payment, _, layer = row.operation.rpartition(", ")
        lines = found.setdefault(payment, {})
        lines.setdefault("bare SQLite", {})[int(match[1])] = row.value / row.ratio
        lines.setdefault(layer, {})[int(match[1])] = row.value
    return {
        payment: {name: list(line.items()) for name, line in lines.items()}
        for payment, lines in found.items()
    }


def _picture(
    operation: str,
    points: dict[str, list[tuple[int, float]]],
    folder: Path,
    *,
    across: str,
    shown: Callable[[float], str],
) -> Path:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.8), layout="constrained")
    others = iter(_OTHERS)
    for name, line in points.items():
        sizes, values = zip(*sorted(line), strict=True)
        axes.plot(sizes, values, label=name, marker="o", markersize=4, **_style(name, others))
    axes.set(xscale="log", yscale="log", xlabel=across, title=operation)
    axes.yaxis.set_major_formatter(lambda value, _: shown(value))
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(visible=True, which="major", color="#e6e6e6")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=axes.get_ylim()[0] / 2)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    file = folder / (re.sub(r"[^a-z0-9]+", "-", operation.lower()).strip("-") + ".svg")
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
    return file


def _rate(value: float) -> str:
    return f"{value:,.0f}/s"


def _time(microseconds: float) -> str:
    """Of a power of ten."""
    unit, size = next(
        (unit, size)
        for unit, size in (("s", 1e6), ("ms", 1e3), ("us", 1))
        if microseconds >= size or size == 1
    )
    return f"{microseconds / size:g} {unit}"


def _style(name: str, others: Any) -> dict[str, Any]:
    if name == "ours":
        return {"color": _OURS, "linewidth": 2.4, "zorder": 3}
    if name == "ours on PostgreSQL":
        return {"color": _OURS, "linestyle": "--", "zorder": 3}
    if name.startswith(("SQLite", "bare")):
        return {"color": _FLOOR, "linestyle": ":"}
    return {"color": next(others, "#333333")}
