"""Which sandbox this machine gets, and the report that says why."""

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

import msgspec

from trove_agents.server.sandbox import binary, diagnose, egress
from trove_agents.server.sandbox.bubblewrap import Bubblewrap
from trove_agents.server.sandbox.none import WARNING, Unisolated
from trove_agents.server.sandbox.port import (
    MB,
    Command,
    Limits,
    Network,
    Sandbox,
    SandboxFailed,
    SandboxUnavailable,
)
from trove_agents.server.sandbox.report import Report
from trove_agents.server.sandbox.seatbelt import PROGRAM, Seatbelt
from trove_agents.server.sandbox.tools import SCAN

SANDBOXES: Final = ("bubblewrap", "seatbelt", "none")
_checked: dict[tuple[Network, Limits], Bubblewrap | Seatbelt] = {}
"""Those that worked once in this process. A failure is tried again: somebody may have followed the remedy."""


def choose(name: str | None, *, network: Network = "none", limits: Limits | None = None) -> Sandbox:
    """The sandbox called `name`; None for the best of this machine, which is never ``none``.

    Costs one empty command the first time, nothing later.

    Raises:
        SandboxUnavailable: files, network or processes cannot be isolated as asked.
        ValueError: there is no sandbox of that name.
    """
    _known(name)
    if name == "none":
        return Unisolated(limits=limits)
    found = _isolating(name, network, limits or Limits())
    if isinstance(found, Report):
        raise SandboxUnavailable(found)
    return found


def probe(name: str | None = None, *, network: Network = "none", limits: Limits | None = None) -> Report:
    """What `choose` finds with the same arguments, in full; runs a command that looks for missing tools.

    Raises:
        ValueError: there is no sandbox of that name.
    """
    _known(name)
    limits = limits or Limits()
    if name == "none":
        return _unisolated(limits)
    found = _isolating(name, network, limits)
    if isinstance(found, Report):
        return found
    if isinstance(found, Seatbelt):
        return _on_mac(found)
    answer = found.try_out("bash", "-c", SCAN)
    return _isolated(found, answer.stdout.decode(errors="replace").split())


def _known(name: str | None) -> None:
    if name is not None and name not in SANDBOXES:
        raise ValueError(f"There is no sandbox {name!r}: it is one of {', '.join(SANDBOXES)}.")


def _isolating(name: str | None, network: Network, limits: Limits) -> Bubblewrap | Seatbelt | Report:
    """The sandbox if it works, else why not."""
    if (sandbox := _checked.get((network, limits))) is not None and name in {None, sandbox.name}:
        return sandbox
    mac = name == "seatbelt" or (name is None and _platform() == "darwin")
    found = _seatbelt(network, limits) if mac else _bubblewrap(network, limits)
    if not isinstance(found, Report):
        _checked[network, limits] = found
    return found


def _platform() -> str:
    return sys.platform  # through a function: type checkers take the name itself for the machine they run on


def _seatbelt(network: Network, limits: Limits) -> Seatbelt | Report:
    refusal = Report(sandbox="seatbelt", network=network, executable=PROGRAM, ok=False)
    if _platform() != "darwin":
        return msgspec.structs.replace(refusal, problems=["seatbelt is of macOS."], remedy=[diagnose.BY_NAME])
    try:
        sandbox = Seatbelt(network=network, limits=limits)
    except ValueError as error:
        return msgspec.structs.replace(refusal, problems=[f"{error}."], remedy=[diagnose.BY_NAME])
    if said := sandbox.complaint():
        problems, remedy = diagnose.seatbelt(said)
        return msgspec.structs.replace(refusal, problems=problems, remedy=remedy)
    return sandbox


def _bubblewrap(network: Network, limits: Limits) -> Bubblewrap | Report:
    bwrap = binary.find() if _platform() == "linux" else None
    if bwrap is None:
        problems, remedy = diagnose.absent()
        return Report(sandbox="bubblewrap", network=network, problems=problems, remedy=remedy, ok=False)
    sandbox = Bubblewrap(bwrap, network=network, limits=limits)
    said = _complaint(sandbox)
    problems, remedy = diagnose.refused(said) if said else ([], [])
    if not said and network == "internet":
        said = egress.missing() or _offline(sandbox)
        problems, remedy = diagnose.offline(said) if said else ([], [])
    if said:
        return Report(
            sandbox="bubblewrap",
            network=network,
            version=".".join(map(str, bwrap.version)),
            executable=bwrap.path,
            problems=problems,
            remedy=remedy,
            ok=False,
        )
    return sandbox


def _complaint(sandbox: Bubblewrap) -> str | None:
    try:
        done = sandbox.try_out("true")
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    return done.stderr.decode(errors="replace").strip() or f"bwrap ended with {done.returncode}"


def _offline(sandbox: Bubblewrap) -> str | None:
    """Runs an empty command with its network attached; what fails, None if nothing does."""
    failures: list[str] = []

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                asyncio.run(sandbox.run(Command("true", Path(folder))))
            except SandboxFailed as error:
                failures.append(str(error))

    # A thread of its own, as the caller may be on a running loop.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return failures[0] if failures else None


def _isolated(sandbox: Bubblewrap, missing_tools: list[str]) -> Report:
    root = os.geteuid() == 0
    limits = sandbox.limits
    whole = f"{limits.memory // MB} MB for all processes together, "
    watched = "looked at every 50 ms, so passed for a moment"
    if sandbox.places:
        memory, processes = whole + "by a control group", f"{limits.processes}, by a control group"
    else:
        memory = whole + watched + "; what none has mapped only by what this machine has left"
        processes = f"{limits.processes}, " + (watched if root else "by RLIMIT_NPROC of the user namespace")
    problems = []
    if sandbox.network == "host":
        problems.append(
            "Commands reach whatever this machine reaches, its own services and sockets included."
        )
    if not sandbox.filtered:
        problems.append(f"No filter of system calls is known for {os.uname().machine}.")
    return Report(
        sandbox=sandbox.name,
        network=sandbox.network,
        version=".".join(map(str, sandbox.bwrap.version)),
        executable=sandbox.bwrap.path,
        runs_as="root of this machine without any capability" if root else "the server's own user",
        isolated={
            "files": True,
            "network": sandbox.network != "host",
            "processes": True,
            "environment": True,
            "system_calls": sandbox.filtered,
        },
        limits={
            "memory": memory,
            "processes": processes,
            "address_space": f"{limits.address_space // MB} MB a process, by RLIMIT_AS",
            "cpu": "processor time a process, by RLIMIT_CPU; of all together only by the time limit",
            "file_size": f"{limits.file_size // MB} MB a file, by RLIMIT_FSIZE",
            "open_files": f"{limits.open_files} a process, by RLIMIT_NOFILE",
            "temporary": f"{limits.temporary // MB} MB in /tmp and in /dev/shm, by the size of the mount",
            "disk": f"{limits.written // MB} MB written, {limits.free_space // MB} MB left free, {watched}",
            "files": f"{limits.entries} made or changed, {watched}",
            "bandwidth": "missing: nothing limits the use of the disk",
        },
        missing_tools=missing_tools,
        problems=problems,
    )


def _on_mac(sandbox: Seatbelt) -> Report:
    limits = sandbox.limits
    missing = "missing: macOS has nothing for a whole tree of processes"
    watched = "looked at every 50 ms, so passed for a moment"
    return Report(
        sandbox=sandbox.name,
        network=sandbox.network,
        executable=PROGRAM,
        runs_as="the server's own user",
        isolated={
            "files": True,
            "network": sandbox.network != "host",
            "processes": True,
            "environment": True,
            "system_calls": False,
        },
        limits={
            "memory": missing,
            "processes": missing,
            "cpu": "processor time a process, by RLIMIT_CPU; of all together only by the time limit",
            "file_size": f"{limits.file_size // MB} MB a file, by RLIMIT_FSIZE",
            "open_files": f"{limits.open_files} a process, by RLIMIT_NOFILE",
            "disk": f"{limits.written // MB} MB written, {limits.free_space // MB} MB left free, {watched}",
            "files": f"{limits.entries} made or changed, {watched}",
            "bandwidth": "missing: nothing limits the use of the disk",
        },
        problems=[
            "The sandbox for macOS was never tried on a real one: its rules are tested as text only.",
            "Commands see this machine's real paths; one that hides from the end of its command stays, within its rules.",
        ],
    )


def _unisolated(limits: Limits) -> Report:
    missing = f"missing: {WARNING}"
    return Report(
        sandbox="none",
        network="host",
        runs_as="the server's own user",
        isolated=dict.fromkeys(("files", "network", "processes", "environment", "system_calls"), False),
        limits={
            "memory": missing,
            "processes": missing,
            "disk": f"{limits.written // MB} MB written, looked at every 50 ms",
        },
        problems=[WARNING],
        remedy=["Leave the sandbox's name out to get the isolation this machine can give."],
    )
