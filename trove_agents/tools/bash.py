"""``bash``: the one tool that models know already."""

import hashlib
from typing import Annotated, Any, Final

import msgspec

from trove_agents.client import files
from trove_agents.client.call import Flow
from trove_agents.client.exec import execute
from trove_agents.errors import TroveError
from trove_agents.tools.changes import FileChange, Watch
from trove_agents.tools.spec import ToolContext, ToolSpec
from trove_agents.tools.text import cut
from trove_agents.wire.exec import ExecResult

OUTPUT: Final = "workspace/.trove/output/"
"""Where output goes that is too long for the model; named by its content, so that nothing is kept twice."""

_DESCRIPTION: Final = """\
Run a bash command in your workspace, a directory tree of your own that lasts from call to call. \
The shell starts in the root of the workspace, which is also called workspace/. Every call gets a fresh shell: \
files stay, but a cd or an exported variable is gone in the next call. A command is stopped after 30 seconds, unless timeout gives it more. \
The answer is what the command printed; if it fails, [exit N] and its error output come first. \
Long output is cut in the middle, where a note says how to see the rest."""


class BashArguments(msgspec.Struct, frozen=True):
    """What the model sends."""

    command: Annotated[str, msgspec.Meta(description="A command line or a whole script, for bash.")]
    timeout: Annotated[
        Annotated[float, msgspec.Meta(gt=0)] | None,
        msgspec.Meta(description="Seconds that it may take when 30 are not enough, such as 300."),
    ] = None


class CommandRun(ExecResult, frozen=True, omit_defaults=True):
    """How a command ended, and what became of the files."""

    truncated: bool = False
    """The model was shown a part of it, or the server kept a part only."""
    output_path: str | None = None
    """Where all of the text is that was cut for the model."""
    files_changed: list[FileChange] | None = None
    """At most 1,000, in byte order of their paths; None where it was not found out."""
    more_changed: bool = False
    """There are others."""


class Command:
    """What goes before and after a model's command, which can be sent in more ways than one.

    What is found out or kept beside it never makes a command fail that has run.
    """

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        self._watch = Watch(context)

    def before(self) -> Flow[None]:
        """Before it is sent."""
        yield from self._watch.begin()

    def after(self, result: ExecResult) -> Flow[CommandRun]:
        """After it has ended."""
        yield from self._watch.end()
        text = _text(result)
        is_cut = len(text) > self._context.max_characters
        return CommandRun(
            **msgspec.structs.asdict(result),
            truncated=is_cut or result.stdout_truncated or result.stderr_truncated,
            output_path=(yield from _keep(text)) if is_cut and self._context.keep_output else None,
            files_changed=self._watch.files_changed,
            more_changed=self._watch.more_changed,
        )


def run(arguments: BashArguments, context: ToolContext) -> Flow[CommandRun]:
    """Runs the command."""
    command = Command(context)
    yield from command.before()
    call = execute(arguments.command, timeout=arguments.timeout)
    result = yield from call if arguments.timeout is None else context.need("exec.options", call)
    return (yield from command.after(result))


def render(result: CommandRun, max_characters: int) -> str:
    """The Files API's text for agents: output alone; ``[exit N]``, errors, then output; ``(no output)``.

    Two things are added for models. Error output of a command that succeeds is shown, after its output: in
    ``cat missing | wc -l`` it is all that tells. And what was cut or could not be kept is said at the end.
    """
    hint = None if result.output_path is None else f"all of it is in {result.output_path}"
    return "\n".join([cut(_text(result), max_characters, hint), *_notes(result)])


def record(result: CommandRun) -> dict[str, Any]:
    """The result in plain values; its output only where the model was shown all of it."""
    plain: dict[str, Any] = msgspec.to_builtins(result)
    if result.output_path is not None:
        del plain["stdout"], plain["stderr"]
    return plain


def _text(result: ExecResult) -> str:
    if result.exit_code == 0:
        parts = [result.stdout, result.stderr]
    else:
        parts = [f"[exit {result.exit_code}]", result.stderr, result.stdout]
    return "\n".join(part.removesuffix("\n") for part in parts if part) or "(no output)"


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


def _keep(text: str) -> Flow[str | None]:
    path = f"{OUTPUT}{hashlib.sha256(text.encode()).hexdigest()[:16]}.txt"
    try:
        yield from files.write(path, text + "\n")
    except TroveError:  # a full workspace, or one that another has leased meanwhile
        return None
    return path


BASH: Final = ToolSpec(
    name="bash",
    description=_DESCRIPTION,
    arguments=BashArguments,
    action=run,
    render=render,
    record=record,
)
