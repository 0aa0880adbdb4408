"""Movements that nothing can refuse: what follows when a hold has run out, and when its outcome is not known."""

from trove_agents.server.db import Connection, Database
from trove_agents.server.wallets import holding, store
from trove_agents.server.wallets.holding import HoldRow
from trove_agents.server.wallets.keys import WalletPrincipal
from trove_agents.server.wallets.ledger import Counters, Movement, move, note
from trove_agents.server.wallets.store import WalletRow


def settle(database: Database, hold_id: int) -> None:
    """What follows when a hold has run out; nothing if that was done, or it lasts longer now."""

    def commit(tx: Connection) -> None:
        now_us = database.now_ns() // 1000
        row = holding.hold(tx, hold_id)
        if row is None or row.state != "held" or now_us < row.expires_us:
            return
        wallet = store.wallet(tx, row.wallet)
        assert wallet is not None, "wallets are never deleted"
        if row.on_expiry == "doubt":
            to_doubt(tx, None, wallet, row, now_us=now_us)
            return
        holding.end(tx, row, "expired")
        shift(
            tx,
            None,
            wallet,
            Movement("expired", held=-row.amount, hold=row.id, about=row.about),
            now_us=now_us,
        )

    database.write(commit)


def to_doubt(
    tx: Connection, principal: WalletPrincipal | None, wallet: WalletRow, row: HoldRow, *, now_us: int
) -> Counters:
    """Nobody knows whether what is held was paid. The wallet's counters after."""
    holding.end(tx, row, "in_doubt")
    movement = Movement("in_doubt", held=-row.amount, in_doubt=row.amount, hold=row.id, about=row.about)
    return shift(tx, principal, wallet, movement, now_us=now_us)


def shift(
    tx: Connection, principal: WalletPrincipal | None, wallet: WalletRow, movement: Movement, *, now_us: int
) -> Counters:
    """A movement that leaves no less than before. The wallet's counters after."""
    moved = move(tx, wallet.path, movement)
    assert len(moved) == len(wallet.path), "what leaves no less is never refused"
    note(tx, moved, movement, principal=principal, now_us=now_us)
    return moved[wallet.id].after
