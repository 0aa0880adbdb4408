"""``trove-agents doctor``: what this machine can do, and what would help."""

import importlib.metadata
import os
import platform
import shutil
import sqlite3
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from trove_agents.cli import options
from trove_agents.cli.options import NetworkName
from trove_agents.cli.standing import MISSING
from trove_agents.server.sandbox import Report


class State(msgspec.Struct, frozen=True):
    """A state directory as it is; looking at it makes nothing."""

    path: str
    exists: bool
    writable: bool
    """Of its nearest folder that exists, when it does not."""
    free_bytes: int


class Diagnosis(msgspec.Struct, frozen=True):
    """What ``--json`` prints."""

    trove_agents: str
    python: str
    sqlite: str
    platform: str
    state: State
    sandbox: Report


def doctor(
    *,
    data: options.Data = options.FOLDER,
    sandbox: options.Sandbox = None,
    network: options.Network = NetworkName.NONE,
    json: options.Json = False,
) -> None:
    """Say what this machine isolates, what it does not, and what would help.

    Status 0 if commands can run as asked, 1 if they would be refused.
    """
    from trove_agents.server.exec.forms import examined
    from trove_agents.server.sandbox import probe

    report = examined(probe(sandbox, network=network.value), _nearest(data.absolute()), network.value)
    found = Diagnosis(
        trove_agents=importlib.metadata.version("trove-agents"),
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        platform=platform.platform(),
        state=_state(data.absolute()),
        sandbox=report,
    )
    if json:
        typer.echo(msgspec.json.encode(found))
    else:
        _show(found)
    if not report.ok:
        raise typer.Exit(1)


def _nearest(folder: Path) -> Path:
    """The folder itself, or what will hold it."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _state(folder: Path) -> State:
    nearest = _nearest(folder)
    return State(
        path=str(folder),
        exists=folder.exists(),
        writable=os.access(nearest, os.W_OK | os.X_OK),
        free_bytes=shutil.disk_usage(nearest).free,
    )


def _show(found: Diagnosis) -> None:
    # Nothing is wrapped or cut: paths and sentences stay whole for those who copy them
    console = Console(highlight=False, soft_wrap=True)
    report = found.sandbox
    state = found.state
    condition = "exists" if state.exists else "will be made"
    facts = {
        "trove-agents": found.trove_agents,
        "Python": found.python,
        "SQLite": found.sqlite,
        "system": found.platform,
        "state": f"{state.path} ({condition}, {'writable' if state.writable else 'NOT WRITABLE'}, "
        f"{state.free_bytes / 1024**3:.1f} GB free)",
        "sandbox": " ".join(filter(None, (report.sandbox, report.version))),
        "found at": report.executable,
        "commands run as": report.runs_as,
        "network": report.network,
        "working copies": report.working_copies,
    }
    _rows(console, None, [(name, Text(value)) for name, value in facts.items() if value])
    _rows(
        console,
        "Isolated",
        [(name, _verdict("yes" if kept else "no", good=kept)) for name, kept in report.isolated.items()],
    )
    _rows(
        console,
        "Limits",
        [(name, _verdict(how, good=not how.startswith(MISSING))) for name, how in report.limits.items()],
    )
    if report.missing_tools:
        _section(
            console, "Tools that commands may look for and do not find", [", ".join(report.missing_tools)]
        )
    _section(console, "Problems", report.problems)
    _section(console, "What would help", report.remedy)
    console.print()
    console.print(
        _verdict("Commands can run." if report.ok else "Commands are refused; files work.", good=report.ok)
    )


def _verdict(text: str, *, good: bool) -> Text:
    return Text(text, style="green" if good else "red")


def _rows(console: Console, title: str | None, rows: list[tuple[str, Text]]) -> None:
    if not rows:
        return
    if title:
        console.print(Text(f"\n{title}", style="bold"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(Text(name.replace("_", " ").ljust(width)), value)


def _section(console: Console, title: str, lines: list[str]) -> None:
    if not lines:
        return
    console.print(Text(f"\n{title}", style="bold"))
    for line in lines:
        console.print(Text(f"- {line}"))
