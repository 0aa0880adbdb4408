"""The life of one command, whatever isolates it: time limit, quota, and an end that leaves nothing behind."""

import asyncio
import contextlib
import functools
import time
from dataclasses import dataclass
from typing import Protocol

from trove_agents.server.sandbox.pipes import Drain, Feed
from trove_agents.server.sandbox.port import Command, Outcome, Stream

TIMED_OUT = 124
KILLED = 137
KILL_SECONDS = 5.0
"""How long dead processes may take to go: one that waits for a disk cannot be hurried."""


class Tree(Protocol):
    """The processes of one command."""

    async def ended(self) -> None:
        """Returns once the command's shell has ended."""

    def kill(self) -> None:
        """Kills every process of the tree; to be called when the shell has ended, too."""

    async def gone(self) -> None:
        """Returns once no process of the tree is left."""

    def exit_code(self) -> int:
        """Of the shell, as bash gives it; after `gone`."""


class Watch(Protocol):
    """Looks after what the kernel does not limit."""

    async def over(self) -> str:
        """Returns, perhaps never, with the name of the limit that was passed."""

    async def last(self) -> str | None:
        """The limit that is passed now, all processes being gone."""


@dataclass(frozen=True, slots=True)
class Streams:
    """The three ends of a command's pipes."""

    stdin: Feed
    stdout: Drain
    stderr: Drain

    @classmethod
    def open(cls, command: Command) -> "Streams":
        """Pipes for `command`, served from the running loop."""
        hear, cap = command.hear, command.output_bytes

        def drain(stream: Stream) -> Drain:
            return Drain(cap, None if hear is None else functools.partial(hear, stream))

        return cls(Feed(command.stdin), drain("stdout"), drain("stderr"))

    def started(self) -> None:
        """The process has its ends: gives up ours."""
        for each in (self.stdin, self.stdout, self.stderr):
            each.started()

    def close(self) -> None:
        """Takes what is left in the pipes, waiting for nobody."""
        for each in (self.stdin, self.stdout, self.stderr):
            each.close()


async def supervise(command: Command, tree: Tree, streams: Streams, watch: Watch) -> Outcome:
    """Waits for the shell, the time limit or a passed limit; then kills the tree and tells how it ended."""
    began = time.monotonic()
    shell = asyncio.ensure_future(tree.ended())
    watching = asyncio.ensure_future(watch.over())
    try:
        done, _ = await asyncio.wait(
            (shell, watching), timeout=command.timeout, return_when=asyncio.FIRST_COMPLETED
        )
        over = watching.result() if watching in done else None
        took = time.monotonic() - began
    finally:
        tree.kill()
        shell.cancel()
        watching.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(tree.gone(), KILL_SECONDS)
        streams.close()
    return Outcome(
        exit_code=tree.exit_code() if shell in done else KILLED if done else TIMED_OUT,
        stdout=bytes(streams.stdout.kept),
        stderr=bytes(streams.stderr.kept),
        stdout_truncated=streams.stdout.truncated,
        stderr_truncated=streams.stderr.truncated,
        timed_out=not done,
        over_quota=over or await watch.last(),
        duration_ms=round(took * 1000),
    )
