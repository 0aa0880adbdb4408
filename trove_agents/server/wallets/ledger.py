"""The ledger: every movement of money, in one statement that keeps to the budget and a row that says what it did.

A movement changes the counters of a wallet and of all its ancestors, and adds a row to each with the counters after it.
Rows are never changed, and the sums over a wallet's rows are its counters. Knows no HTTP and no keys.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import bindparam, insert, or_, select, update

from trove_agents.server.db import Connection
from trove_agents.server.db.lists import Among, integers
from trove_agents.server.db.tables import wallet_entries, wallets
from trove_agents.server.wallets.keys import WalletPrincipal

_w = wallets.c
_ROOT: Final = select(_w.id).where(_w.id == bindparam("root"))
_MOVE: Final = (
    update(wallets)
    .where(
        Among(_w.id, "path"),
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
    .returning(_w.id, _w.entries, _w.spent, _w.held, _w.in_doubt, _w.budget)
)
_SET_BUDGET: Final = (
    update(wallets)
    .where(_w.id == bindparam("key"), _w.spent + _w.held + _w.in_doubt <= bindparam("limit"))
    .values(budget=bindparam("limit"), entries=_w.entries + 1)
    .returning(_w.entries, _w.spent, _w.held, _w.in_doubt, _w.budget)
)
_ADD_ENTRY: Final = insert(wallet_entries)


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


def move(tx: Connection, path: list[int], movement: Movement) -> dict[int, tuple[int, Counters]]:
    """Changes the counters of the wallets in ``path``, which begins at the root; for each the number of the row that
    ``note`` is to add, and the counters after. A wallet that has not that much left, or is frozen, is not among them
    and as it was: then the transaction has to be given up.
    """
    if len(path) > 1:
        tx.locked(_ROOT, root=path[0])  # who shares an ancestor comes one after the other: no deadlocks
    rows = tx.all(
        _MOVE,
        path=integers(path),
        more=max(movement.more, 0),
        add_spent=movement.spent,
        add_held=movement.held,
        add_in_doubt=movement.in_doubt,
        counted=1 if movement.spent else 0,
    )
    return {
        identity: (seq, Counters(budget, spent, held, in_doubt))
        for identity, seq, spent, held, in_doubt, budget in rows
    }


def set_budget(tx: Connection, wallet: int, budget: int) -> dict[int, tuple[int, Counters]] | None:
    """As ``move``; None when more than that was spent, is held or is in doubt."""
    rows = tx.all(_SET_BUDGET, key=wallet, limit=budget)
    if not rows:
        return None
    ((seq, spent, held, in_doubt, limit),) = rows
    return {wallet: (seq, Counters(limit, spent, held, in_doubt))}


def vendor_name(vendor: str | None) -> str | None:
    """A vendor's name as limits compare it: who writes it otherwise is the same."""
    return None if vendor is None else vendor.strip().casefold()


def note(
    tx: Connection,
    moved: dict[int, tuple[int, Counters]],
    movement: Movement,
    *,
    principal: WalletPrincipal | None,
    now_us: int,
) -> None:
    """Adds the row of a movement to each of its wallets. ``principal``: None for what no key asked for."""
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
            "seq": seq,
            "spent_after": after.spent,
            "held_after": after.held,
            "in_doubt_after": after.in_doubt,
            "budget_after": after.budget,
        }
        for identity, (seq, after) in moved.items()
    ]
    tx.many(_ADD_ENTRY, rows)
