"""Limits beside the budget, looked at in the transaction of the payment while nobody else can take from the wallet.

What was taken is added up from the ledger's rows, by the time when a payment was asked for: a hold that was voided or
a purchase that was refunded counts no more, and one that was captured in part counts with that part.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET
from sqlalchemy import Select, bindparam, func, or_, select

from trove_agents.server import texts
from trove_agents.server.db import Connection
from trove_agents.server.db.tables import wallet_entries
from trove_agents.server.wallets.ledger import Movement, vendor_name
from trove_agents.server.wallets.refusals import LimitReached, amount
from trove_agents.server.wallets.store import WalletRow
from trove_agents.wire.money import to_micros
from trove_agents.wire.wallets import Limits

_e = wallet_entries.c
_SUM: Final = select(func.coalesce(func.sum(_e.spent + _e.held + _e.in_doubt), 0)).where(
    _e.wallet == bindparam("of")
)
_SINCE: Final = _SUM.where(_e.authorised_us >= bindparam("since"))
_BY: Final[dict[str, Select[Any]]] = {
    name: _SUM.where(_e[name] == bindparam("value")) for name in ("vendor", "tool", "run", "thread")
}
_CALLS: Final = select(func.count(_e.seq)).where(
    _e.wallet == bindparam("of"),
    _e.authorised_us > bindparam("since"),
    or_(_e.kind == "hold", _e.kind == "debit"),
)
_AMOUNTS: Final = (
    "per_call_usd",
    "per_day_usd",
    "per_month_usd",
    "per_run_usd",
    "per_thread_usd",
    "approval_above_usd",
)
_MINUTE_US: Final = 60_000_000


def check(tx: Connection, wallet: WalletRow, movement: Movement) -> None:
    """Refuses a payment that is over a limit, after the budget was found to suffice and before its row is there.

    Raises:
        LimitReached: it is.
    """
    if wallet.limits is None or movement.about is None:
        return
    asked = movement.more
    for rule, left in _left(tx, wallet.id, msgspec.json.decode(wallet.limits, type=Limits), movement):
        if asked > left:
            raise LimitReached(asked, max(left, 0), rule=rule, wallet_id=wallet.id)


def _left(tx: Connection, wallet: int, limits: Limits, movement: Movement) -> Iterator[tuple[str, int]]:
    """Each rule that concerns a payment, with how much it leaves."""
    about = movement.about
    assert about is not None
    vendor = vendor_name(about.vendor)
    yield from _of_vendor(limits, vendor)
    if limits.calls_per_minute is not None:
        since = about.authorised_us - _MINUTE_US
        calls = _number(tx, _CALLS, of=wallet, since=since)
        if calls >= limits.calls_per_minute:
            yield "calls_per_minute", 0
    if limits.approval_above_usd is not UNSET and not about.approved:
        yield "approval_above", to_micros(limits.approval_above_usd)
    if limits.per_call_usd is not UNSET:
        yield "per_call", to_micros(limits.per_call_usd)
    for name, start in (("per_day", _day), ("per_month", _month)):
        limit = getattr(limits, f"{name}_usd")
        if limit is not UNSET:
            used = _number(tx, _SINCE, of=wallet, since=start(about.authorised_us))
            yield name, to_micros(limit) - used
    by_vendor = {vendor_name(name): limit for name, limit in limits.per_vendor_usd.items()}
    for name, value, limit in (
        ("vendor", vendor, by_vendor.get(vendor, UNSET)),
        ("tool", about.tool, limits.per_tool_usd.get(about.tool or "", UNSET)),
        ("run", about.run, limits.per_run_usd),
        ("thread", about.thread, limits.per_thread_usd),
    ):
        if value is not None and limit is not UNSET:
            yield f"per_{name}", to_micros(limit) - _number(tx, _BY[name], of=wallet, value=value)


def _of_vendor(limits: Limits, vendor: str | None) -> Iterator[tuple[str, int]]:
    if limits.vendors_allowed is not None and vendor not in map(vendor_name, limits.vendors_allowed):
        yield "vendors_allowed", 0
    if vendor in map(vendor_name, limits.vendors_denied):
        yield "vendors_denied", 0


def _number(tx: Connection, statement: Select[Any], **values: Any) -> int:
    row = tx.one(statement, **values)
    assert row is not None
    return int(row[0])


def _day(at_us: int) -> int:
    return at_us - at_us % 86_400_000_000


def _month(at_us: int) -> int:
    moment = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    first = moment.replace(day=1, hour=0, minute=0, second=0)
    return int(first.timestamp()) * 1_000_000


def encoded(limits: Limits) -> str:
    """What is kept of limits.

    Raises:
        Unprocessable: an amount is none, or a text cannot be stored.
    """
    for name in _AMOUNTS:
        if getattr(limits, name) is not UNSET:
            amount(name, getattr(limits, name))
    for name in ("per_vendor_usd", "per_tool_usd"):
        for key, value in getattr(limits, name).items():
            texts.check(name, key)
            amount(name, value)
    for name in ("vendors_allowed", "vendors_denied"):
        for vendor in getattr(limits, name) or ():
            texts.check(name, vendor)
    return msgspec.json.encode(limits).decode()
