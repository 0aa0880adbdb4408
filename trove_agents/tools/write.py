"""``write`` and ``edit``: text files."""

from typing import Annotated, Final

import msgspec

from trove_agents.client import files
from trove_agents.client.call import Flow
from trove_agents.errors import TroveError, TrovePreconditionError
from trove_agents.tools.spec import InvalidArguments, ToolContext, ToolSpec
from trove_agents.wire.files import FileResult

_ATTEMPTS: Final = 5
"""How often an edit is made anew because another changed the file between reading and writing it."""

_WRITE: Final = """\
Write a text file of the workspace: created or replaced as a whole, with the directories above it. To change a part of a \
file, use edit, or a command."""

_EDIT: Final = """\
Replace text in a file of the workspace. old must be there exactly as given, white space included, and only once unless all \
is true. Nothing is changed when it is not."""


class WriteArguments(msgspec.Struct, frozen=True):
    """What the model sends."""

    path: Annotated[str, msgspec.Meta(description="Where it goes, such as workspace/notes.md.")]
    content: Annotated[str, msgspec.Meta(description="All of the file.")]


class EditArguments(msgspec.Struct, frozen=True):
    """What the model sends."""

    path: Annotated[str, msgspec.Meta(description="Which file, such as workspace/notes.md.")]
    old: Annotated[str, msgspec.Meta(description="The text to replace.", min_length=1)]
    new: Annotated[str, msgspec.Meta(description="What stands there instead.")]
    all: Annotated[bool, msgspec.Meta(description="Replace it wherever it is.")] = False


class FileEdited(msgspec.Struct, frozen=True):
    """What an edit did."""

    path: str
    """``workspace/...``"""
    replaced: int
    """How many times."""
    size_bytes: int


def edit(arguments: EditArguments, _: ToolContext) -> Flow[FileEdited]:
    """Replaces text in what the file is at that moment: edits of others at the same time are kept, or it fails.

    Raises:
        InvalidArguments: the text is not there, or more than once.
        TroveError: the file is binary, or longer than can be edited so.
        TrovePreconditionError: others change it all the time.
    """
    for left in reversed(range(_ATTEMPTS)):
        found = yield from files.read_file(arguments.path)
        if found.encoding == "binary" or found.truncated:
            what = "binary" if found.encoding == "binary" else "over 1 MB"
            raise TroveError(f"{found.path} is {what}: change it with a command", 415, recovery="adapt")
        before = found.content or ""
        count = before.count(arguments.old)
        if not count:
            raise InvalidArguments(f"the text to replace is not in {found.path}: read the file again")
        if count > 1 and not arguments.all:
            raise InvalidArguments(
                f"the text to replace is {count} times in {found.path}: give more of what is around it, or all"
            )
        after = before.replace(arguments.old, arguments.new)
        try:
            written = yield from files.write(arguments.path, after, files.only_if(found.etag, None))
        except TrovePreconditionError:
            if not left:
                raise
        else:
            return FileEdited(written.path, count, written.size_bytes)
    raise AssertionError("the last attempt returns or raises")


def _edited(result: FileEdited, _: int) -> str:
    times = "once" if result.replaced == 1 else f"{result.replaced} times"
    return f"Replaced {times} in {result.path}."


def _written(result: FileResult, _: int) -> str:
    return f"Wrote {result.path} ({result.size_bytes:,} bytes)."


WRITE: Final = ToolSpec(
    name="write",
    description=_WRITE,
    arguments=WriteArguments,
    action=lambda arguments, _: files.write(arguments.path, arguments.content),
    render=_written,
)
EDIT: Final = ToolSpec(name="edit", description=_EDIT, arguments=EditArguments, action=edit, render=_edited)
