"""Commands."""

from typing import Literal

import msgspec


class ExecRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/exec``: one command line for bash."""

    command: str
    stdin: str | None = None
    """Piped as UTF-8, at most ``limits.EXEC_STDIN_BYTES``; None is ``/dev/null``, ``""`` an immediate end."""
    timeout: float | None = None
    """Seconds, over 0 and at most what the server allows; None: ``limits.EXEC_SECONDS``, or less if it allows less."""
    env: dict[str, str] | None = None
    """Variables of the command, at most ``limits.EXEC_ENV_NAMES`` and ``limits.EXEC_ENV_BYTES``. They are told nobody."""
    cwd: str | None = None
    """A directory below ``workspace/`` to start in; None: the root."""

    def __repr__(self) -> str:
        """Without what may be secret."""
        return f"{type(self).__name__}({self.command!r})"


class ExecChunk(msgspec.Struct, frozen=True):
    """A piece of what a running command printed."""

    stream: Literal["stdout", "stderr"]
    text: str
    """All pieces of a stream together are the result's ``stdout`` or ``stderr``."""


class ExecResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a command ended. A non-zero exit is a result, not an error."""

    exit_code: int
    """As bash gives it: 128 + n after signal n."""
    stdout: str
    stderr: str
    duration_ms: int
    """Wall clock on the server."""
    stdout_truncated: bool = False
    """Output past ``limits.EXEC_OUTPUT_BYTES`` was dropped."""
    stderr_truncated: bool = False
    warnings: list[str] = []
    """What could not be kept: devices, sockets and FIFOs that the command left behind."""
    conflicts: list[str] = []
    """Paths (``workspace/...``) that others changed while the command ran and whose change it replaced."""
    reference_id: str | None = None
    """The step reference that was asked for with the call."""
