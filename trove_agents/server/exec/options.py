"""What a caller may say of how a command is run: its input, time, variables and directory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from trove_agents.server.errors import Unprocessable
from trove_agents.server.paths import canonical
from trove_agents.wire import limits
from trove_agents.wire.exec import ExecRequest

_BASH_OWN: Final = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"})
"""Variables that bash does not let anybody set."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a command is to be run, found good."""

    stdin: bytes | None = field(repr=False)
    timeout: float | None
    """In seconds, as asked for."""
    seconds: float
    """That it gets."""
    env: Mapping[str, str] = field(repr=False)
    cwd: str
    """Relative to the root; empty for the root."""

    @classmethod
    def of(cls, request: ExecRequest, *, usual: float, most: float) -> Self:
        """What a caller asks for, of whom the command is looked at too.

        Args:
            request: As it came.
            usual: Seconds for those who ask for none.
            most: Seconds that one may ask for.

        Raises:
            Unprocessable: no command, or something that is too large or that bash could not have.
            BadRequest: ``cwd`` is no path.
        """
        seconds = usual if request.timeout is None else request.timeout
        if not 0 < seconds <= most:
            raise _invalid("timeout", f"timeout is more than 0 and at most {most:g} s")
        stdin = _stdin(request)
        return cls(stdin, request.timeout, seconds, _env(request.env), canonical(request.cwd or ""))


def _stdin(request: ExecRequest) -> bytes | None:
    """Its bytes; the command is looked at too."""
    try:
        command = request.command.encode()
        stdin = None if request.stdin is None else request.stdin.encode()
    except UnicodeEncodeError:
        raise _invalid("command", "command and stdin are Unicode text: no lone surrogates") from None
    if not request.command.strip():
        raise _invalid("command", "a command is needed")
    if b"\0" in command:
        raise _invalid("command", "a command cannot hold a NUL")
    if len(command) > limits.EXEC_COMMAND_BYTES:
        raise _invalid("command", f"a command is at most {limits.EXEC_COMMAND_BYTES:,} bytes")
    if stdin is not None and len(stdin) > limits.EXEC_STDIN_BYTES:
        raise _invalid("stdin", f"stdin is at most {limits.EXEC_STDIN_BYTES:,} bytes of UTF-8")
    return stdin


def _env(given: Mapping[str, str] | None) -> Mapping[str, str]:
    """The variables. What is wrong with one is said without repeating any of it."""
    if not given:
        return {}
    if len(given) > limits.EXEC_ENV_NAMES:
        raise _invalid("env", f"env has at most {limits.EXEC_ENV_NAMES} variables")
    size = 0
    for name, value in given.items():
        if limits.ENV_NAME.fullmatch(name) is None:
            raise _invalid("env", f"a name in env is {limits.ENV_NAME.pattern}")
        if name in _BASH_OWN:
            raise _invalid("env", f"{name} is a variable that bash does not let anybody set")
        if "\0" in value:
            raise _invalid("env", "a value in env cannot hold a NUL")
        try:
            size += len(name) + len(value.encode())
        except UnicodeEncodeError:
            raise _invalid("env", "values in env are Unicode text: no lone surrogates") from None
    if size > limits.EXEC_ENV_BYTES:
        raise _invalid("env", f"env is at most {limits.EXEC_ENV_BYTES:,} bytes, names and values together")
    return given


def _invalid(name: str, message: str) -> Unprocessable:
    return Unprocessable(message, errors=[{"field": name, "message": message}])
