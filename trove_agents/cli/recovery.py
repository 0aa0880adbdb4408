"""``trove-agents wallet recover``: sorts out what a crash left in a guard's journal."""

import shlex
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.text import Text

from trove_agents.cli import doubts, options, reaching, shown
from trove_agents.client.wallets import Wallet
from trove_agents.errors import TroveError
from trove_agents.guard import Guard, Receipt

_OLDER_THAN: Final = 600.0


class Recovered(msgspec.Struct, frozen=True):
    """What ``recover --json`` prints."""

    recovered: list[dict[str, Any]]
    """Receipts of what was sorted out, as it is now."""
    in_doubt: int
    """Payments that need a person; also those that were in doubt before."""
    unsettled: int
    """Payments that are under way, or could not be sorted out yet."""
    failed: dict[str, str]
    """By the wallet's id, why its payments were not all looked at."""


def recover(
    *,
    journal: options.Journal,
    older_than: Annotated[
        float,
        typer.Option(
            "--older-than",
            metavar="SECONDS",
            min=0,
            help="Leave alone what something happened to since: a program may be making it.",
        ),
    ] = _OLDER_THAN,
    wallet: Annotated[
        int | None, typer.Option("--wallet", metavar="ID", help="This wallet's payments alone.")
    ] = None,
    base_url: options.BaseUrl = None,
    data: options.WalletsOf = None,
    json: options.Json = False,
) -> None:
    """Sort out what a crash left: what never ran is given back, what ran is in doubt, what was charged is booked."""
    changed: list[Receipt] = []
    failed: dict[int, str] = {}
    with reaching.journal(journal) as opened:
        with reaching.wallets(base_url, data) as client:
            for each in opened.wallets() if wallet is None else [wallet]:
                try:
                    known = opened.held(each)
                    if known is not None and not doubts.is_its_wallet(client, known):
                        failed[each] = doubts.NOT_ITS_WALLET
                        continue
                    handle = Wallet(client, each, agent_id="")  # the guard does not ask whose it is
                    changed += Guard(handle, journal=opened).recover(older_than=older_than)
                except TroveError as error:
                    failed[each] = str(error)
        in_doubt = len(doubts.those(opened, "in_doubt"))
        unsettled = len(doubts.those(opened, *doubts.UNSETTLED))
    if json:
        said = {str(each): why for each, why in failed.items()}
        receipts = [receipt.as_json() for receipt in changed]
        typer.echo(msgspec.json.encode(Recovered(receipts, in_doubt, unsettled, said)))
    else:
        _show(changed)
        if in_doubt:
            typer.echo(
                f"In doubt: {in_doubt}; see trove-agents wallet doubts --journal {shlex.quote(str(journal))}"
            )
        if unsettled:
            typer.echo(f"Under way, or not to be sorted out yet: {unsettled}")
    if failed:
        options.refuse("; ".join(f"wallet {each}: {why}" for each, why in failed.items()))


def _show(changed: list[Receipt]) -> None:
    out = shown.console()
    for each in changed:
        out.print(Text(shown.plain(each.key), style="bold"))
        about = shown.purchase(each.held_usd, each.tool, each.vendor, each.wallet_id)
        out.print(Text(f"  {about}"))
        out.print(Text(f"  {doubts.ended(each)}\n"))
    out.print(Text(f"Sorted out: {len(changed)}" if changed else "There was nothing to sort out."))
