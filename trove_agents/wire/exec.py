"""Commands."""

import msgspec


class ExecRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/exec``: one command line for bash."""

    command: str
    stdin: str | None = None
    """Piped as UTF-8, at most ``limits.EXEC_STDIN_BYTES``; None is ``/dev/null``, ``""`` an immediate end."""


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
