"""SQL of holds, and what they are by the clock. A hold that has run out is so at once, whenever it is swept."""

from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import and_, bindparam, insert, or_, select, update

from trove_agents.server.db import Connection, Stale
from trove_agents.server.db.tables import wallet_holds, wallets
from trove_agents.server.wallets.paging import Paged
from trove_agents.server.wallets.tallies import About
from trove_agents.wire.wallets import HoldsQuery, HoldState, OnExpiry, Pagination

_h = wallet_holds.c
_HOLD: Final = (
    _h.id,
    _h.wallet,
    _h.amount,
    _h.captured,
    _h.state,
    _h.on_expiry,
    _h.expires_us,
    _h.description,
    _h.vendor,
    _h.tool,
    _h.metadata,
    _h.run,
    _h.thread,
    _h.created_us,
)
_ADD: Final = insert(wallet_holds)
_ONE: Final = select(*_HOLD).where(_h.id == bindparam("key"))
_OF: Final = (_h.wallet == bindparam("of"), _h.id < bindparam("before"))
_OVER_WITH: Final = and_(
    _h.state == "held", _h.expires_us <= bindparam("now"), _h.on_expiry == bindparam("then")
)
_ALL: Final = Paged(_HOLD, *_OF, order=_h.id.desc())
_IN_STATE: Final = Paged(_HOLD, *_OF, _h.state == bindparam("was"), order=_h.id.desc())
_HELD: Final = Paged(_HOLD, *_OF, _h.state == "held", _h.expires_us > bindparam("now"), order=_h.id.desc())
_ENDED: Final = Paged(_HOLD, *_OF, or_(_h.state == bindparam("was"), _OVER_WITH), order=_h.id.desc())
"""Of a state that running out leads to too, also what has run out and was not swept."""
_ON_EXPIRY: Final[dict[HoldState, OnExpiry]] = {"expired": "void", "in_doubt": "doubt"}
_END: Final = (
    update(wallet_holds)
    .where(_h.id == bindparam("key"), _h.state == bindparam("was"))
    .values(state=bindparam("now"), captured=bindparam("took"))
)
_EXTEND: Final = (
    update(wallet_holds)
    .where(_h.id == bindparam("key"), _h.state == "held")
    .values(expires_us=bindparam("until"))
)
_OVER_BELOW: Final = (
    select(_h.wallet, _h.amount, _h.on_expiry, wallets.c.ancestors)
    .select_from(wallet_holds.join(wallets, wallets.c.id == _h.wallet))
    .where(_h.root == bindparam("top"), _h.state == "held", _h.expires_us <= bindparam("now"))
)
_OVER_OF_ROOT: Final = select(_h.id).where(
    _h.root == bindparam("top"), _h.state == "held", _h.expires_us <= bindparam("now")
)
_OVER: Final = (
    select(_h.id)
    .where(_h.state == "held", _h.expires_us <= bindparam("now"))
    .order_by(_h.expires_us)
    .limit(100)
)


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A hold as it was read."""

    id: int
    wallet: int
    amount: int
    captured: int
    state: HoldState
    on_expiry: OnExpiry
    expires_us: int
    description: str | None
    vendor: str | None
    tool: str | None
    metadata: str | None
    run: str | None
    thread: str | None
    created_us: int

    @property
    def about(self) -> About:
        """What it is for."""
        return About(self.vendor, self.tool, self.run, self.thread, self.created_us)

    def state_at(self, now_us: int) -> HoldState:
        """The state by the clock."""
        if self.state != "held" or now_us < self.expires_us:
            return self.state
        return "expired" if self.on_expiry == "void" else "in_doubt"


def add(tx: Connection, *, root: int, **values: Any) -> HoldRow:
    """A new hold. The money was taken from the counters before."""
    fresh = {**values, "state": "held", "captured": 0}
    return HoldRow(id=tx.insert(_ADD, root=root, **fresh), **fresh)


def hold(tx: Connection, identity: int) -> HoldRow | None:
    """A hold of anybody's, which in a writing transaction nobody else ends before that ends."""
    row = tx.locked(_ONE, key=identity)
    return None if row is None else HoldRow(*row)


def of(db: Connection, wallet: int, query: HoldsQuery, *, now_us: int) -> tuple[list[HoldRow], Pagination]:
    """A page of a wallet's holds that are in a state by the clock, newest first."""
    which = {"of": wallet, "before": query.before}
    if query.state is None:
        rows, place = _ALL.read(db, query, **which)
    elif query.state == "held":
        rows, place = _HELD.read(db, query, **which, now=now_us)
    elif (then := _ON_EXPIRY.get(query.state)) is not None:
        rows, place = _ENDED.read(db, query, **which, was=query.state, then=then, now=now_us)
    else:
        rows, place = _IN_STATE.read(db, query, **which, was=query.state)
    return [HoldRow(*row) for row in rows], place


def end(tx: Connection, row: HoldRow, state: HoldState, *, captured: int = 0) -> None:
    """The hold, which was read in this transaction, is in the new state now."""
    changed = Stale(f"hold {row.id} was changed")
    tx.exactly(_END, changed, key=row.id, was=row.state, now=state, took=captured)


def extend(tx: Connection, row: HoldRow, until_us: int) -> None:
    """The hold, which was read in this transaction and is held, is so until then."""
    tx.exactly(_EXTEND, Stale(f"hold {row.id} was changed"), key=row.id, until=until_us)


def over(db: Connection, *, now_us: int, root: int | None = None) -> list[int]:
    """Holds that have run out and were not swept: of a root and all below it, or the first of all."""
    rows = db.all(_OVER, now=now_us) if root is None else db.all(_OVER_OF_ROOT, top=root, now=now_us)
    return [cast("int", identity) for (identity,) in rows]


def unswept(db: Connection, root: int, *, now_us: int) -> list[tuple[int, int, OnExpiry, str]]:
    """Of the same: wallet, amount, what follows, and the wallet's ancestors as JSON."""
    return cast("list[tuple[int, int, OnExpiry, str]]", db.all(_OVER_BELOW, top=root, now=now_us))
