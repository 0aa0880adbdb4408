"""What was taken from a wallet by day, month, vendor, tool, run and thread, for its limits.

Each is the sum of the ledger's rows with that name. It is added up from them when a limit first asks for it, and from then
on each movement adds to those that are there, so that no payment costs more because there were many before. Wallets that
never had limits have none.

Callers hold the wallet's row, or that of its root: nobody else moves money there meanwhile.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Select, bindparam, func, insert, select, update

from trove_agents.server.db import Connection
from trove_agents.server.db.tables import wallet_entries, wallet_tallies

TallyKind = Literal["day", "month", "vendor", "tool", "run", "thread"]
_DAY_US: Final = 86_400_000_000
_e, _t = wallet_entries.c, wallet_tallies.c
_ONE: Final = select(_t.amount).where(
    _t.wallet == bindparam("of"), _t.kind == bindparam("by"), _t.name == bindparam("called")
)
_BEGIN: Final = insert(wallet_tallies)
_ADD: Final = (
    update(wallet_tallies)
    .where(_t.wallet == bindparam("of"), _t.kind == bindparam("by"), _t.name == bindparam("called"))
    .values(amount=_t.amount + bindparam("more"))
)
_SUM: Final = select(func.coalesce(func.sum(_e.spent + _e.held + _e.in_doubt), 0)).where(
    _e.wallet == bindparam("of")
)
_IN_PERIOD: Final = _SUM.where(_e.authorised_us >= bindparam("since"), _e.authorised_us < bindparam("until"))
_NAMED: Final[dict[str, Select[Any]]] = {
    name: _SUM.where(_e[name] == bindparam("called")) for name in ("vendor", "tool", "run", "thread")
}


@dataclass(frozen=True, slots=True)
class About:
    """What a payment is for, and when it was asked for: by this limits add up what was taken."""

    vendor: str | None
    tool: str | None
    run: str | None
    thread: str | None
    authorised_us: int
    approved: bool = False
    """Whether a person said yes to this payment."""


def vendor_name(vendor: str | None) -> str | None:
    """A vendor's name as limits compare it: who writes it otherwise is the same."""
    return None if vendor is None else vendor.strip().casefold()


def names(about: About) -> dict[TallyKind, str]:
    """The tallies that a payment belongs to."""
    date = datetime.fromtimestamp(about.authorised_us // 1_000_000, UTC).date().isoformat()
    found: dict[TallyKind, str | None] = {
        "day": date,
        "month": date[:7],
        "vendor": vendor_name(about.vendor),
        "tool": about.tool,
        "run": about.run,
        "thread": about.thread,
    }
    return {kind: name for kind, name in found.items() if name is not None}


def add(tx: Connection, wallets: Iterable[int], about: About, more: int) -> None:
    """A movement took ``more`` micro-USD, or gave them back."""
    mine = names(about).items()
    rows = [
        {"of": wallet, "by": kind, "called": name, "more": more} for wallet in wallets for kind, name in mine
    ]
    tx.many(_ADD, rows)


def taken(tx: Connection, wallet: int, about: About, kinds: Sequence[TallyKind]) -> dict[TallyKind, int]:
    """Micro-USD taken until now; of the kinds that the payment belongs to. What was not there is from now on."""
    named = names(about)
    wanted = [(kind, named[kind]) for kind in kinds if kind in named]
    rows = tx.each(_ONE, [{"of": wallet, "by": kind, "called": name} for kind, name in wanted])
    found: dict[TallyKind, int] = {}
    for (kind, name), row in zip(wanted, rows, strict=True):
        if row is None:
            found[kind] = _sum(tx, wallet, about, kind, name)
            tx.later(_BEGIN, wallet=wallet, kind=kind, name=name, amount=found[kind])
        else:
            found[kind] = int(row[0])
    return found


def _sum(tx: Connection, wallet: int, about: About, kind: TallyKind, name: str) -> int:
    if kind in _NAMED:
        row = tx.one(_NAMED[kind], of=wallet, called=name)
    else:
        since, until = (_day if kind == "day" else _month)(about.authorised_us)
        row = tx.one(_IN_PERIOD, of=wallet, since=since, until=until)
    assert row is not None
    return int(row[0])


def _day(at_us: int) -> tuple[int, int]:
    """Its begin and the next one's."""
    start = at_us - at_us % _DAY_US
    return start, start + _DAY_US


def _month(at_us: int) -> tuple[int, int]:
    first = datetime.fromtimestamp(at_us // 1_000_000, UTC).replace(day=1, hour=0, minute=0, second=0)
    following = (first + timedelta(days=31)).replace(day=1)
    return int(first.timestamp()) * 1_000_000, int(following.timestamp()) * 1_000_000
