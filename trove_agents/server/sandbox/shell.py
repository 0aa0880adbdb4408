"""How a script of any length becomes a command line for bash."""

import re
import resource
from collections.abc import Callable, Mapping
from typing import Final

from trove_agents.server.sandbox.port import Limits

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ARGUMENT_BYTES = 100_000
"""Linux takes no argument longer than 128 KB (MAX_ARG_STRLEN); a longer script goes through a descriptor."""


def bash(
    script: str,
    descriptor: Callable[[bytes], int],
    *,
    env: Mapping[str, str],
    begin: str = "",
    lifeline: int | None = None,
) -> list[bytes]:
    """What runs `script` as ``bash -c`` does: with its ``$0``, line numbers, ``set -e`` and standard input.

    Args:
        script: of any length.
        descriptor: opens a file with the content it is given, to be inherited.
        env: exported by the shell itself after ``begin``: a shell that is started with them would let ``BASH_ENV``,
            ``SHELLOPTS`` or ``LD_PRELOAD`` run code before its limits are set. Through a descriptor, since the whole
            machine can read a command line.
        begin: run before it, by the same shell.
        lifeline: reads the end when the server has died; the script is not begun then. The kernel's signal at the
            death of a parent comes only to those who asked before, and the sandbox asks while it is set up.

    Raises:
        ValueError: there is a NUL in it, or a name that no shell variable can have.
    """
    text = script.encode("utf-8", "surrogateescape")
    if b"\0" in text:
        raise ValueError("NUL in the script")
    steps = [begin] if begin else []
    if lifeline is not None:
        steps += [f"read -t0 -u{lifeline} && exit 137", f"exec {lifeline}<&-"]
    if env:
        fd = descriptor(_exports(env))
        steps += [f"source /dev/fd/{fd}", f"exec {fd}<&-"]
    arguments = []
    if len(text) > ARGUMENT_BYTES:
        fd = descriptor(text)
        steps += [f"BASH_EXECUTION_STRING=$(</dev/fd/{fd})", f"exec {fd}<&-"]
    else:
        steps += ["BASH_EXECUTION_STRING=$1", "shift"]
        arguments = [b"bash", text]
    return [b"bash", b"-c", "; ".join((*steps, 'eval "$BASH_EXECUTION_STRING"')).encode(), *arguments]


def rlimits(limits: Limits, timeout: float, *, only: str = "cvunfSH") -> str:
    """Shell commands that set the limits of a process and of those it starts; ``only`` has letters of ``ulimit``.

    In the sandbox and not before: processes are counted per user namespace, so that a limit set outside would count
    whatever else the server's user runs. None is set higher than this process's own, which nobody could.
    """
    cpu = limits.cpu(timeout)
    wanted = (
        ("-c", resource.RLIMIT_CORE, 0, 1024),
        ("-v", resource.RLIMIT_AS, limits.address_space, 1024),
        ("-u", resource.RLIMIT_NPROC, limits.processes, 1),
        ("-n", resource.RLIMIT_NOFILE, limits.open_files, 1),
        ("-f", resource.RLIMIT_FSIZE, limits.file_size, 1024),
        # A second between the warning and the kill.
        ("-St", resource.RLIMIT_CPU, cpu, 1),
        ("-Ht", resource.RLIMIT_CPU, cpu + 1, 1),
    )
    parts = []
    for flag, kind, most, unit in wanted:
        if flag[1] not in only:
            continue
        own = resource.getrlimit(kind)[1]
        parts.append(f"ulimit {flag} {(most if own == resource.RLIM_INFINITY else min(most, own)) // unit}")
    return " && ".join(parts) + " || exit 137"


def _exports(env: Mapping[str, str]) -> bytes:
    """Shell text that exports each."""
    lines = []
    for name, value in env.items():
        if not _NAME.fullmatch(name) or "\0" in value:
            raise ValueError("a name or a value that no environment variable can have")
        quoted = value.replace("'", "'\\''")
        lines.append(f"export {name}='{quoted}'\n")
    return "".join(lines).encode("utf-8", "surrogateescape")
