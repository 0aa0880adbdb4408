"""What the columns of CSV files hold: ``python3 profile.py FILE...`` prints one line of JSON a column.

File, delimiter, column, kind, values that are not empty, distinct values.
"""

import csv
import json
import sys
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path

ROWS = 100_000  # looked at, of each file
KINDS = 1_000  # counted, of each column


def number(text: str) -> bool:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return False
    return value.is_finite() and abs(value.adjusted()) < 30  # "1e999" is no figure to add up


def profile(path: str) -> None:
    with Path(path).open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline()
        file.seek(0)
        delimiter = max(",;\t|", key=first.count)
        rows = csv.reader((line.replace("\0", "") for line in file), delimiter=delimiter)
        names = next(rows, [])
        values: list[set[str]] = [set() for _ in names]
        filled, numbers, points = [0] * len(names), [0] * len(names), [0] * len(names)
        for row in islice(rows, ROWS):
            for at, value in enumerate(row[: len(names)]):
                if value.strip():
                    filled[at] += 1
                    numbers[at] += number(value)
                    points[at] += "." in value
                    if len(values[at]) < KINDS:
                        values[at].add(value)
    for at, name in enumerate(names):
        kind = (
            "text" if not filled[at] or numbers[at] < filled[at] else "decimal" if points[at] else "integer"
        )
        print(json.dumps([path, delimiter, name, kind, filled[at], len(values[at])]))


csv.field_size_limit(2**31 - 1)
for argument in sys.argv[1:]:
    profile(argument)
