"""SQL of holds, and what they are by the clock. A hold that has run out is so at once, whenever it is swept."""

from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import bindparam, insert, select, update

from trove_agents.server.db import Connection
from trove_agents.server.db.tables import wallet_holds, wallets
from trove_agents.server.wallets.ledger import About
from trove_agents.wire.wallets import HoldState, OnExpiry

LISTED: Final = 500
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
_OF: Final = select(*_HOLD).where(_h.wallet == bindparam("of")).order_by(_h.id.desc()).limit(LISTED)
_OF_STATE: Final = (
    select(*_HOLD)
    .where(_h.wallet == bindparam("of"), _h.state == bindparam("was"))
    .order_by(_h.id.desc())
    .limit(LISTED)
)
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


def of(db: Connection, wallet: int, *, state: HoldState | None, now_us: int) -> list[HoldRow]:
    """The newest holds of a wallet that are in a state by the clock."""
    if state is None:
        return [HoldRow(*row) for row in db.all(_OF, of=wallet)]
    found = db.all(_OF_STATE, of=wallet, was=state)
    if state in {"expired", "in_doubt"}:
        found += db.all(_OF_STATE, of=wallet, was="held")  # what has run out and was not swept
    rows = sorted((HoldRow(*row) for row in found), key=lambda row: -row.id)
    return [row for row in rows if row.state_at(now_us) == state][:LISTED]


def end(tx: Connection, row: HoldRow, state: HoldState, *, captured: int = 0) -> bool:
    """Whether the hold was in the state that was read, and is in the new one now."""
    return tx.run(_END, key=row.id, was=row.state, now=state, took=captured) == 1


def extend(tx: Connection, row: HoldRow, until_us: int) -> bool:
    """Whether the hold was still held, and is until then."""
    return tx.run(_EXTEND, key=row.id, until=until_us) == 1


def over(db: Connection, *, now_us: int, root: int | None = None) -> list[int]:
    """Holds that have run out and were not swept: of a root and all below it, or the first of all."""
    rows = db.all(_OVER, now=now_us) if root is None else db.all(_OVER_OF_ROOT, top=root, now=now_us)
    return [cast("int", identity) for (identity,) in rows]


def unswept(db: Connection, root: int, *, now_us: int) -> list[tuple[int, int, OnExpiry, str]]:
    """Of the same: wallet, amount, what follows, and the wallet's ancestors as JSON."""
    return cast("list[tuple[int, int, OnExpiry, str]]", db.all(_OVER_BELOW, top=root, now=now_us))
