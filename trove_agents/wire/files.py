"""Files: write, upload, delete, list and read."""

from typing import Literal

import msgspec

Encoding = Literal["utf-8", "binary"]
FileKind = Literal["file", "directory", "link"]


class WriteRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /write``: creates or replaces one UTF-8 text file, parents as needed."""

    path: str
    content: str


class DeleteRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /delete``: a file, or a directory with all it holds."""

    path: str


class FileResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a write or an upload stored."""

    path: str
    """``workspace/...``"""
    size_bytes: int
    etag: str | None = None
    """Quoted, for ``If-Match``; None from servers without conditions."""
    reference_id: str | None = None
    """The step reference that was asked for with the call."""


class Deleted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of ``POST /delete``."""

    deleted: str
    """``workspace/...``"""
    reference_id: str | None = None
    """The step reference that was asked for with the call."""


class DirectoryRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/files/mkdir``: a directory, parents as needed."""

    path: str


class Directory(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of ``POST /v1/files/mkdir``."""

    path: str
    """``workspace/...``"""
    created: bool
    """False: it was there, and nothing changed."""
    reference_id: str | None = None
    """The step reference that was asked for with the call."""


class TransferRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/files/move`` and ``POST /v1/files/copy``: a file, or a directory with all it holds."""

    source: str = msgspec.field(name="from")
    to: str
    overwrite: bool = False
    """What is at ``to`` goes, a directory with all it holds."""


class Transferred(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was moved or copied."""

    source: str = msgspec.field(name="from")
    """``workspace/...``"""
    to: str
    """``workspace/...``"""
    files: int
    """How many files and links that were."""
    reference_id: str | None = None
    """The step reference that was asked for with the call."""


class TreeResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an archive put."""

    path: str
    """The directory, ``workspace/...``."""
    files: int
    """How many files and links."""
    size_bytes: int
    """Of all the files."""
    reference_id: str | None = None
    """The step reference that was asked for with the call."""


class FileInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a listing. A symbolic link is shown as an entry that is not a directory, wherever it leads."""

    name: str
    path: str
    """``workspace/...``, directories without a trailing slash."""
    is_dir: bool
    size_bytes: int | None
    """None for directories."""
    modified_at: str
    """Of the content; ISO 8601, UTC, six fractional digits, ``Z``."""
    is_link: bool = False
    """Of our own servers; others do not say it."""


class FileStat(msgspec.Struct, frozen=True):
    """Answer of ``GET /v1/files/stat``: what is at a path, a link itself and not what it leads to."""

    path: str
    """``workspace/...``"""
    kind: FileKind
    size_bytes: int | None
    """None for directories; of a link the bytes of its target's name."""
    mode: int
    """Permission bits."""
    modified_at: str
    version: int
    """Which version of the namespace put it there; with the path it identifies this content for good."""
    etag: str
    """The same for HTTP, quoted: ``"1795000000000000000"``."""


class Listing(msgspec.Struct, frozen=True):
    """Answer of ``GET /v1/files``.

    Flat: directories first, then files, each by name in code-point order. Recursive: depth first, a
    directory before its content.
    """

    entries: list[FileInfo] = []
    truncated: bool = False
    """Entries were left out: more than ``limits.LIST_ENTRIES``, or deeper than ``limits.LIST_LEVELS``."""
    path: str | None = None
    next_cursor: str | msgspec.UnsetType | None = msgspec.UNSET
    """Of a page only: goes on at the version that it began with, whatever happened since; None on the last one."""


class FileContent(msgspec.Struct, frozen=True):
    """Answer of ``GET /v1/files/content``."""

    path: str
    size_bytes: int
    """The full size, also when the content was cut."""
    modified_at: str
    encoding: Encoding
    content: str | None = None
    """None when the file is binary: not UTF-8, or with a NUL in the part read."""
    truncated: bool = False
    etag: str | None = None
    """As of ``FileResult``."""


class BytesContent(msgspec.Struct, frozen=True):
    """A download with what its headers say."""

    content: bytes
    truncated: bool
    """The server stopped at ``limits.DOWNLOAD_BYTES``."""
    size_bytes: int | None
    """The file's full size; None when the server did not send it."""


def shown(path: str) -> str:
    """``workspace/...`` for a path relative to the root; the root itself is ``workspace``."""
    return f"workspace/{path}" if path else "workspace"
