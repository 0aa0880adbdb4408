"""``trove-agents wallet``: budgets, what waits there for a person, and the answers."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import typer
from rich.text import Text

from trove_agents.cli import doubts, options, reaching, recovery, shown
from trove_agents.client.approvals import WalletApproval
from trove_agents.client.money import dollars
from trove_agents.client.wallets import WalletBalance

app = typer.Typer(
    help="Wallets: what is spent, held and in doubt, and payments that need a person.", no_args_is_help=True
)

ApprovalId = Annotated[int, typer.Argument(metavar="ID", help="The approval's, as 'approvals' lists it.")]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a wallet."""

    wallet_id: int
    budget_usd: Decimal
    spent_usd: Decimal
    held_usd: Decimal
    in_doubt_usd: Decimal
    remaining_usd: Decimal


class Listed(Standing, frozen=True, kw_only=True):
    """A wallet in a list."""

    agent_id: str
    name: str
    frozen: bool
    parent_id: int | None


class Wallets(msgspec.Struct, frozen=True):
    """What ``list --json`` prints."""

    wallets: list[Listed]


class Approvals(msgspec.Struct, frozen=True):
    """What ``approvals --json`` prints."""

    approvals: list[WalletApproval]


@app.command("list")
def list_(
    *,
    base_url: options.BaseUrl = None,
    data: options.WalletsOf = None,
    json: options.Json = False,
) -> None:
    """List the wallets and their numbers."""
    with reaching.wallets(base_url, data) as client:
        found = [
            Listed(
                agent_id=each.agent_id,
                name=each.name,
                frozen=each.frozen,
                parent_id=each.parent_id,
                **_numbers(each.id, client.balance(each.id)),
            )
            for each in client.list_wallets()
        ]
    if json:
        typer.echo(msgspec.json.encode(Wallets(found)))
        return
    if not found:
        typer.echo("There are no wallets.")
        return
    rows = [
        (
            str(each.wallet_id),
            shown.plain(each.agent_id) + (" (frozen)" if each.frozen else ""),
            *_amounts(each).values(),
        )
        for each in found
    ]
    shown.table(shown.console(), ("wallet", "agent", *_amounts(found[0])), rows)


@app.command()
def balance(
    wallet: Annotated[int, typer.Argument(metavar="ID", help="The wallet's.")],
    *,
    base_url: options.BaseUrl = None,
    data: options.WalletsOf = None,
    json: options.Json = False,
) -> None:
    """Show the numbers of one wallet. Works with every server of the public wallet API."""
    with reaching.wallets(base_url, data) as client:
        found = Standing(**_numbers(wallet, client.balance(wallet)))
    if json:
        typer.echo(msgspec.json.encode(found))
        return
    amounts = _amounts(found)
    shown.table(shown.console(), tuple(amounts), [tuple(amounts.values())])


app.command("doubts")(doubts.doubts)
app.command("resolve")(doubts.resolve)
app.command("recover")(recovery.recover)


@app.command()
def approvals(
    *,
    answered: Annotated[
        bool, typer.Option("--all", help="Also those that were answered, used or ran out.")
    ] = False,
    base_url: options.BaseUrl = None,
    data: options.WalletsOf = None,
    json: options.Json = False,
) -> None:
    """List payments that wait for a person's yes, newest first."""
    with reaching.wallets(base_url, data) as client:
        found = [
            approval
            for wallet in client.list_wallets()
            for approval in client.list_approvals(wallet.id, None if answered else "pending")
        ]
    if json:
        typer.echo(msgspec.json.encode(Approvals(found)))
        return
    out = shown.console()
    for each in found:
        about = shown.purchase(each.max_amount_usd, each.tool, each.vendor, each.wallet_id)
        out.print(Text(f"{each.id}  {about}", style="bold"))
        until = f"until {_moment(each.expires_at)}" if each.state == "pending" else each.state
        out.print(Text(f"  asked {_moment(each.created_at)}, {until}"))
        out.print(Text(f"  {shown.plain(each.description or 'nobody said why')}\n"))
    waiting = sum(each.state == "pending" for each in found)
    out.print(Text(f"Waiting for a yes: {waiting}" if waiting else "Nothing waits for a yes."))
    if waiting:
        out.print(Text("Answer one: trove-agents wallet approve ID, or deny ID"))


@app.command()
def approve(
    approval: ApprovalId,
    *,
    base_url: options.BaseUrl = None,
    data: options.WalletsOf = None,
    json: options.Json = False,
) -> None:
    """Say yes to a payment, as the wallet's owner. The program makes it when it tries again."""
    with reaching.wallets(base_url, data) as client:
        _tell(client.approve(approval), json=json)


@app.command()
def deny(
    approval: ApprovalId,
    *,
    base_url: options.BaseUrl = None,
    data: options.WalletsOf = None,
    json: options.Json = False,
) -> None:
    """Say no to a payment, as the wallet's owner."""
    with reaching.wallets(base_url, data) as client:
        _tell(client.deny(approval), json=json)


def _tell(answered: WalletApproval, *, json: bool) -> None:
    if json:
        typer.echo(msgspec.json.encode(answered))
        return
    about = shown.purchase(answered.max_amount_usd, answered.tool, answered.vendor, answered.wallet_id)
    typer.echo(f"{answered.state}: {about}")


def _moment(said: str) -> str:
    return shown.moment(datetime.fromisoformat(said))


def _numbers(wallet_id: int, balance: WalletBalance) -> dict[str, Any]:
    return {
        "wallet_id": wallet_id,
        "budget_usd": balance.budget_usd,
        "spent_usd": balance.total_spent,
        "held_usd": balance.held_usd,
        "in_doubt_usd": balance.in_doubt_usd,
        "remaining_usd": balance.remaining_budget,
    }


def _amounts(standing: Standing) -> dict[str, str]:
    return {
        "budget": dollars(standing.budget_usd),
        "spent": dollars(standing.spent_usd),
        "held": dollars(standing.held_usd),
        "in doubt": dollars(standing.in_doubt_usd),
        "remaining": dollars(standing.remaining_usd),
    }
