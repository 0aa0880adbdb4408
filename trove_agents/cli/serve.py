"""``trove-agents serve``: the server on a socket."""

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trove_agents.cli import options
from trove_agents.cli.options import NetworkName

if TYPE_CHECKING:
    from trove_agents.server.app import Server
    from trove_agents.server.settings import Settings

CredentialsFile = Annotated[
    Path | None,
    typer.Option(
        "--credentials-file",
        metavar="FILE",
        help="Where the first start writes base_url, workspace_id, admin_key and key (JSON, mode 600) instead of "
        "printing them; later starts keep its base_url right.",
        dir_okay=False,
    ),
]


def serve(
    *,
    host: Annotated[str, typer.Option("--host", help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 picks a free one.", min=0, max=65535)] = 8080,
    data: options.Data = options.FOLDER,
    credentials_file: CredentialsFile = None,
    sandbox: options.Sandbox = None,
    network: options.Network = NetworkName.NONE,
    open_signup: Annotated[
        bool, typer.Option("--open-signup", help="Let anybody who reaches the server make a workspace.")
    ] = False,
) -> None:
    """Serve a state directory over HTTP until SIGTERM or Ctrl-C.

    The first start makes a workspace and shows its two keys, once: the key for files and commands in any
    namespace, and the admin key, which makes other keys.
    """
    from trove_agents.server import listening
    from trove_agents.server.app import Server
    from trove_agents.server.settings import Settings

    try:
        listener = listening.listen(host, port)
    except OSError as error:
        options.refuse(f"cannot listen at {host}, port {port}: {error.strerror or error}")
    settings = Settings(data.absolute(), sandbox=sandbox, network=network.value, open_signup=open_signup)
    try:
        server = Server(settings)
    except OSError as error:
        options.refuse(f"cannot keep state in {data}: {error.strerror or error}")
    try:
        base_url = listening.url(listener)
        typer.echo(f"trove-agents {importlib.metadata.version('trove-agents')} at {base_url}")
        typer.echo(f"state      {settings.folder}")
        _tell_sandbox(settings)
        _tell_workspace(server, base_url, credentials_file)
        listening.serve(server.app, listener, ready=lambda: typer.echo("ready; Ctrl-C ends it"))
    finally:
        server.close()


def _tell_sandbox(settings: "Settings") -> None:
    from trove_agents.cli import standing
    from trove_agents.server.sandbox import probe

    name = "commands"
    for line in standing.lines(probe(settings.sandbox, network=settings.network)):
        typer.echo(f"{name:9}  {line}")
        name = ""


def _tell_workspace(server: "Server", base_url: str, file: Path | None) -> None:
    """The workspace's keys go to the file or the terminal at the first start, and nowhere later."""
    from trove_agents.cli import credentials
    from trove_agents.embedded.credentials import first_workspace

    present = server.keys.workspaces()
    if present:
        typer.echo(f"workspace  {', '.join(present)}")
        if file is not None and not credentials.renew(file, base_url, server.keys.knows):
            typer.echo(
                f"{file} is not written: this state directory has its workspace already, and keys are shown once",
                err=True,
            )
        return
    if file is not None:
        try:
            credentials.check(file)
        except OSError as error:
            options.refuse(str(error))
    made = first_workspace(server.keys)
    assert made is not None, "nobody else makes a workspace in this moment"
    typer.echo(f"workspace  {made.workspace_id}")
    if file is not None:
        credentials.write(file, base_url, made)
        typer.echo(f"keys       in {file}")
    else:
        typer.echo(f"key        {made.key}")
        typer.echo(f"admin key  {made.admin_key}")
        typer.echo("           (shown this once; only their hashes are kept)")
