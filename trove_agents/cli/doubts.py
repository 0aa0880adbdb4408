"""``trove-agents wallet doubts`` and ``resolve``: payments of a guard's journal of which nobody knows how they ended."""

import shlex
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final

import msgspec
import typer
from rich.text import Text

from trove_agents.cli import options, reaching, shown
from trove_agents.client.clients import WalletClient
from trove_agents.client.holds import HOLDS
from trove_agents.client.money import dollars
from trove_agents.client.wallets import Wallet
from trove_agents.errors import TroveNotFoundError
from trove_agents.guard import Entry, Guard, Receipt, SqliteJournal, State
from trove_agents.guard.states import as_usd

_RECOVER: Final = "recover() of the program sorts it out, or trove-agents wallet recover"
_DOUBTFUL: Final[tuple[State, ...]] = ("in_doubt", "waiting")
UNSETTLED: Final[tuple[State, ...]] = ("intended", "running", "settling")
"""Payments that are under way, or that a crash left."""
NOT_ITS_WALLET: Final = (
    "these are not the wallets that the payment was made from: name others with --data or --base-url"
)


class Outcome(StrEnum):
    """How a payment ended."""

    CHARGED = "charged"
    NOT_CHARGED = "not-charged"
    WRITE_OFF = "write-off"


class Doubt(msgspec.Struct, frozen=True):
    """A payment that needs a person."""

    wallet_id: int
    key: str
    state: State
    """``in_doubt``, or ``waiting``: its tool waits to be run again."""
    tool: str | None
    vendor: str | None
    held_usd: Decimal
    charged_usd: Decimal | None
    """What it did cost, where that could not be booked."""
    hold_id: int | None
    since: datetime
    why: str | None

    @classmethod
    def of(cls, entry: Entry) -> "Doubt":
        """Of what the journal has."""
        made = Receipt.of(entry)
        return cls(
            made.wallet_id,
            made.key,
            made.state,
            made.tool,
            made.vendor,
            made.held_usd,
            made.charged_usd,
            made.hold_id,
            datetime.fromtimestamp(entry.updated_at, UTC),
            made.note,
        )


class Doubts(msgspec.Struct, frozen=True):
    """What ``doubts --json`` prints."""

    doubts: list[Doubt]
    in_doubt_usd: Decimal
    waiting_usd: Decimal
    unsettled: int
    """Payments that are under way, or that a crash left: ``recover`` of the program sorts them out."""


def doubts(*, journal: options.Journal, json: options.Json = False) -> None:
    """List payments of which nobody knows how they ended, and those that wait to be run again."""
    with reaching.journal(journal) as opened:
        in_doubt, waiting = those(opened, "in_doubt"), those(opened, "waiting")
        unsettled = those(opened, *UNSETTLED)
    found = [Doubt.of(entry) for entry in (*in_doubt, *waiting)]
    listed = Doubts(found, _total(in_doubt), _total(waiting), len(unsettled))
    if json:
        typer.echo(msgspec.json.encode(listed))
        return
    out = shown.console()
    for each in found:
        out.print(Text(shown.plain(each.key), style="bold"))
        about = shown.purchase(each.held_usd, each.tool, each.vendor, each.wallet_id)
        out.print(Text(f"  {about}, since {shown.moment(each.since)}"))
        out.print(Text(f"  {_why(each)}\n"))
    out.print(Text(_summary(listed)))
    if found:
        out.print(
            Text(
                f"End one: trove-agents wallet resolve KEY {'|'.join(Outcome)} --journal {shlex.quote(str(journal))}"
            )
        )
    if listed.unsettled:
        out.print(Text(f"Under way, or left by a crash: {listed.unsettled}; {_RECOVER}"))


def resolve(
    key: Annotated[str, typer.Argument(help="The payment's, as 'doubts' shows it.")],
    outcome: Annotated[
        Outcome,
        typer.Argument(
            help="charged: it was made; not-charged: it was not, for certain; "
            "write-off: nobody will find out, so it is taken for spent (for the wallet's owner)."
        ),
    ],
    *,
    charged_usd: Annotated[
        str | None,
        typer.Option("--charged-usd", metavar="USD", help="What was charged, if not all that is held."),
    ] = None,
    journal: options.Journal,
    wallet: Annotated[
        int | None, typer.Option("--wallet", metavar="ID", help="Where several wallets have the key.")
    ] = None,
    base_url: options.BaseUrl = None,
    data: options.WalletsOf = None,
    json: options.Json = False,
) -> None:
    """Say how a payment in doubt ended, in its wallet and in the journal."""
    with reaching.journal(journal) as opened:
        entry = _meant(opened, key, wallet)
        with reaching.wallets(base_url, data) as client:
            _check_is_its_wallet(client, entry)
            handle = Wallet(client, entry.wallet_id, agent_id="")  # the guard does not ask whose it is
            receipt = Guard(handle, journal=opened).resolve(key, outcome.value, charged_usd=charged_usd)
    if json:
        typer.echo(msgspec.json.encode(receipt.as_json()))
        return
    typer.echo(f"{shown.plain(key)}: {ended(receipt)}")


def those(journal: SqliteJournal, *states: State) -> list[Entry]:
    """Payments of all wallets in some states."""
    return [entry for wallet_id in journal.wallets() for entry in journal.those(wallet_id, states)]


def _total(entries: list[Entry]) -> Decimal:
    return as_usd(sum(entry.micros for entry in entries))


def _why(doubt: Doubt) -> str:
    if doubt.state == "waiting":
        return "its tool waits for somebody; the program goes on with it under the same key"
    why = shown.plain(doubt.why or "nobody said why")
    if doubt.charged_usd is None:
        return why
    return f"it did cost {dollars(doubt.charged_usd)}, which could not be booked: {why}"


def _summary(listed: Doubts) -> str:
    in_doubt = sum(each.state == "in_doubt" for each in listed.doubts)
    if not listed.doubts:
        return "Nothing is in doubt."
    parts = [f"{in_doubt} in doubt: {dollars(listed.in_doubt_usd)}"]
    if waiting := len(listed.doubts) - in_doubt:
        parts.append(f"{waiting} waiting: {dollars(listed.waiting_usd)}")
    return "; ".join(parts)


def _meant(journal: SqliteJournal, key: str, wallet_id: int | None) -> Entry:
    """The payment in doubt that has this key."""
    among = journal.wallets() if wallet_id is None else [wallet_id]
    found = [entry for each in among if (entry := journal.find(each, key)) is not None]
    if len(found) > 1:  # in doubt or not: said twice, it must not end the other's
        ids = ", ".join(str(entry.wallet_id) for entry in found)
        options.refuse(f"the wallets {ids} have payments {key!r}: name one with --wallet")
    if not found:
        options.refuse(f"there is no payment {key!r} in {journal.path}")
    [entry] = found
    if entry.state in UNSETTLED:
        options.refuse(f"the payment {key!r} is under way, or left by a crash: {_RECOVER}")
    if entry.state not in _DOUBTFUL:
        options.refuse(f"the payment {key!r} is not in doubt, but {_words(entry.state)}")
    return entry


def _check_is_its_wallet(client: WalletClient, entry: Entry) -> None:
    if not is_its_wallet(client, entry):
        options.refuse(NOT_ITS_WALLET)


def is_its_wallet(client: WalletClient, entry: Entry) -> bool:
    """Ids are small numbers: another server has a wallet and a hold of the same ones."""
    if entry.hold_id is None:
        return HOLDS not in client.capabilities()
    try:
        hold = client.get_hold(entry.hold_id)
    except TroveNotFoundError:
        return False
    return hold.wallet_id == entry.wallet_id and (hold.metadata or {}).get("payment") == entry.key


def ended(receipt: Receipt) -> str:
    """How a payment stands, for people."""
    spent = dollars(receipt.charged_usd or Decimal(0))
    if receipt.state == "captured":
        return f"captured, {spent} spent"
    if receipt.state == "written_off":
        return f"written off, {spent} taken for spent"
    if receipt.state == "voided":
        where = "credit in the journal" if receipt.hold_id is None else "back in the budget"
        return f"voided, {dollars(receipt.held_usd)} is {where}"
    why = f": {shown.plain(receipt.note)}" if receipt.note else ""
    return f"{_words(receipt.state)}{why}"


def _words(state: State) -> str:
    return state.replace("_", " ")
