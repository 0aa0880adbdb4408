"""``write`` and ``edit``: text files."""

import contextlib
from typing import Annotated, Final

import msgspec

from trove_agents.client import files
from trove_agents.client.call import Flow
from trove_agents.errors import TroveError, TrovePreconditionError
from trove_agents.tools.spec import InvalidArguments, ToolContext, ToolSpec
from trove_agents.wire import limits
from trove_agents.wire.files import FileContent, FileResult

_ATTEMPTS: Final = 5
"""How often an edit is made anew because another changed the file between reading and writing it."""

_WRITTEN: Final = limits.WRITE_BYTES // 4
"""Characters that are never more bytes than a text may have that is written; more are uploaded."""

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
        InvalidArguments: the text is not there (``code`` is ``text-missing``), or more than once (``text-ambiguous``).
        TroveError: the file is binary, or over 100 MB; ``status_code`` 415.
        TrovePreconditionError: others change it all the time.
    """
    for left in reversed(range(_ATTEMPTS)):
        found = yield from files.read_file(arguments.path)
        before = yield from _whole(found)
        after, count = replaced(before, arguments.old, arguments.new, found.path, everywhere=arguments.all)
        unchanged = files.only_if(found.etag, None)
        try:
            if len(after) > _WRITTEN:
                written = yield from files.upload(arguments.path, after.encode(), unchanged)
            else:
                written = yield from files.write(arguments.path, after, unchanged)
        except TrovePreconditionError:
            if not left:
                raise
        else:
            return FileEdited(written.path, count, written.size_bytes)
    raise AssertionError("the last attempt returns or raises")


def replaced(text: str, old: str, new: str, path: str, *, everywhere: bool) -> tuple[str, int]:
    """The text after an edit, and how often it was made.

    What models are shown of a file may lack its carriage returns, so the text is looked for with either end of lines, and what
    takes its place gets the file's own.

    Raises:
        InvalidArguments: as ``edit``.
    """
    unix = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
    dos = unix[0].replace("\n", "\r\n"), unix[1].replace("\n", "\r\n")
    for wanted, instead in ((old, new), dos, unix):
        count = text.count(wanted)
        if count > 1 and not everywhere:
            raise InvalidArguments(
                f"the text to replace is {count} times in {path}: give more of what is around it, or all",
                code="text-ambiguous",
            )
        if count:
            return text.replace(wanted, instead), count
    raise InvalidArguments(f"the text to replace is not in {path}: read the file again", code="text-missing")


def _whole(found: FileContent) -> Flow[str]:
    """All of a text file of which the beginning was read."""
    if found.encoding != "binary":
        if not found.truncated:
            return found.content or ""
        full = yield from files.read_bytes_full(found.path)
        if full.truncated:
            raise TroveError(f"{found.path} is over 100 MB: change it with a command", 415, recovery="adapt")
        with contextlib.suppress(UnicodeDecodeError):  # further on than the server looked
            return full.content.decode()
    raise TroveError(f"{found.path} is binary: change it with a command", 415, recovery="adapt")


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
