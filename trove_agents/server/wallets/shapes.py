"""From rows to what the wire shows."""

from typing import cast

import msgspec

from trove_agents.server.wallets.holding import HoldRow
from trove_agents.server.wallets.ledger import Counters
from trove_agents.server.wallets.store import TransactionRow, WalletRow
from trove_agents.wire import times
from trove_agents.wire.money import from_micros
from trove_agents.wire.wallets import (
    Balance,
    Hold,
    SpentWallet,
    Transaction,
    TransactionKind,
    Wallet,
    WalletName,
)


def wallet(row: WalletRow) -> Wallet:
    """A wallet."""
    return Wallet(
        id=row.id,
        agent_id=row.agent,
        name=row.name,
        budget_limit_usd=from_micros(row.counters.budget),
        budget_limit_micros=row.counters.budget,
        balance_usd=from_micros(row.counters.spent),
        balance_micros=row.counters.spent,
        parent_id=row.ancestors[-1] if row.ancestors else None,
        frozen=row.frozen_us is not None,
        namespace=row.namespace,
        created_at=times.whole_second(row.created_us),
    )


def name(row: WalletRow) -> WalletName:
    """Which wallet it is."""
    return WalletName(id=row.id, agent_id=row.agent, name=row.name)


def balance(counters: Counters, transactions: int) -> Balance:
    """The counters under the names of the public service and of our own."""
    return Balance(
        current_balance=from_micros(counters.spent),
        total_spent=from_micros(counters.spent),
        remaining_budget=from_micros(counters.remaining),
        transaction_count=transactions,
        budget_micros=counters.budget,
        spent_micros=counters.spent,
        held_micros=counters.held,
        in_doubt_micros=counters.in_doubt,
        remaining_micros=counters.remaining,
        held_usd=from_micros(counters.held),
        in_doubt_usd=from_micros(counters.in_doubt),
    )


def hold(row: HoldRow, now_us: int) -> Hold:
    """A hold as it is by the clock."""
    return Hold(
        id=row.id,
        wallet_id=row.wallet,
        amount_usd=from_micros(row.amount),
        amount_micros=row.amount,
        captured_usd=from_micros(row.captured),
        captured_micros=row.captured,
        state=row.state_at(now_us),
        on_expiry=row.on_expiry,
        expires_at=times.from_micros(row.expires_us),
        description=row.description,
        vendor=row.vendor,
        tool=row.tool,
        metadata=None if row.metadata is None else msgspec.json.decode(row.metadata),
        created_at=times.whole_second(row.created_us),
    )


def transaction(row: TransactionRow) -> Transaction:
    """A transaction."""
    return Transaction(
        id=row.id,
        wallet_id=row.wallet,
        amount_usd=from_micros(row.amount),
        amount_micros=row.amount,
        description=row.description,
        vendor=row.vendor,
        type=cast("TransactionKind", row.kind),
        hold_id=row.hold,
        refunds=row.refunds,
        created_at=times.whole_second(row.created_us),
    )


def spent(identity: int, counters: Counters) -> SpentWallet:
    """A wallet after a movement."""
    return SpentWallet(id=identity, balance_usd=from_micros(counters.spent), balance_micros=counters.spent)
