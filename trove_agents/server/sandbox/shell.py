"""How a script of any length becomes a command line for bash."""

from collections.abc import Callable, Mapping

ARGUMENT_BYTES = 100_000
"""Linux takes no argument longer than 128 KB (MAX_ARG_STRLEN); a longer script goes through a descriptor."""


def bash(script: str, descriptor: Callable[[bytes], int], *, lifeline: int | None = None) -> list[bytes]:
    """What runs `script` as ``bash -c`` does: with its ``$0``, line numbers, ``set -e`` and standard input.

    Args:
        script: of any length.
        descriptor: opens a file with the content it is given, to be inherited.
        lifeline: reads the end when the server has died; the script is not begun then. The kernel's signal at the
            death of a parent comes only to those who asked before, and the sandbox asks while it is set up.

    Raises:
        ValueError: there is a NUL in it.
    """
    text = script.encode("utf-8", "surrogateescape")
    if b"\0" in text:
        raise ValueError("NUL in the script")
    begin = b"" if lifeline is None else b"read -t0 -u%d && exit 137; exec %d<&-; " % (lifeline, lifeline)
    if len(text) > ARGUMENT_BYTES:
        fd = descriptor(text)
        begin += b"BASH_EXECUTION_STRING=$(</dev/fd/%d); exec %d<&-; " % (fd, fd)
        return [b"bash", b"-c", begin + b'eval "$BASH_EXECUTION_STRING"']
    begin += b"BASH_EXECUTION_STRING=$1; shift; "
    return [b"bash", b"-c", begin + b'eval "$BASH_EXECUTION_STRING"', b"bash", text]


def check_names(env: Mapping[str, str]) -> None:
    """Raises ValueError for what cannot be an environment variable."""
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise ValueError(f"{name!r} cannot be an environment variable")
