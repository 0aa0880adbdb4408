"""Commands, alone and chained, and the script that is sourced before each of them."""

import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from trove_agents.client import files
from trove_agents.client.call import Call, Flow, post, wire_text
from trove_agents.client.capabilities import Capabilities
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.running import Running, exec_result
from trove_agents.errors import TroveExecError, TruncatedWarning
from trove_agents.wire.exec import ExecChunk, ExecResult
from trove_agents.wire.files import FileContent, FileResult
from trove_agents.wire.limits import EXEC_HEARTBEAT_SECONDS

INIT: Final = "workspace/.trove/init.sh"


def execute(
    command: str,
    *,
    stdin: str | None = None,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> Call[ExecResult]:
    """Runs a command. Repeated only with a key that the server knows: it may have run."""
    call = post(("v1", "exec"), exec_result, _body(command, stdin, timeout, env, cwd), once=True)
    return call if timeout is None else replace(call, work=timeout)


def run(
    capabilities: Capabilities,
    command: str,
    *,
    stdin: str | None,
    timeout: float | None,
    env: Mapping[str, str] | None,
    cwd: str | None,
) -> Flow[ExecResult]:
    """Runs a command where the server knows the options that are given: others would pass over them in silence."""
    call = execute(command, stdin=stdin, timeout=timeout, env=env, cwd=cwd)
    if timeout is None and env is None and cwd is None:
        return (yield from call)
    return (yield from capabilities.need("exec.options", call))


def stream(call: Call[ExecResult]) -> Call[ExecResult]:
    """The same command, answered by server-sent events, which are read as they come: see ``Running``."""
    return replace(
        call, headers=(*call.headers, ("accept", "text/event-stream")), work=EXEC_HEARTBEAT_SECONDS
    )


def can_stream(capabilities: Capabilities, *options: object) -> Flow[None]:
    """Asks the server whether it answers by events, and knows the options that are given."""
    yield from capabilities.check("exec.stream")
    if any(option is not None for option in options):
        yield from capabilities.check("exec.options")


def get_init() -> Flow[FileContent | None]:
    """Reads the script; None when there is none."""
    return files.optional(files.read_file(INIT))


def clear_init() -> Flow[bool]:
    """Deletes the script and says whether it was there."""
    return (yield from files.optional(files.delete(INIT))) is not None


def output(command: str, result: ExecResult) -> str:
    """What a command printed, if it succeeded; warns the caller's caller when the server kept only its beginning.

    Raises:
        TroveExecError: it exited non-zero.
    """
    if result.exit_code != 0:
        raise TroveExecError(command, result.exit_code, result.stdout, result.stderr)
    if result.stdout_truncated:
        message = "the command printed more than the server keeps: this is only the beginning"
        warnings.warn(message, TruncatedWarning, stacklevel=3)
    return result.stdout


def chain(commands: Sequence[str]) -> str:
    """One command line that runs several until one fails.

    Each stands in a brace group: its own ``&&`` and ``||`` stay inside, while ``cd``, exports and variables carry
    on, which a subshell would lose. The text is the public SDK's, except where that is no valid bash: after a
    comment, a here-document, ``&`` or ``;`` the group is closed on a new line.

    Raises:
        ValueError: there is no command, or one is blank or no string.
    """
    if isinstance(commands, str):
        raise ValueError("exec_chain takes a list of commands, not one string")  # noqa: TRY004 (as the SDK)
    if not commands:
        raise ValueError("exec_chain requires at least one command")
    groups = []
    unchecked: Sequence[object] = commands
    for position, command in enumerate(unchecked):
        if not isinstance(command, str) or not command.strip():
            raise ValueError(f"exec_chain command at index {position} is empty")
        own_line = "\n" in command or "#" in command or command.rstrip().endswith(("&", ";"))
        groups.append("{ " + command + ("\n}" if own_line else "; }"))
    return " && ".join(groups)


class ExecMethods(Driver):
    """Commands in one namespace, run by bash in a fresh shell at its root, 30 seconds each unless told otherwise."""

    def exec(
        self,
        command: str,
        *,
        stdin: str | None = None,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> str:
        """Runs a command and returns what it printed, at most 1 MB (then ``TruncatedWarning`` is issued).

        Nothing but files survives it: the next call gets a new shell. ``exec_chain`` keeps ``cd`` and variables
        over several commands, ``set_init`` over all of them.

        Args:
            command: A line, or a script, for bash.
            stdin: Piped to it as UTF-8, at most 1 MB; None is ``/dev/null``. For more, or for bytes, ``upload``
                a file and redirect from it.
            timeout: Seconds that it may take instead of 30, up to what the server allows. The client waits for its
                answer as much longer as that.
            env: Variables, as if the command began by exporting them: at most 128, and 64 KB. The server keeps
                them nowhere.
            cwd: The directory to begin in, such as ``workspace/data``; None: the root.

        Raises:
            TroveExecError: it exited non-zero; the error carries ``exit_code``, ``stdout`` and ``stderr``.
            TroveTimeoutError: it ran past its time and was stopped. Files it had written are kept.
            TroveConnectionError: no answer came; the command may have run. It is sent again by itself only where
                the server knows it again and does it once.
            NotSupported: the server knows no ``timeout``, ``env`` or ``cwd``, and one was given; nothing was run.
        """
        return output(
            command,
            self.run(run(self._capabilities, command, stdin=stdin, timeout=timeout, env=env, cwd=cwd)),
        )

    def exec_detailed(
        self,
        command: str,
        *,
        stdin: str | None = None,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> ExecResult:
        """As ``exec``, but a non-zero exit is a result: exit code, both streams, and the time it took."""
        return self.run(run(self._capabilities, command, stdin=stdin, timeout=timeout, env=env, cwd=cwd))

    def exec_chain(
        self,
        commands: Sequence[str],
        *,
        stdin: str | None = None,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> ExecResult:
        """Runs commands in one shell until one fails: ``cd``, exports and variables carry on from each to the next.

        The options are those of ``exec``; the time limit holds for all together.

        Raises:
            ValueError: there is no command, or one is blank or no string.
        """
        return self.run(
            run(self._capabilities, chain(commands), stdin=stdin, timeout=timeout, env=env, cwd=cwd)
        )

    def exec_stream(
        self,
        command: str,
        *,
        stdin: str | None = None,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> Iterator[ExecChunk | ExecResult]:
        """Runs a command and yields what it prints as it does so; the last of what is yielded is its ``ExecResult``.

        Use it to the end: who stops reading, or closes the iterator, stops the command, and nothing of it is kept. A
        slow reader does not slow the command; of each stream 1 MB is sent, as ``exec`` returns it. ::

            for part in agent.exec_stream("make"):
                if isinstance(part, ExecChunk):
                    print(part.text, end="")
                else:
                    print("exit code", part.exit_code)

        The options are those of ``exec``; a non-zero exit is a result here.

        Raises:
            TroveTimeoutError: it ran past its time and was stopped. Files it had written are kept.
            TroveConnectionError: the answer broke off; the command may have run.
            NotSupported: the server has no streams, or not these options; nothing was run.
        """
        self.run(can_stream(self._capabilities, timeout, env, cwd))
        call = execute(command, stdin=stdin, timeout=timeout, env=env, cwd=cwd)
        running = Running()
        with self.stream(stream(call)) as reply:
            for piece in reply.chunks:
                yield from running.feed(piece)
        running.end()

    def set_init(self, text: str) -> FileResult:
        """Sets the script that every command starts with, such as ``cd workspace/data``.

        It is sourced into the command's own shell, from a file of the namespace (``workspace/.trove/init.sh``):
        directory, exports and activated environments hold for every later command, also in other processes. If
        it fails, the command still runs.
        """
        return self.send(files.write(INIT, text))

    def get_init(self) -> str | None:
        """The script that every command starts with, or None."""
        return _text(self.run(get_init()))

    def clear_init(self) -> bool:
        """Deletes the script that every command starts with; False when there was none."""
        return self.run(clear_init())


class AsyncExecMethods(AsyncDriver):
    """As ``ExecMethods``."""

    async def exec(
        self,
        command: str,
        *,
        stdin: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (of the command)
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> str:
        """See :meth:`TroveClient.exec`."""
        return output(
            command,
            await self.run(run(self._capabilities, command, stdin=stdin, timeout=timeout, env=env, cwd=cwd)),
        )

    async def exec_detailed(
        self,
        command: str,
        *,
        stdin: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (of the command)
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> ExecResult:
        """See :meth:`TroveClient.exec_detailed`."""
        return await self.run(
            run(self._capabilities, command, stdin=stdin, timeout=timeout, env=env, cwd=cwd)
        )

    async def exec_chain(
        self,
        commands: Sequence[str],
        *,
        stdin: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (of the command)
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> ExecResult:
        """See :meth:`TroveClient.exec_chain`."""
        return await self.run(
            run(self._capabilities, chain(commands), stdin=stdin, timeout=timeout, env=env, cwd=cwd)
        )

    async def exec_stream(
        self,
        command: str,
        *,
        stdin: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (of the command)
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> AsyncIterator[ExecChunk | ExecResult]:
        """See :meth:`TroveClient.exec_stream`; iterate with ``async for``, in ``contextlib.aclosing`` to stop early."""
        await self.run(can_stream(self._capabilities, timeout, env, cwd))
        call = execute(command, stdin=stdin, timeout=timeout, env=env, cwd=cwd)
        running = Running()
        async with self.stream(stream(call)) as reply:
            async for piece in reply.chunks:
                for part in running.feed(piece):
                    yield part
        running.end()

    async def set_init(self, text: str) -> FileResult:
        """See :meth:`TroveClient.set_init`."""
        return await self.send(files.write(INIT, text))

    async def get_init(self) -> str | None:
        """See :meth:`TroveClient.get_init`."""
        return _text(await self.run(get_init()))

    async def clear_init(self) -> bool:
        """See :meth:`TroveClient.clear_init`."""
        return await self.run(clear_init())


def _body(
    command: str, stdin: str | None, timeout: float | None, env: Mapping[str, str] | None, cwd: str | None
) -> dict[str, object]:
    options = {
        "stdin": stdin,
        "timeout": timeout,
        "env": None if env is None else dict(env),
        "cwd": None if cwd is None else wire_text(cwd),
    }
    return {"command": command, **{name: value for name, value in options.items() if value is not None}}


def _text(content: FileContent | None) -> str | None:
    return None if content is None else files.text_of(INIT, content, stacklevel=4)
