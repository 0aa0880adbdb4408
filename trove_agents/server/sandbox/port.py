"""What every sandbox takes and gives: one command, its limits, how it ended.

A sandbox shows a command one folder and nothing else of this machine. It knows no namespaces, versions or HTTP.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from trove_agents.server.sandbox.report import Report

MB = 1 << 20
GB = 1 << 30

Network: TypeAlias = Literal["none", "internet", "host"]
"""What a command reaches: nothing; public addresses only; whatever this machine reaches, itself included."""
Stream: TypeAlias = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class Overlay:
    """Folders that a command sees through one of its own, which takes whatever it changes."""

    lowers: tuple[Path, ...]
    """The topmost first; they are only read. Nothing else may write into them while the command runs."""
    work: Path
    """An empty folder for the kernel, on the file system of the upper one."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command line, ready to run."""

    script: str
    """What ``bash -c`` gets, of any length."""
    root: Path
    """The folder of this machine that the command sees as ``Sandbox.inner_root``; also its working directory."""
    overlay: Overlay | None = None
    """What the command sees through ``root``, for a sandbox that can show it: see `Sandbox.layered`."""
    stdin: bytes | None = None
    """Piped; None is ``/dev/null``, ``b""`` an immediate end of input."""
    timeout: float = 30.0
    """Seconds of wall clock; then everything is killed."""
    output_bytes: int = MB
    """Kept of each stream, from its beginning; the rest is read and dropped."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """On top of the sandbox's own few variables; nothing is inherited from the server. As if the script began by
    exporting them: what has to hold before it, such as limits, none of them can change. Secrets may be among them."""
    hear: Callable[[Stream, bytes], None] | None = field(default=None, repr=False)
    """Called on the loop with each piece of output that is kept, as it comes. It must not wait, nor fail."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended; when it is returned, none of its processes is left."""

    exit_code: int
    """As bash gives it: 128 + n after signal n; 124 when the time was up."""
    stdout: bytes
    stderr: bytes
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    timed_out: bool = False
    over_quota: str | None = None
    """The limit for which the tree was killed: ``memory``, ``processes``, ``disk`` or ``files``."""
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one command may use. Sizes are bytes."""

    memory: int = 2 * GB
    """Resident, the whole tree together."""
    free_memory: int = 256 * MB
    """Never left to the machine less than this, or than half of what it had at the start, where no control group
    counts what processes hold without having mapped it."""
    address_space: int = 8 * GB
    """Per process; generous, as some runtimes reserve far more than they touch."""
    processes: int = 512
    """Threads included."""
    open_files: int = 4096
    file_size: int = 2 * GB
    cpu_seconds: int | None = None
    """Per process; None is the time limit times the processors, so that only a runaway meets it."""
    temporary: int = 256 * MB
    """Of ``/tmp`` and of ``/dev/shm``, each."""
    written: int = 4 * GB
    """Bytes in files that one command made or changed, all together."""
    entries: int = 200_000
    """Files and folders that one command made or changed."""
    free_space: int = GB
    """Never left with less than this, or than half of what was free at the start."""

    def cpu(self, timeout: float) -> int:
        """Processor seconds of one process of a command with this time limit."""
        return self.cpu_seconds or int(timeout * (os.cpu_count() or 1)) + 1


class Sandbox(Protocol):
    """One way of running commands."""

    @property
    def name(self) -> str:
        """``bubblewrap``, ``seatbelt`` or ``none``."""

    @property
    def inner_root(self) -> str | None:
        """Where the command sees its folder; None: at the folder's own path."""

    @property
    def network(self) -> Network:
        """What commands reach."""

    def layered(self, root: Path, overlay: Overlay, script: str) -> str | None:
        """What goes wrong where a script runs in `root` over `overlay`; None when nothing does, and it ends with 0."""

    async def run(self, command: Command) -> Outcome:
        """Runs `command` to its end and leaves no process of it.

        To be awaited on the loop of a thread that lives as long as the server: the kernel kills the tree when
        the *thread* that started it ends. Cancellation kills the tree within a second.

        Raises:
            SandboxFailed: the sandbox itself could not be set up; the command did not run.
            ValueError: a NUL in the script, or a name that no environment variable can have.
        """


class SandboxError(Exception):
    """Of the sandbox, not of the command in it."""


class SandboxUnavailable(SandboxError):
    """This machine cannot isolate as asked; `report` says why and what would help."""

    def __init__(self, report: Report) -> None:
        self.report = report
        super().__init__(" ".join((*report.problems, *report.remedy)))


class SandboxFailed(SandboxError):
    """One command could not be started, though the sandbox worked when it was probed."""
