"""Conditions and ranges of HTTP (RFC 9110, 13 and 14). An entry's tag is the version that put it there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trove_agents.server.db import Connection
from trove_agents.server.errors import PreconditionFailed, RangeNotSatisfiable
from trove_agents.server.files.links import find_itself
from trove_agents.server.paths import shown
from trove_agents.server.timelines import At

_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII | re.IGNORECASE)
_TAG: Final = re.compile(r'(?:W/)?"[^"]*"')


def tag(version: int) -> str:
    """The strong entity tag of what a version put there."""
    return f'"{version}"'


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must hold for a change to be made."""

    match: str | None
    none_match: str | None

    def check(self, db: Connection, at: At, path: str) -> None:
        """Compares them with what is at a path, in the transaction that relies on it. A link counts itself.

        Raises:
            PreconditionFailed: one does not hold.
        """
        _, entry = find_itself(db, at, path)
        now = None if entry is None else tag(entry.since)
        if self.match is not None and not _matches(self.match, now, weak=False):
            state = "does not exist" if now is None else "was changed by another"
            raise PreconditionFailed(f"{shown(path)} {state}; nothing was done")
        if self.none_match is not None and _matches(self.none_match, now, weak=True):
            raise PreconditionFailed(f"{shown(path)} exists; nothing was done")


def conditions(headers: Mapping[str, str]) -> Conditions | None:
    """Of a call that changes something; None for nearly all, which have none."""
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    return None if match is None and none_match is None else Conditions(match, none_match)


def unchanged(headers: Mapping[str, str], now: str) -> bool:
    """Whether the caller of a download has these bytes already."""
    known = headers.get("if-none-match")
    return known is not None and _matches(known, now, weak=True)


def wanted(headers: Mapping[str, str], now: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last, of the one range that a download asks for; None for all of it.

    Several ranges, other units and what is no range at all count as not asked for, as HTTP allows.

    Raises:
        RangeNotSatisfiable: it begins after the end.
    """
    text = headers.get("range")
    if text is None or headers.get("if-range", now) != now:
        return None
    found = _RANGE.fullmatch(text.strip())
    if found is None or found.group(1, 2) == ("", ""):
        return None
    first, last = found.group(1, 2)
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), size if not last else min(int(last) + 1, size)
        if last and int(last) < start:
            return None
    if start >= size:
        raise RangeNotSatisfiable(f"the file has {size:,} bytes", size=size)
    return start, stop


def _matches(listed: str, now: str | None, *, weak: bool) -> bool:
    if now is None:
        return False
    if listed.strip() == "*":
        return True
    tags = _TAG.findall(listed)
    return now in tags or (weak and f"W/{now}" in tags)
