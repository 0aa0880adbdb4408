"""``trove-agents serve``: the server on a socket."""

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trove_agents.cli import options, standing
from trove_agents.cli.options import NetworkName

if TYPE_CHECKING:
    from trove_agents.embedded import Trove
    from trove_agents.server.keys.service import KeyService
    from trove_agents.wire.namespaces import WorkspaceCreated

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
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            metavar="URL",
            help="A postgresql:// database instead of the one in the state directory.",
            envvar="TROVE_DATABASE_URL",
        ),
    ] = None,
    blobs: Annotated[
        str | None,
        typer.Option(
            "--blobs",
            metavar="URL",
            help="s3://bucket/prefix for larger files instead of the state directory; AWS_* variables say the rest.",
            envvar="TROVE_BLOBS",
        ),
    ] = None,
    credentials_file: CredentialsFile = None,
    sandbox: options.Sandbox = None,
    network: options.Network = NetworkName.NONE,
    open_signup: Annotated[
        bool, typer.Option("--open-signup", help="Let anybody who reaches the server make a workspace.")
    ] = False,
    history_days: Annotated[
        int,
        typer.Option(
            "--history-days",
            min=0,
            help="For how long a namespace can be read as it was at any time; 0: for good.",
        ),
    ] = 30,
    snapshot_days: Annotated[
        int,
        typer.Option(
            "--snapshot-days", min=0, help="After how long snapshots expire that somebody took; 0: never."
        ),
    ] = 0,
    event_days: Annotated[
        int, typer.Option("--event-days", min=0, help="After how long events are forgotten; 0: never.")
    ] = 90,
    quota_bytes: Annotated[
        int,
        typer.Option(
            "--quota-bytes",
            min=0,
            help="What the files of a namespace may grow to in all, unless it has a quota of its own; 0: no end.",
        ),
    ] = 0,
    quota_files: Annotated[
        int, typer.Option("--quota-files", min=0, help="How many files a namespace may grow to; 0: no end.")
    ] = 0,
    exec_max_seconds: Annotated[
        float,
        typer.Option("--exec-max-seconds", help="The longest time that a caller may ask for a command."),
    ] = 600.0,
) -> None:
    """Serve a state directory over HTTP until SIGTERM or Ctrl-C.

    The first start makes a workspace and shows its two keys, once: the key for files and commands in any
    namespace, and the admin key, which makes other keys.
    """
    from trove_agents.embedded import Trove
    from trove_agents.server import blobs as server_blobs
    from trove_agents.server.db import Unreachable
    from trove_agents.server.settings import Settings

    try:
        settings = Settings(
            data.absolute(),
            database_url=database_url or None,
            blobs=blobs or None,
            sandbox=sandbox,
            network=network.value,
            open_signup=open_signup,
            history_days=history_days or None,
            snapshot_days=snapshot_days or None,
            event_days=event_days or None,
            quota_bytes=quota_bytes or None,
            quota_files=quota_files or None,
            exec_max_seconds=exec_max_seconds,
        )
    except ValueError as error:
        options.refuse(str(error))
    try:
        trove = Trove(settings)
    except (Unreachable, ImportError) as error:
        options.refuse(f"cannot use the database: {error}")
    except server_blobs.Unreachable as error:
        options.refuse(f"cannot use the blobs: {error}")
    except OSError as error:
        options.refuse(f"cannot keep state in {data}: {error.strerror or error}")
    with trove:
        try:
            trove.serve(host=host, port=port, ready=lambda url: _tell(trove, url, credentials_file))
        except OSError as error:
            options.refuse(f"cannot serve at {host}, port {port}: {error.strerror or error}")


def _tell(trove: "Trove", base_url: str, file: Path | None) -> None:
    """What a person wants to know before the first call, ending with a line that says it may come."""
    typer.echo(f"trove-agents {importlib.metadata.version('trove-agents')} at {base_url}")
    _line("state", str(trove.folder))
    name = "commands"
    for text in standing.lines(trove.report()):
        _line(name, text)
        name = ""
    _tell_workspace(trove.server.keys, base_url, file)
    typer.echo("ready; Ctrl-C ends it")


def _tell_workspace(keys: "KeyService", base_url: str, file: Path | None) -> None:
    """The workspace's keys go to the file or the terminal at the first start, and nowhere later."""
    from trove_agents.cli import credentials
    from trove_agents.embedded.credentials import first_workspace

    present = keys.workspaces()
    if present:
        more = f" and {len(present) - 1} more" if len(present) > 1 else ""
        _line("workspace", present[0] + more)
        if file is not None and not credentials.renew(file, base_url, keys.knows):
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
    made = first_workspace(keys)
    if made is None:  # another server was first, just now
        _tell_workspace(keys, base_url, file)
        return
    if file is not None:
        try:
            credentials.write(file, base_url, made)
        except OSError as error:
            typer.echo(
                f"{file} could not be written ({error.strerror or error}); so the keys are shown here",
                err=True,
            )
        else:
            _line("workspace", made.workspace_id)
            _line("keys", f"in {file}")
            return
    show_keys(made)


def show_keys(made: "WorkspaceCreated") -> None:
    """A new workspace, for people."""
    _line("workspace", made.workspace_id)
    _line("key", made.key)
    _line("admin key", made.admin_key)
    _line("", "(shown this once; only their hashes are kept)")


def _line(name: str, text: str) -> None:
    typer.echo(f"{name:9}  {text}")
