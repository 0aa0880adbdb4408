"""Writes report.md: ``python3 report.py PLAN.json COUNTS.tsv``.

The plan names a table (``file``, ``delimiter``), the columns to group by and the column to add up; the counts
are lines of ``file, what, value, count``.
"""

import csv
import json
import os
import re
import sys
from collections import Counter
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

SHOWN = 20
MARKUP = r"[\\`*<\[|]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # what Markdown would act on


def cell(value: object) -> str:
    text = " ".join(str(value).encode("utf-8", "replace").decode().split())
    return re.sub(MARKUP, r"\\\g<0>", text) or "(empty)"


def table(*rows: tuple[object, ...]) -> list[str]:
    lines = ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return [lines[0], "|---|" + "---:|" * (len(rows[0]) - 1), *lines[1:], ""]


def lines_of(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def inventory() -> list[str]:
    paths = [Path(folder, name) for folder, _, names in os.walk("data") for name in names]
    sizes = {path: path.stat().st_size for path in paths}
    if not paths:
        return ["The folder is empty.", ""]
    largest = sorted(paths, key=lambda path: (-sizes[path], str(path)))
    rows = [(path, f"{lines_of(path):,}", f"{sizes[path]:,}") for path in largest[:SHOWN]]
    left = [f"and {len(paths) - SHOWN:,} smaller files", ""] if len(paths) > SHOWN else []
    total = f"{len(paths):,} file{'s' * (len(paths) > 1)}, {sum(sizes.values()):,} bytes."
    return [total, "", *table(("file", "lines", "bytes"), *rows), *left]


def amount(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return Decimal(0)
    return value if value.is_finite() and abs(value.adjusted()) < 30 else Decimal(0)


def groups(plan: dict[str, Any]) -> list[str]:
    column, rows = plan["sum"], 0
    counts: dict[str, Counter[str]] = {by: Counter() for by in plan["by"]}
    sums: dict[str, dict[str, Decimal]] = {by: {} for by in plan["by"]}
    total = Decimal(0)
    with Path(plan["file"]).open(encoding="utf-8-sig", errors="replace", newline="") as file:
        for row in csv.DictReader((line.replace("\0", "") for line in file), delimiter=plan["delimiter"]):
            rows += 1
            value = amount(row.get(column) or "") if column else Decimal(0)
            total += value
            for by in plan["by"]:
                key = row.get(by) or ""
                counts[by][key] += 1
                sums[by][key] = sums[by].get(key, Decimal(0)) + value
    lines = [
        f"## {cell(plan['file'])}",
        "",
        f"{rows:,} rows" + (f", {cell(column)} {total:,}" if column else ""),
        "",
    ]
    for by in plan["by"]:
        head = (by, "rows", column) if column else (by, "rows")
        body = [
            (key, f"{n:,}", f"{sums[by][key]:,}")[: len(head)] for key, n in counts[by].most_common(SHOWN)
        ]
        lines += table(head, *body)
    return lines


def logs(path: Path) -> list[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    lines = []
    for name, what in dict.fromkeys((row[0], row[1]) for row in rows if len(row) == 4):
        body = [(row[2], f"{int(row[3]):,}") for row in rows if row[:2] == [name, what]]
        lines += [f"## {cell(name)}", "", *table((what, "lines"), *body[:SHOWN])]
    return lines


csv.field_size_limit(2**31 - 1)
plan_file, counts_file = map(Path, sys.argv[1:])
the_plan = json.loads(plan_file.read_text(encoding="utf-8"))
text = ["# What is in data/", "", *inventory()]
text += groups(the_plan) if the_plan.get("file") else []
text += logs(counts_file) if counts_file.exists() else []
Path("report.md").write_text("\n".join(text), encoding="utf-8")
print("\n".join(line for line in text if line and not line.startswith("|")))
