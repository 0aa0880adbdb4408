"""``bash``: the one tool that models know already."""

from typing import Annotated, Final

import msgspec

from trove_agents.client.exec import execute
from trove_agents.tools.spec import ToolSpec
from trove_agents.tools.text import cut
from trove_agents.wire.exec import ExecResult

_DESCRIPTION: Final = """\
Run a bash command in your workspace, a directory tree of your own that lasts from call to call. \
The shell starts in the root of the workspace, which is also called workspace/. Every call gets a fresh shell: \
files stay, but a cd or an exported variable is gone in the next call. A command is stopped after 30 seconds. \
The answer is what the command printed; if it fails, [exit N] and its error output come first. \
Long output is cut in the middle: write it to a file and read that in parts."""


class BashArguments(msgspec.Struct, frozen=True):
    """What the model sends."""

    command: Annotated[str, msgspec.Meta(description="A command line or a whole script, for bash.")]


def render(result: ExecResult, max_characters: int) -> str:
    """The Files API's text for agents: output alone; ``[exit N]``, errors, then output; ``(no output)``.

    Two things are added for models. Error output of a command that succeeds is shown, after its output: in
    ``cat missing | wc -l`` it is all that tells. And what was cut or could not be kept is said at the end.
    """
    if result.exit_code == 0:
        parts = [result.stdout, result.stderr]
    else:
        parts = [f"[exit {result.exit_code}]", result.stderr, result.stdout]
    text = cut("\n".join(part.removesuffix("\n") for part in parts if part) or "(no output)", max_characters)
    return "\n".join([text, *_notes(result)])


def _notes(result: ExecResult) -> list[str]:
    notes = [
        f"[{name} was longer than the server keeps: the rest of it is lost]"
        for name, truncated in (("stdout", result.stdout_truncated), ("stderr", result.stderr_truncated))
        if truncated
    ]
    notes += [f"[{warning}]" for warning in result.warnings]
    notes += [
        f"[{path} was changed by someone else meanwhile; this command's version replaced theirs]"
        for path in result.conflicts
    ]
    return notes


BASH: Final = ToolSpec(
    name="bash",
    description=_DESCRIPTION,
    arguments=BashArguments,
    action=lambda arguments: execute(arguments.command),
    render=render,
)
