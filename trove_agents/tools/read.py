"""``read``: a text file in parts, or an image or a PDF to look at."""

from typing import Annotated, Any, Final

import msgspec

from trove_agents.client import files
from trove_agents.client.call import Flow
from trove_agents.tools.spec import Attachment, InvalidArguments, ToolContext, ToolSpec
from trove_agents.tools.text import cut
from trove_agents.wire.files import FileContent

ATTACHED_BYTES: Final = 5 * 1024 * 1024
"""Of an image or a PDF: what the providers of models take."""

_DESCRIPTION: Final = """\
Read a file of the workspace. Of a text file you get its lines as they are, without numbers; a long one in parts, with a \
note how to go on. Images (PNG, JPEG, GIF, WebP) and PDFs of at most 5 MB are shown to you. Give at to read the file as it \
was in the past."""

_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)


class ReadArguments(msgspec.Struct, frozen=True):
    """What the model sends."""

    path: Annotated[str, msgspec.Meta(description="Which file, such as workspace/notes.md.")]
    offset: Annotated[int, msgspec.Meta(description="The first line to read, counted from 1.", ge=1)] = 1
    limit: Annotated[int, msgspec.Meta(description="How many lines to read, at most.", ge=1)] = 2_000
    at: Annotated[
        str | None,
        msgspec.Meta(
            description="Read it as it was then: a snapshot's id, a version, or an ISO 8601 time in UTC."
        ),
    ] = None


class FileRead(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was read."""

    path: str
    """``workspace/...``"""
    size_bytes: int
    """Of the whole file."""
    media_type: str
    """``text/plain`` for all text; ``application/octet-stream`` for what the model cannot be shown."""
    content: str | None = None
    """The lines; None when it is no text."""
    first_line: int = 1
    last_line: int = 0
    """0: there is none."""
    total_lines: int | None = None
    """None when the file is longer than the server reads as text: those are the lines of its first MB."""
    data: bytes | None = None
    """Of an image or a PDF."""


def read(arguments: ReadArguments, context: ToolContext) -> Flow[FileRead]:
    """Reads text in one request, an image or a PDF in two.

    Raises:
        InvalidArguments: the file has no line of that number.
    """
    call = files.read_file(arguments.path, at=arguments.at)
    found = yield from call if arguments.at is None else context.need("files.at", call)
    if found.encoding == "binary":
        return (yield from _look(arguments, found))
    lines = (found.content or "").split("\n")
    if not lines[-1]:
        lines.pop()
    start = arguments.offset - 1
    if start and start >= len(lines):
        raise InvalidArguments(_past_the_end(found, len(lines)))
    shown = _fitting(lines[start : start + arguments.limit], context.max_characters)
    return FileRead(
        found.path,
        found.size_bytes,
        "text/plain",
        content="\n".join(shown),
        first_line=arguments.offset,
        last_line=start + len(shown),
        total_lines=None if found.truncated else len(lines),
    )


def render(result: FileRead, max_characters: int) -> str:
    """The lines, and where to go on."""
    size = f"{result.path}, {result.size_bytes:,} bytes"
    if result.content is None and result.data is None:
        return f"[{size}: neither text nor an image or a PDF of at most 5 MB; look at it with a command]"
    if result.content is None:
        return f"[{size}, {result.media_type}]"
    if not result.last_line:
        return f"[{result.path} is empty]"
    text = cut(result.content, max_characters, "to see them, use a command such as cut -c")
    if result.last_line == result.total_lines:
        return text
    first, last = f"{result.first_line:,}", f"{result.last_line:,}"
    total = f"the first MB of {size}" if result.total_lines is None else f"{result.total_lines:,}"
    return f"{text}\n[lines {first} to {last} of {total}; go on with offset {result.last_line + 1}]"


def record(result: FileRead) -> dict[str, Any]:
    """The result in plain values, without what the file holds."""
    without = msgspec.structs.replace(result, content=None, data=None)
    plain: dict[str, Any] = msgspec.to_builtins(without)
    return plain


def attach(result: FileRead) -> tuple[Attachment, ...]:
    """The image or the PDF."""
    if result.data is None:
        return ()
    return (Attachment(result.path, result.media_type, result.data),)


def _look(arguments: ReadArguments, found: FileContent) -> Flow[FileRead]:
    unknown = FileRead(found.path, found.size_bytes, "application/octet-stream")
    if found.size_bytes > ATTACHED_BYTES:
        return unknown
    content = yield from files.read_bytes_full(arguments.path, at=arguments.at)
    kind = media_type(content.content)
    if kind is None:
        return unknown
    return msgspec.structs.replace(unknown, media_type=kind, data=content.content)


def media_type(data: bytes) -> str | None:
    """By its first bytes, what kind of image it is, or a PDF; None: neither."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)


def _fitting(lines: list[str], max_characters: int) -> list[str]:
    """As many whole lines as fit, but at least one."""
    left = max_characters
    for count, line in enumerate(lines):
        left -= len(line) + 1
        if left < 0 and count:
            return lines[:count]
    return lines


def _past_the_end(found: FileContent, lines: int) -> str:
    if found.truncated:
        return f"only the first MB of {found.path} can be read here, {lines:,} lines: use a command such as sed -n"
    return f"{found.path} has {lines:,} lines"


READ: Final = ToolSpec(
    name="read",
    description=_DESCRIPTION,
    arguments=ReadArguments,
    action=read,
    render=render,
    record=record,
    attach=attach,
    changes_files=False,
)
