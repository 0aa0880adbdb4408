"""How commands show things to people: nothing is wrapped, cut or obeyed, and amounts stand in USD."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from rich.console import Console
from rich.text import Text

from trove_agents.client.money import dollars


def console() -> Console:
    """Where it is printed: what is copied from there stays whole."""
    return Console(highlight=False, soft_wrap=True)


def plain(text: str) -> str:
    """Text that somebody else wrote, in a line; what would steer a terminal is spelled out."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def moment(when: datetime) -> str:
    """``2026-11-30 20:50 UTC``."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def purchase(amount: Decimal, tool: str | None, vendor: str | None, wallet_id: int) -> str:
    """``$0.30 for search from acme, wallet 7``."""
    bought = f" for {plain(tool)}" if tool else ""
    paid = f" {'from' if tool else 'to'} {plain(vendor)}" if vendor else ""
    return f"{dollars(amount)}{bought}{paid}, wallet {wallet_id}"


def table(out: Console, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under a head; amounts to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if rows[0][at].startswith("$") else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        out.print(Text("  ".join(cells).rstrip(), style="bold" if row is head else ""))
