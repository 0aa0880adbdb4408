"""Commands in namespaces of their own, by bubblewrap.

bwrap is started with an empty environment and takes its options from a descriptor: the first process inside is
bwrap itself, and a command may read that process's environment and command line.
"""

import contextlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from trove_agents.server.sandbox import cgroup, egress, seccomp
from trove_agents.server.sandbox.binary import PREFERRED, Bwrap
from trove_agents.server.sandbox.cgroup import Group
from trove_agents.server.sandbox.layout import ENVIRONMENT, INNER_ROOT, USER, layout
from trove_agents.server.sandbox.namespace import Namespace
from trove_agents.server.sandbox.pipes import memory_file
from trove_agents.server.sandbox.port import Command, Limits, Network, Outcome, Overlay, SandboxFailed
from trove_agents.server.sandbox.shell import bash, rlimits
from trove_agents.server.sandbox.supervise import Streams, supervise
from trove_agents.server.sandbox.watch import Watcher

TRY_SECONDS = 30
ISOLATION = (
    "--unshare-user",
    "--unshare-all",
    "--disable-userns",
    "--die-with-parent",
    "--new-session",
    *("--uid", str(USER), "--gid", str(USER)),
    *("--cap-drop", "ALL"),
    *("--hostname", "sandbox"),
    "--clearenv",
)
CLOSING = (
    *("--remount-ro", "/proc"),
    *("--remount-ro", "/dev"),
    *("--remount-ro", "/"),
    *("--chdir", INNER_ROOT),
)
"""Last of the mounts. / and /dev are memory without a limit until they are read-only. In /proc the kernel lets root
write most settings for being their owner, whatever its capabilities; to the kernel a root-run server's commands are
root, and core_pattern would be their way out."""


class Bubblewrap:
    """Runs each command in a fresh set of namespaces."""

    name = "bubblewrap"
    inner_root = INNER_ROOT

    def __init__(self, bwrap: Bwrap, *, network: Network = "none", limits: Limits | None = None) -> None:
        self.network: Network = network
        self.limits = limits or Limits()
        self.bwrap = bwrap
        self._layout = layout(network, self.limits)
        self.places = cgroup.usable(self.limits)
        self._filter = seccomp.program(os.uname().machine)

    async def run(self, command: Command) -> Outcome:
        """See `Sandbox.run`."""
        with contextlib.ExitStack() as stack:
            if not command.root.is_dir():
                raise SandboxFailed(f"There is no folder {command.root}")
            # Closed last: a control group with processes in it cannot be removed.
            group = self._group(stack)
            streams = Streams.open(command)
            stack.callback(streams.close)
            tree = self._start(command, streams, group)
            stack.callback(tree.close)
            if command.overlay is not None:
                await tree.hold_mounts()
            if self.network == "internet":
                await egress.attach(await tree.ready(), stack)
                tree.release()
            watch = Watcher(command.root, self.limits, first=tree.first, group=group)
            return await supervise(command, tree, streams, watch)

    @property
    def filtered(self) -> bool:
        """Whether system calls are filtered."""
        return self._filter is not None

    def layered(self, root: Path, overlay: Overlay, script: str) -> str | None:
        """See `Sandbox.layered`."""
        if self.bwrap.version < PREFERRED:
            return f"bwrap is older than {'.'.join(map(str, PREFERRED))}"
        try:
            done = self.try_out("bash", "-c", script, folder=_folder(root, overlay))
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode == 0:
            return None
        return done.stderr.decode(errors="replace").strip() or f"the trial ended with {done.returncode}"

    def try_out(
        self, *program: str, folder: tuple[str, ...] = ("--dir", INNER_ROOT)
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a program of this machine, waiting for it, without limits; by default with an empty folder."""
        with contextlib.ExitStack() as handed:
            options = _Options(handed, self._environment())
            options.add(*ISOLATION)
            options.add(*self._mounts(options), *folder, *CLOSING)
            return subprocess.run(  # noqa: S603 - fixed programs
                [self.bwrap.path, "--args", str(options.file()), "--", *program],
                env={},
                cwd="/",
                pass_fds=options.descriptors,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TRY_SECONDS,
                check=False,
            )

    def _group(self, stack: contextlib.ExitStack) -> Group | None:
        """Control groups for one command, if this machine has a place for them."""
        if not self.places:
            return None
        try:
            group = Group(self.places, self.limits)
        except OSError as error:
            raise SandboxFailed(f"No control group for the command: {error}") from error
        stack.callback(group.close)
        return group

    def _start(self, command: Command, streams: Streams, group: Group | None) -> Namespace:
        """A bwrap that was started, under the limits of `group`."""
        with contextlib.ExitStack() as handed, contextlib.ExitStack() as kept:
            status, status_writer = os.pipe()
            lifeline_reader, lifeline = os.pipe()
            # bwrap closes what it has read.
            shell_end = os.dup(lifeline_reader)
            for fd in (status, lifeline):
                kept.callback(os.close, fd)
            for fd in (status_writer, lifeline_reader, shell_end):
                handed.callback(os.close, fd)
            options = _Options(handed, self._environment())
            options.descriptors.append(shell_end)
            options.hand(status_writer, "--json-status-fd")
            if self.network == "internet":
                options.hand(lifeline_reader, "--block-fd")
            options.add(*ISOLATION)
            options.add(*self._mounts(options))
            options.add(*_folder(command.root, command.overlay), *CLOSING)
            begin = rlimits(self.limits, command.timeout)
            shell = bash(command.script, options.memory, env=command.env, begin=begin, lifeline=shell_end)
            # Commands that list their processes need not read where the server is installed
            arguments: list[str | bytes] = ["bwrap", "--args", str(options.file()), "--", *shell]
            try:
                with group.joined() if group is not None else contextlib.nullcontext():
                    bwrap = subprocess.Popen(  # noqa: S603 - a fixed program
                        arguments,
                        executable=self.bwrap.path,
                        env={},
                        cwd="/",
                        pass_fds=options.descriptors,
                        stdin=streams.stdin.reader,
                        stdout=streams.stdout.writer,
                        stderr=streams.stderr.writer,
                        # Ctrl-C at the server's terminal is for the server.
                        start_new_session=True,
                    )
            except OSError as error:
                raise SandboxFailed(f"bwrap cannot be started: {error}") from error
            kept.pop_all()
        streams.started()
        return Namespace(bwrap, status, lifeline, streams.stderr)

    def _mounts(self, options: "_Options") -> list[str]:
        if self.network == "host":
            options.add("--share-net")
        if self._filter is not None:
            options.hand(options.memory(self._filter), "--seccomp")
        mounts = list(self._layout.options)
        for path, content in self._layout.files.items():
            mounts += ["--perms", "0444", "--file", str(options.memory(content.encode())), path]
        return mounts

    def _environment(self) -> dict[str, str]:
        return {**ENVIRONMENT, "PATH": self._layout.path}


class _Options:
    """The options of one bwrap, and the descriptors they name; these are closed with `handed`."""

    def __init__(self, handed: contextlib.ExitStack, environment: Mapping[str, str]) -> None:
        self.descriptors: list[int] = []
        self._handed = handed
        self._options: list[str] = []
        self._environment = environment

    def add(self, *options: str) -> None:
        self._options += options

    def hand(self, fd: int, option: str) -> None:
        """Hands `fd` to bwrap, as `option`."""
        self._options += [option, str(fd)]
        if fd not in self.descriptors:
            self.descriptors.append(fd)

    def memory(self, content: bytes) -> int:
        """A descriptor with `content`, handed to bwrap."""
        fd = memory_file(content)
        self._handed.callback(os.close, fd)
        self.descriptors.append(fd)
        return fd

    def file(self) -> int:
        """The descriptor for ``--args``: everything so far, and the environment (--clearenv comes before)."""
        options = list(self._options)
        for name, value in self._environment.items():
            options += ["--setenv", name, value]
        return self.memory(b"\0".join(map(_bytes, options)) + b"\0")


def _folder(root: Path, overlay: Overlay | None) -> tuple[str, ...]:
    """The mount that is the command's folder."""
    if overlay is None:
        return "--bind", os.fspath(root), INNER_ROOT
    lowers = (part for lower in reversed(overlay.lowers) for part in ("--overlay-src", os.fspath(lower)))
    return (*lowers, "--overlay", os.fspath(root), os.fspath(overlay.work), INNER_ROOT)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
