"""``trove-agents workspace``: the tenants of a state directory."""

from typing import Annotated

import msgspec
import typer

from trove_agents.cli import options
from trove_agents.cli.serve import show_keys

app = typer.Typer(help="Workspaces: each has its own keys, namespaces and files.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps ``create`` a command of its own while it is the only one."""


@app.command()
def create(
    *,
    identity: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Its id: ws- and 1 to 64 letters, digits, _ and -."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="A name for people.")] = "default",
    data: options.Data = options.FOLDER,
    json: options.Json = False,
) -> None:
    """Make a workspace and show its keys, once. Also while a server runs on the state directory."""
    from trove_agents.server.app import Server
    from trove_agents.server.errors import ServiceError
    from trove_agents.server.settings import Settings

    server = Server(Settings(data.absolute()))
    try:
        made = server.keys.create_workspace(name, workspace_id=identity)
    except ServiceError as error:
        options.refuse(error.detail)
    finally:
        server.close()
    if json:
        typer.echo(msgspec.json.encode(made))
        return
    show_keys(made)
