"""The ledger: every movement of money, in one statement that keeps to the budget and a row that says what it did.

A movement changes the counters of a wallet and of all its ancestors, and adds a row to each with the counters after it.
Rows are never changed, and the sums over a wallet's rows are its counters. Knows no HTTP and no keys.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, bindparam, insert, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from trove_agents.server.db import Connection
from trove_agents.server.db.connection import Row
from trove_agents.server.db.lists import Among, integers
from trove_agents.server.db.tables import wallet_entries, wallets
from trove_agents.server.wallets import tallies
from trove_agents.server.wallets.keys import WalletPrincipal
from trove_agents.server.wallets.tallies import About, vendor_name

_w = wallets.c
_ROOT: Final = select(_w.id).where(_w.id == bindparam("root"))
_MOVED: Final = (_w.id, _w.entries, _w.limits, _w.budget, _w.spent, _w.held, _w.in_doubt)


def _move(which: ColumnElement[Any]) -> ReturningUpdate[Any]:
    return (
        update(wallets)
        .where(
            which,
            or_(_w.frozen_us.is_(None), bindparam("more") == 0),
            # Whoever waited for the row sees it as it is then: no other statement comes between this and the change
            _w.spent + _w.held + _w.in_doubt + bindparam("more") <= _w.budget,
        )
        .values(
            spent=_w.spent + bindparam("add_spent"),
            held=_w.held + bindparam("add_held"),
            in_doubt=_w.in_doubt + bindparam("add_in_doubt"),
            entries=_w.entries + 1,
            transactions=_w.transactions + bindparam("counted"),
        )
        .returning(*_MOVED)
    )


_MOVE_ONE: Final = _move(_w.id == bindparam("key"))
_MOVE_ALL: Final = _move(Among(_w.id, "path"))
_SET_BUDGET: Final = (
    update(wallets)
    .where(_w.id == bindparam("key"), _w.spent + _w.held + _w.in_doubt <= bindparam("limit"))
    .values(budget=bindparam("limit"), entries=_w.entries + 1)
    .returning(*_MOVED)
)
_ADD_ENTRY: Final = insert(wallet_entries)


@dataclass(frozen=True, slots=True)
class Movement:
    """What is added to the counters, in micro-USD, and why."""

    kind: str
    spent: int = 0
    held: int = 0
    in_doubt: int = 0
    transaction: int | None = None
    hold: int | None = None
    about: About | None = None

    @property
    def more(self) -> int:
        """By how much it lowers what remains."""
        return self.spent + self.held + self.in_doubt


@dataclass(frozen=True, slots=True)
class Counters:
    """A wallet's five numbers, in micro-USD."""

    budget: int
    spent: int
    held: int
    in_doubt: int

    @property
    def remaining(self) -> int:
        return self.budget - self.spent - self.held - self.in_doubt


@dataclass(frozen=True, slots=True)
class Moved:
    """A wallet that a movement changed."""

    seq: int
    """The number of the row that ``note`` is to add."""
    limits: str | None
    """JSON. None: it never had any."""
    after: Counters


def move(tx: Connection, path: list[int], movement: Movement) -> dict[int, Moved]:
    """Changes the counters of the wallets in ``path``, which begins at the root, and keeps everybody else from those
    wallets until the transaction ends. A wallet that has not that much left, or is frozen, is not among those it
    returns, and as it was: then the transaction has to be given up.
    """
    values = {
        "more": max(movement.more, 0),
        "add_spent": movement.spent,
        "add_held": movement.held,
        "add_in_doubt": movement.in_doubt,
        "counted": 1 if movement.spent else 0,
    }
    if len(path) == 1:
        rows = tx.all(_MOVE_ONE, key=path[0], **values)
    else:
        lock(tx, path[0])
        rows = tx.all(_MOVE_ALL, path=integers(path), **values)
    return _moved(rows)


def lock(tx: Connection, root: int) -> None:
    """Keeps everybody else from the wallets of a tree: who shares an ancestor comes one after the other, without
    deadlocks.
    """
    tx.locked(_ROOT, root=root)


def set_budget(tx: Connection, wallet: int, budget: int) -> dict[int, Moved] | None:
    """As ``move``; None when more than that was spent, is held or is in doubt."""
    return _moved(tx.all(_SET_BUDGET, key=wallet, limit=budget)) or None


def _moved(rows: list[Row]) -> dict[int, Moved]:
    return {identity: Moved(seq, limits, Counters(*after)) for identity, seq, limits, *after in rows}


def note(
    tx: Connection,
    moved: dict[int, Moved],
    movement: Movement,
    *,
    principal: WalletPrincipal | None,
    now_us: int,
) -> None:
    """Adds the row of a movement to each of its wallets, and it to their tallies. ``principal``: None for what no key
    asked for.
    """
    step = principal.step if principal is not None else None
    about = movement.about
    common: dict[str, Any] = {
        "kind": movement.kind,
        "spent": movement.spent,
        "held": movement.held,
        "in_doubt": movement.in_doubt,
        "transaction": movement.transaction,
        "hold": movement.hold,
        "actor": principal.key if principal is not None else None,
        "step": None if step is None else msgspec.json.encode(step).decode(),
        "at_us": now_us,
        "vendor": None if about is None else vendor_name(about.vendor),
        "tool": None if about is None else about.tool,
        "run": None if about is None else about.run,
        "thread": None if about is None else about.thread,
        "authorised_us": None if about is None else about.authorised_us,
    }
    rows = [
        {
            **common,
            "wallet": identity,
            "seq": each.seq,
            "spent_after": each.after.spent,
            "held_after": each.after.held,
            "in_doubt_after": each.after.in_doubt,
            "budget_after": each.after.budget,
        }
        for identity, each in moved.items()
    ]
    tx.many(_ADD_ENTRY, rows)
    limited = [identity for identity, each in moved.items() if each.limits is not None]
    if about is not None and movement.more and limited:
        tallies.add(tx, limited, about, movement.more)
