"""Options that several commands share, and how a command says that it cannot go on."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer


class SandboxName(StrEnum):
    """What isolates commands."""

    BUBBLEWRAP = "bubblewrap"
    NONE = "none"


class NetworkName(StrEnum):
    """What commands may reach."""

    NONE = "none"
    INTERNET = "internet"
    HOST = "host"


Data = Annotated[
    Path,
    typer.Option(
        "--data", metavar="PATH", help="The state directory; made when it is not there.", file_okay=False
    ),
]
Sandbox = Annotated[
    SandboxName | None,
    typer.Option(
        "--sandbox",
        help="What isolates commands; by default the best of this machine. 'none' runs them unprotected.",
    ),
]
Network = Annotated[
    NetworkName,
    typer.Option(
        "--network",
        help="What commands may reach: nothing, the internet without the host's own networks, or all the host can.",
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        help="The server of the wallets, else what TROVE_BASE_URL says. Its key is that of TROVE_WALLET_KEY.",
    ),
]
WalletsOf = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="The state directory of the wallets, by default .trove-agents, where no server is named.",
        file_okay=False,
    ),
]
Journal = Annotated[
    Path, typer.Option("--journal", metavar="FILE", help="The guard's journal.", dir_okay=False)
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]

FOLDER = Path(".trove-agents")
"""Of the working directory: the state directory by default, as for ``Trove.local()``."""


def refuse(message: str) -> NoReturn:
    """Says why on standard error and ends with status 1."""
    typer.echo(f"trove-agents: {message}", err=True)
    raise typer.Exit(1)
