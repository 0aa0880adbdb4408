"""How a script of any length becomes a command line for bash."""

from collections.abc import Callable, Mapping

ARGUMENT_BYTES = 100_000
"""Linux takes no argument longer than 128 KB (MAX_ARG_STRLEN); a longer script goes through a descriptor."""


def bash(script: str, descriptor: Callable[[bytes], int]) -> list[bytes]:
    """``bash -c`` with `script`, or with what reads it from `descriptor`, which opens a file with its content.

    Read that way, ``$0``, ``$BASH_SOURCE``, line numbers, ``set -e`` and standard input are those of ``bash -c``.

    Raises:
        ValueError: there is a NUL in it.
    """
    text = script.encode("utf-8", "surrogateescape")
    if b"\0" in text:
        raise ValueError("NUL in the script")
    if len(text) <= ARGUMENT_BYTES:
        return [b"bash", b"-c", text]
    fd = descriptor(text)
    return [b"bash", b"-c", b'eval "exec %d<&-;$(</dev/fd/%d)"' % (fd, fd)]


def check_names(env: Mapping[str, str]) -> None:
    """Raises ValueError for what cannot be an environment variable."""
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise ValueError(f"{name!r} cannot be an environment variable")
