"""Limits beside the budget, looked at in the transaction of the payment while nobody else can take from the wallet.

What was taken counts by the time when a payment was asked for: a hold that was voided or a purchase that was refunded
counts no more, and one that was captured in part counts with that part.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import bindparam, func, literal, or_, select

from trove_agents.server import texts
from trove_agents.server.db import Connection
from trove_agents.server.db.tables import wallet_entries
from trove_agents.server.wallets import tallies
from trove_agents.server.wallets.ledger import Movement
from trove_agents.server.wallets.refusals import LimitReached, amount
from trove_agents.server.wallets.tallies import About, TallyKind, vendor_name
from trove_agents.wire.money import Usd, to_micros
from trove_agents.wire.wallets import Limits

_e = wallet_entries.c
_CALLS: Final = select(func.count()).select_from(
    select(literal(1))
    .where(
        _e.wallet == bindparam("of"),
        _e.authorised_us > bindparam("since"),
        or_(_e.kind == "hold", _e.kind == "debit"),
    )
    .limit(bindparam("most"))
    .subquery()
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


def check(tx: Connection, wallet: int, kept: str | None, movement: Movement) -> None:
    """Refuses a payment that is over a limit, after the budget was found to suffice and before its row is there.

    Args:
        tx: The transaction of the payment.
        wallet: Which.
        kept: Its limits.
        movement: The payment.

    Raises:
        LimitReached: it is.
    """
    about = movement.about
    if kept is None or about is None:
        return
    asked = movement.more
    for rule, left in _left(tx, wallet, msgspec.json.decode(kept, type=Limits), about):
        if asked > left:
            raise LimitReached(asked, max(left, 0), rule=rule, wallet_id=wallet, about=about)


def remember(tx: Connection, wallet: int, kept: str | None, about: About) -> None:
    """What ``check`` added up for a payment that it refused, and that was forgotten with its transaction. Whoever tries
    again and again would else have it added up each time.
    """
    if kept is not None:
        tallies.taken(tx, wallet, about, list(_totals(msgspec.json.decode(kept, type=Limits), about)))


def _left(tx: Connection, wallet: int, limits: Limits, about: About) -> Iterator[tuple[str, int]]:
    """Each rule that concerns a payment, with how much it leaves."""
    yield from _of_vendor(limits, vendor_name(about.vendor))
    if (most := limits.calls_per_minute) is not None:
        calls = tx.one(_CALLS, of=wallet, since=about.authorised_us - _MINUTE_US, most=most)
        if calls is None or calls[0] >= most:
            yield "calls_per_minute", 0
    if limits.approval_above_usd is not UNSET and not about.approved:
        yield "approval_above", to_micros(limits.approval_above_usd)
    if limits.per_call_usd is not UNSET:
        yield "per_call", to_micros(limits.per_call_usd)
    totals = _totals(limits, about)
    for kind, taken in tallies.taken(tx, wallet, about, list(totals)).items():
        yield f"per_{kind}", to_micros(totals[kind]) - taken


def _totals(limits: Limits, about: About) -> dict[TallyKind, Usd]:
    """The limits of what was taken in all, of those that concern a payment."""
    by_vendor = {vendor_name(name): limit for name, limit in limits.per_vendor_usd.items()}
    found: dict[TallyKind, Usd | UnsetType] = {
        "day": limits.per_day_usd,
        "month": limits.per_month_usd,
        "vendor": by_vendor.get(vendor_name(about.vendor), UNSET),
        "tool": limits.per_tool_usd.get(about.tool or "", UNSET),
        "run": limits.per_run_usd,
        "thread": limits.per_thread_usd,
    }
    return {kind: limit for kind, limit in found.items() if limit is not UNSET}


def _of_vendor(limits: Limits, vendor: str | None) -> Iterator[tuple[str, int]]:
    if limits.vendors_allowed is not None and vendor not in map(vendor_name, limits.vendors_allowed):
        yield "vendors_allowed", 0
    if vendor in map(vendor_name, limits.vendors_denied):
        yield "vendors_denied", 0


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
