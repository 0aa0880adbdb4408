"""What purchases and holds share: whose wallet it is, and taking money or saying why not."""

from collections.abc import Callable
from typing import TypeVar

from trove_agents.server.db import Connection, Database, Stale
from trove_agents.server.errors import NotFound
from trove_agents.server.wallets import announcements, holding, limits, store
from trove_agents.server.wallets.keys import WalletPrincipal
from trove_agents.server.wallets.ledger import Counters, Moved, Movement, lock, move
from trove_agents.server.wallets.refusals import InsufficientFunds, LimitReached
from trove_agents.server.wallets.settling import settle
from trove_agents.server.wallets.store import WalletRow
from trove_agents.wire.wallets import LARGEST_ID

T = TypeVar("T")


def find(db: Connection, principal: WalletPrincipal, wallet_id: int) -> WalletRow:
    """A wallet of the caller's.

    Raises:
        NotFound: there is none, or it is another key's: the two look the same.
    """
    row = store.wallet(db, wallet_id) if wallet_id <= LARGEST_ID else None
    if row is None or row.owner != principal.owner or principal.wallet not in {None, row.id}:
        raise NotFound("wallet not found")
    return row


def counters_now(db: Connection, wallet: WalletRow, counters: Counters, *, now_us: int) -> Counters:
    """The counters by the clock: without what holds keep that have run out and were not swept yet."""
    held, in_doubt = counters.held, counters.in_doubt
    for holder, amount, on_expiry, ancestors in holding.unswept(db, wallet.root, now_us=now_us):
        if holder == wallet.id or wallet.id in store.path_of(ancestors):
            held -= amount
            in_doubt += amount if on_expiry == "doubt" else 0
    return Counters(counters.budget, counters.spent, held, in_doubt)


def take(tx: Connection, wallet: WalletRow, movement: Movement) -> dict[int, Moved]:
    """Takes from a wallet and all its ancestors.

    Raises:
        InsufficientFunds: one of them has not that much left, is frozen, or has a limit that does not allow it.
        Stale: where others write beside this transaction, one had too little and has enough now.
    """
    moved = move(tx, wallet.path, movement)
    if len(moved) == len(wallet.path):
        for identity in wallet.path:
            limits.check(tx, identity, moved[identity].limits, movement)
        return moved
    rows = [
        row
        for identity in wallet.path
        if identity not in moved and (row := store.wallet(tx, identity)) is not None
    ]
    short = min(rows, key=lambda row: row.counters.remaining)
    remaining = short.counters.remaining
    if any(row.frozen_us is not None for row in rows):
        raise InsufficientFunds(movement.more, remaining, rule="frozen")
    if remaining >= movement.more:  # as it would be told, it would have been wrong to refuse
        raise Stale("between the two statements somebody gave back, or thawed a wallet")
    rule = "budget" if short.id == wallet.id else "parent_budget"
    raise InsufficientFunds(movement.more, remaining, rule=rule)


def spend(
    database: Database, principal: WalletPrincipal, wallet_id: int, commit: Callable[[Connection], T]
) -> T:
    """Runs ``commit``; when there is too little, once more without what was held by holds that have run out.

    Raises:
        InsufficientFunds: from ``commit``; the feed has it too.
    """
    try:
        return database.write(commit)
    except InsufficientFunds as refusal:
        with database.read() as db:
            wallet = find(db, principal, wallet_id)
            over = holding.over(db, now_us=database.now_ns() // 1000, root=wallet.root)
        for hold_id in over:
            settle(database, hold_id)
        if not over:
            _denied(database, principal, wallet_id, refusal)
            raise
    try:
        return database.write(commit)
    except InsufficientFunds as refusal:
        _denied(database, principal, wallet_id, refusal)
        raise


def _denied(
    database: Database, principal: WalletPrincipal, wallet_id: int, refusal: InsufficientFunds
) -> None:
    """In a transaction of its own: that of the payment was given up."""

    def commit(tx: Connection) -> None:
        wallet = find(tx, principal, wallet_id)
        if isinstance(refusal, LimitReached):
            lock(tx, wallet.root)
            for identity in wallet.path:
                if (row := store.wallet(tx, identity)) is not None:
                    limits.remember(tx, identity, row.limits, refusal.about)
        announcements.denied(tx, principal, wallet, refusal, now_ns=database.now_ns())

    database.write(commit, durable=False)
