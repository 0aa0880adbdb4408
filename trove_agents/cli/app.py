"""All commands together."""

import importlib.metadata
from typing import Annotated

import typer

from trove_agents.cli import doctor, serve, wallet, workspace

app = typer.Typer(
    name="trove-agents",
    help="A workspace that AI agents can rewind: its server and what belongs to it.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.add_typer(workspace.app, name="workspace")
app.add_typer(wallet.app, name="wallet")
app.command("doctor")(doctor.doctor)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"trove-agents {importlib.metadata.version('trove-agents')}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Options of the command itself."""
