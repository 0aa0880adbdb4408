"""SQL of wallets and transactions. No rules."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, func, insert, select, update

from trove_agents.server.db import Connection
from trove_agents.server.db.tables import wallet_entries, wallet_transactions, wallets
from trove_agents.server.wallets.ledger import Counters
from trove_agents.server.wallets.paging import Asked, Paged
from trove_agents.server.wallets.tallies import About
from trove_agents.wire.wallets import Pagination

_w, _t, _e = wallets.c, wallet_transactions.c, wallet_entries.c
_WALLET: Final = (
    _w.id,
    _w.owner,
    _w.ancestors,
    _w.agent,
    _w.name,
    _w.budget,
    _w.spent,
    _w.held,
    _w.in_doubt,
    _w.transactions,
    _w.frozen_us,
    _w.limits,
    _w.created_us,
    _w.namespace,
)
_ONE: Final = select(*_WALLET).where(_w.id == bindparam("key"))
_BY_AGENT: Final = select(_w.id).where(_w.owner == bindparam("by"), _w.agent == bindparam("name"))
_OWN: Final = Paged(_WALLET, _w.owner == bindparam("by"), order=_w.id)
_OWN_ONE: Final = Paged(_WALLET, _w.owner == bindparam("by"), _w.id == bindparam("only"), order=_w.id)
_RENAME: Final = update(wallets).where(_w.id == bindparam("key")).values(name=bindparam("text"))
_FREEZE: Final = update(wallets).where(_w.id == bindparam("key")).values(frozen_us=bindparam("since"))
_SET_LIMITS: Final = update(wallets).where(_w.id == bindparam("key")).values(limits=bindparam("rules"))
_ABOUT: Final = select(_e.vendor, _e.tool, _e.run, _e.thread, _e.authorised_us).where(
    _e.wallet == bindparam("of"), _e.transaction == bindparam("key")
)
_ADD: Final = insert(wallets)
_ADD_TRANSACTION: Final = insert(wallet_transactions)
_TRANSACTION: Final = (
    _t.id,
    _t.wallet,
    _t.kind,
    _t.amount,
    _t.description,
    _t.vendor,
    _t.hold,
    _t.refunds,
    _t.created_us,
)
_ONE_TRANSACTION: Final = select(*_TRANSACTION).where(_t.id == bindparam("key"))
_REFUNDED: Final = select(func.coalesce(func.sum(_t.amount), 0)).where(_t.refunds == bindparam("of"))
_PAGE: Final = (
    select(*_TRANSACTION)
    .select_from(wallet_entries.join(wallet_transactions, _t.id == _e.transaction))
    .where(_e.wallet == bindparam("of"))
    .order_by(_e.seq.desc())
    .limit(bindparam("count"))
    .offset(bindparam("skip"))
)


@dataclass(frozen=True, slots=True)
class WalletRow:
    """A wallet as it was read."""

    id: int
    owner: int
    ancestors: tuple[int, ...]
    """From the root to the parent."""
    agent: str
    name: str
    counters: Counters
    transactions: int
    frozen_us: int | None
    limits: str | None
    """JSON."""
    created_us: int
    namespace: str | None
    """The agent's."""

    @property
    def path(self) -> list[int]:
        """The wallets that a movement of its changes."""
        return [*self.ancestors, self.id]

    @property
    def root(self) -> int:
        return self.path[0]


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """A transaction: written once, never changed."""

    id: int
    wallet: int
    kind: str
    amount: int
    description: str | None
    vendor: str | None
    hold: int | None
    refunds: int | None
    """The transaction that it gives back from."""
    created_us: int


def wallet(db: Connection, identity: int) -> WalletRow | None:
    """A wallet of anybody's."""
    row = db.one(_ONE, key=identity)
    return None if row is None else _wallet(row)


def path_of(ancestors: str) -> list[int]:
    """The ancestors of a wallet as its row has them."""
    above: list[int] = json.loads(ancestors)
    return above


def by_agent(tx: Connection, owner: int, agent: str) -> int | None:
    """The wallet that a key has for an agent."""
    row = tx.one(_BY_AGENT, by=owner, name=agent)
    return None if row is None else row[0]


def own(db: Connection, owner: int, asked: Asked, *, only: int | None) -> tuple[list[WalletRow], Pagination]:
    """A page of the wallets of a key, oldest first; or of one of them alone."""
    if only is None:
        rows, place = _OWN.read(db, asked, by=owner)
    else:
        rows, place = _OWN_ONE.read(db, asked, by=owner, only=only)
    return [_wallet(row) for row in rows], place


def rename(tx: Connection, identity: int, name: str) -> None:
    """Gives a wallet another name."""
    tx.run(_RENAME, key=identity, text=name)


def freeze(tx: Connection, identity: int, since_us: int | None) -> None:
    """From when on nothing more can be taken; None: it can."""
    tx.run(_FREEZE, key=identity, since=since_us)


def set_limits(tx: Connection, identity: int, limits: str) -> None:
    """Puts other limits in the place of those that were."""
    tx.run(_SET_LIMITS, key=identity, rules=limits)


def about(tx: Connection, spent: "TransactionRow") -> About:
    """What a transaction was for."""
    row = tx.one(_ABOUT, of=spent.wallet, key=spent.id)
    assert row is not None, "every transaction has its row in the ledger"
    return About(*row)


def add(
    tx: Connection,
    *,
    owner: int,
    ancestors: Sequence[int],
    agent: str,
    name: str,
    budget: int,
    namespace: str | None,
    created_us: int,
) -> WalletRow:
    """A new wallet, of which nothing was spent."""
    counters = Counters(budget, 0, 0, 0)
    identity = tx.insert(
        _ADD,
        owner=owner,
        ancestors=json.dumps(ancestors),
        agent=agent,
        name=name,
        budget=budget,
        spent=0,
        held=0,
        in_doubt=0,
        entries=0,
        transactions=0,
        created_us=created_us,
        namespace=namespace,
    )
    return WalletRow(
        identity, owner, tuple(ancestors), agent, name, counters, 0, None, None, created_us, namespace
    )


def add_transaction(
    tx: Connection,
    *,
    wallet: int,
    kind: str,
    amount: int,
    description: str | None,
    vendor: str | None,
    created_us: int,
    hold: int | None = None,
    refunds: int | None = None,
) -> TransactionRow:
    """A new transaction."""
    identity = tx.insert(
        _ADD_TRANSACTION,
        wallet=wallet,
        kind=kind,
        amount=amount,
        description=description,
        vendor=vendor,
        hold=hold,
        refunds=refunds,
        created_us=created_us,
    )
    return TransactionRow(identity, wallet, kind, amount, description, vendor, hold, refunds, created_us)


def transaction(tx: Connection, identity: int) -> TransactionRow | None:
    """A transaction of anybody's, which nobody else refunds until this transaction ends."""
    row = tx.locked(_ONE_TRANSACTION, key=identity)
    return None if row is None else TransactionRow(*row)


def refunded(tx: Connection, identity: int) -> int:
    """What was given back from a transaction."""
    row = tx.one(_REFUNDED, of=identity)
    return 0 if row is None else int(row[0])


def page(db: Connection, wallet: int, *, skip: int, count: int) -> list[TransactionRow]:
    """The transactions that changed a wallet's counters, newest first."""
    return [TransactionRow(*row) for row in db.all(_PAGE, of=wallet, skip=skip, count=count)]


def _wallet(row: tuple[Any, ...]) -> WalletRow:
    identity, owner, ancestors, agent, name, budget, spent, held, in_doubt, *rest = row
    counters = Counters(budget, spent, held, in_doubt)
    return WalletRow(identity, owner, tuple(path_of(ancestors)), agent, name, counters, *rest)
