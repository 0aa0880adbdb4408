"""Events of wallets, in the feed of the workspace that their key belongs to."""

from typing import Any

from trove_agents.server.db import Connection
from trove_agents.server.events import service as events
from trove_agents.server.wallets.holding import HoldRow
from trove_agents.server.wallets.keys import WalletPrincipal
from trove_agents.server.wallets.ledger import Counters
from trove_agents.server.wallets.refusals import InsufficientFunds
from trove_agents.server.wallets.store import TransactionRow, WalletRow
from trove_agents.wire.money import from_micros
from trove_agents.wire.wallets import Approval

_LOW = 10
"""``wallet.low`` when less than one in so many of the budget remains."""


def held(
    tx: Connection,
    principal: WalletPrincipal,
    wallet: WalletRow,
    hold: HoldRow,
    after: Counters,
    *,
    now_ns: int,
) -> None:
    """Money is kept for a payment."""
    data = {**_about(wallet, hold.amount), "hold_id": hold.id, **_left(after)}
    _record(tx, principal, wallet, "wallet.hold", data, now_ns=now_ns)
    _perhaps_low(tx, principal, wallet, hold.amount, after, now_ns=now_ns)


def voided(
    tx: Connection,
    principal: WalletPrincipal,
    wallet: WalletRow,
    hold: HoldRow,
    after: Counters,
    *,
    now_ns: int,
) -> None:
    """What was kept for a payment was given back."""
    data = {**_about(wallet, hold.amount), "hold_id": hold.id, **_left(after)}
    _record(tx, principal, wallet, "wallet.voided", data, now_ns=now_ns)


def captured(
    tx: Connection,
    principal: WalletPrincipal,
    wallet: WalletRow,
    transaction: TransactionRow,
    after: Counters,
    *,
    now_ns: int,
) -> None:
    """Money was spent."""
    about = {"transaction_id": transaction.id, "hold_id": transaction.hold}
    data = {**_about(wallet, transaction.amount), **about, **_left(after)}
    _record(tx, principal, wallet, "wallet.captured", data, now_ns=now_ns)
    if transaction.hold is None:  # a hold has lowered what remains before
        _perhaps_low(tx, principal, wallet, transaction.amount, after, now_ns=now_ns)


def denied(
    tx: Connection, principal: WalletPrincipal, wallet: WalletRow, refusal: InsufficientFunds, *, now_ns: int
) -> None:
    """A payment was refused."""
    data = {
        **_about(wallet, refusal.requested),
        "remaining_usd": from_micros(refusal.remaining),
        "remaining_micros": refusal.remaining,
        "limiting_rule": refusal.rule,
    }
    _record(tx, principal, wallet, "wallet.denied", data, now_ns=now_ns)


def approval(
    tx: Connection, principal: WalletPrincipal, wallet: WalletRow, shown: Approval, *, now_ns: int
) -> None:
    """A person is asked, or has answered: the state says which."""
    data = {
        "wallet_id": shown.wallet_id,
        "approval_id": shown.id,
        "state": shown.state,
        "max_amount_usd": shown.max_amount_usd,
        "max_amount_micros": shown.max_amount_micros,
    }
    _record(tx, principal, wallet, "wallet.approval", data, now_ns=now_ns)


def _perhaps_low(
    tx: Connection,
    principal: WalletPrincipal,
    wallet: WalletRow,
    taken: int,
    after: Counters,
    *,
    now_ns: int,
) -> None:
    """Once, when the mark is passed."""
    if after.remaining * _LOW < after.budget <= (after.remaining + taken) * _LOW:
        data = {"wallet_id": wallet.id, "agent_id": wallet.agent, **_left(after)}
        _record(tx, principal, wallet, "wallet.low", data, now_ns=now_ns)


def _about(wallet: WalletRow, amount: int) -> dict[str, Any]:
    return {
        "wallet_id": wallet.id,
        "agent_id": wallet.agent,
        "amount_usd": from_micros(amount),
        "amount_micros": amount,
    }


def _left(after: Counters) -> dict[str, Any]:
    return {"remaining_usd": from_micros(after.remaining), "remaining_micros": after.remaining}


def _record(
    tx: Connection,
    principal: WalletPrincipal,
    wallet: WalletRow,
    kind: str,
    data: dict[str, Any],
    *,
    now_ns: int,
) -> None:
    events.record(tx, principal=principal, namespace=wallet.namespace, kind=kind, data=data, now_ns=now_ns)
