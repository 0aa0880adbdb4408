"""Commands whose text and output pass unchanged.

The Files API takes ``workspace/`` in a command for the root, and shows the root's path as ``workspace`` in output.
That suits models, but not programs that give absolute paths and read them back. It leaves standard input alone: so the
command comes in that way, and its output goes out encoded. Pure.
"""

import base64
import shlex
from typing import Final

from pydantic_ai.workspaces import WorkspaceCommand

_SCRIPT: Final = """\
cd workspace/ || exit 126
IFS= read -r -d '' REPLY
_output=$(mktemp -d) || exit 126
exec 60<>"$_output/1" 61<>"$_output/2"
( eval "$REPLY" ) </dev/null >"$_output/1" 2>"$_output/2" 60<&- 61<&-
REPLY=$?
base64 <&60; echo .; base64 <&61
rm -rf -- "$_output"
exit "$REPLY"
"""
"""Runs what is given on standard input, in the shell that ``init.sh`` has set up, and prints both streams encoded."""
_TOLD: Final = 200
LIMIT: Final = 700_000
"""Bytes that both streams may have together: a server keeps 1 MB of text."""


def carrier_of(script: str) -> str:
    """The command that runs a script given on standard input. How that begins stands in it, for whoever reads events."""
    return f"# {script.partition(chr(10))[0][:_TOLD]}\n{_SCRIPT}"


def script_of(command: WorkspaceCommand, *, shell: bool) -> str:
    """What bash is to run.

    Raises:
        TypeError: a text without ``shell``, or words with it.
        ValueError: there is a NUL in it, or nothing.
    """
    if isinstance(command, str) != shell:
        raise TypeError("a text is run with shell=True, a sequence of words without")
    if not command:
        raise ValueError("the command is empty")
    script = command if isinstance(command, str) else f"exec -- {shlex.join(command)}"
    if "\0" in script:
        raise ValueError("no command holds a NUL")
    return script


def outputs(printed: str) -> tuple[str, str]:
    """Standard output and error output, from what the script printed; of the last, as much as there is."""
    stdout, _, stderr = printed.partition("\n.\n") if not printed.startswith(".\n") else ("", "", printed[2:])
    return _decoded(stdout), _decoded(stderr)


def _decoded(encoded: str) -> str:
    text = "".join(encoded.split())
    return base64.b64decode(text[: len(text) - len(text) % 4]).decode(errors="replace")
