"""Commands, alone and chained, and the script that is sourced before each of them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from trove_agents.client import files
from trove_agents.client.call import Call, Flow, post, value, wire_text
from trove_agents.client.capabilities import Capabilities
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.transport import Reply
from trove_agents.errors import TroveExecError, TruncatedWarning
from trove_agents.wire.exec import ExecResult
from trove_agents.wire.files import FileContent, FileResult

INIT: Final = "workspace/.trove/init.sh"


def execute(
    command: str,
    *,
    stdin: str | None = None,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> Call[ExecResult]:
    """Runs a command. Never repeated by itself: it may have run."""
    call = post(("v1", "exec"), _exec_result, _body(command, stdin, timeout, env, cwd))
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
            TroveConnectionError: no answer came; the command may have run. It is not sent again by itself.
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


class _Answer(msgspec.Struct, frozen=True):
    """Only the exit code is certain: other servers may leave out the rest, or send null."""

    exit_code: int
    stdout: str | None = None
    stderr: str | None = None
    duration_ms: int | None = None
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    warnings: list[str] = []
    conflicts: list[str] = []
    reference_id: str | None = None


_ANSWER = value(_Answer)


def _exec_result(reply: Reply) -> ExecResult:
    answer = _ANSWER(reply)
    return ExecResult(
        answer.exit_code,
        answer.stdout or "",
        answer.stderr or "",
        answer.duration_ms or 0,
        answer.stdout_truncated,
        answer.stderr_truncated,
        answer.warnings,
        answer.conflicts,
        answer.reference_id,
    )


def _text(content: FileContent | None) -> str | None:
    return None if content is None else files.text_of(INIT, content, stacklevel=4)
