"""SQL of wallets and transactions. No rules."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, insert, select

from trove_agents.server.db import Connection
from trove_agents.server.db.tables import wallet_entries, wallet_transactions, wallets
from trove_agents.server.wallets.ledger import Counters

_w, _t, _e = wallets.c, wallet_transactions.c, wallet_entries.c
_WALLET: Final = (
    _w.id,
    _w.owner,
    _w.agent,
    _w.name,
    _w.budget,
    _w.spent,
    _w.held,
    _w.in_doubt,
    _w.transactions,
    _w.created_us,
)
_ONE: Final = select(*_WALLET).where(_w.id == bindparam("key"))
_BY_AGENT: Final = select(_w.id).where(_w.owner == bindparam("by"), _w.agent == bindparam("name"))
_ADD: Final = insert(wallets)
_ADD_TRANSACTION: Final = insert(wallet_transactions)
_TRANSACTION: Final = (_t.id, _t.wallet, _t.kind, _t.amount, _t.description, _t.vendor, _t.created_us)
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
    agent: str
    name: str
    counters: Counters
    transactions: int
    created_us: int

    @property
    def path(self) -> list[int]:
        """The wallets that a movement of its changes."""
        return [self.id]


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """A transaction: written once, never changed."""

    id: int
    wallet: int
    kind: str
    amount: int
    description: str | None
    vendor: str | None
    created_us: int


def wallet(db: Connection, identity: int) -> WalletRow | None:
    """A wallet of anybody's."""
    row = db.one(_ONE, key=identity)
    return None if row is None else _wallet(row)


def by_agent(tx: Connection, owner: int, agent: str) -> int | None:
    """The wallet that a key has for an agent."""
    row = tx.one(_BY_AGENT, by=owner, name=agent)
    return None if row is None else row[0]


def add(tx: Connection, *, owner: int, agent: str, name: str, budget: int, created_us: int) -> WalletRow:
    """A new wallet, of which nothing was spent."""
    counters = Counters(budget, 0, 0, 0)
    identity = tx.insert(
        _ADD,
        owner=owner,
        agent=agent,
        name=name,
        budget=budget,
        spent=0,
        held=0,
        in_doubt=0,
        entries=0,
        transactions=0,
        created_us=created_us,
    )
    return WalletRow(identity, owner, agent, name, counters, 0, created_us)


def add_transaction(
    tx: Connection,
    *,
    wallet: int,
    kind: str,
    amount: int,
    description: str | None,
    vendor: str | None,
    created_us: int,
) -> TransactionRow:
    """A new transaction."""
    identity = tx.insert(
        _ADD_TRANSACTION,
        wallet=wallet,
        kind=kind,
        amount=amount,
        description=description,
        vendor=vendor,
        created_us=created_us,
    )
    return TransactionRow(identity, wallet, kind, amount, description, vendor, created_us)


def page(db: Connection, wallet: int, *, skip: int, count: int) -> list[TransactionRow]:
    """The transactions that changed a wallet's counters, newest first."""
    return [TransactionRow(*row) for row in db.all(_PAGE, of=wallet, skip=skip, count=count)]


def _wallet(row: tuple[Any, ...]) -> WalletRow:
    identity, owner, agent, name, budget, spent, held, in_doubt, transactions, created_us = row
    counters = Counters(budget, spent, held, in_doubt)
    return WalletRow(identity, owner, agent, name, counters, transactions, created_us)
