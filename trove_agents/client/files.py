"""Files: what the client knows of writing, reading, listing, uploading and downloading."""

import dataclasses
import warnings
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Final, TypeVar

from trove_agents.client.call import Call, Flow, Pairs, Step, get, post, value, wire_text
from trove_agents.client.download import Downloaded, Sink, Target, extent
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.states import State, at_query
from trove_agents.client.transport import Reply
from trove_agents.client.upload import AsyncSource, Progress, Source, Upload
from trove_agents.errors import TroveError, TroveNotFoundError, TruncatedWarning
from trove_agents.wire import limits
from trove_agents.wire.files import (
    BytesContent,
    Deleted,
    DeleteRequest,
    FileContent,
    FileInfo,
    FileResult,
    FileStat,
    Listing,
    WriteRequest,
)

T = TypeVar("T")

ROOT: Final = "workspace/"


class ListResult(list[FileInfo]):
    """A listing: a list that also says whether it is complete."""

    truncated: bool
    """Entries were left out: more than 1,000, or deeper than 20 levels."""
    path: str | None
    """The directory, ``workspace/...``; None when the server did not say it."""

    def __init__(
        self, entries: Iterable[FileInfo] = (), *, truncated: bool = False, path: str | None = None
    ) -> None:
        super().__init__(entries)
        self.truncated = truncated
        self.path = path


def write(path: str, content: str, conditions: Pairs = ()) -> Call[FileResult]:
    """Creates or replaces a text file. With conditions it is not repeated: its own effect would refuse the second."""
    call = post(
        ("write",), _FILE_RESULT, WriteRequest(wire_text(relative(path)), content), idempotent=True, once=True
    )
    return _only(call, conditions)


def upload(path: str, body: Upload | bytes, conditions: Pairs = ()) -> Call[FileResult]:
    """Creates or replaces a file. Repeated as ``write``."""
    return _only(Call("PUT", _at(path), _FILE_RESULT, body=body, idempotent=True, once=True), conditions)


def delete(path: str, conditions: Pairs = ()) -> Call[str]:
    """Removes a file, or a directory with all it holds. Not repeated: the second would say it is not there."""
    return _only(post(("delete",), _deleted, DeleteRequest(wire_text(relative(path))), once=True), conditions)


def only_if(if_match: str | None, if_none_match: str | None) -> Pairs:
    """The headers of conditions; none for no condition."""
    given = (("if-match", if_match), ("if-none-match", if_none_match))
    return tuple((name, text) for name, text in given if text is not None)


def list_dir(path: str = ROOT, *, recursive: bool = False, at: State | None = None) -> Call[ListResult]:
    """Lists a directory."""
    query = (("path", path), ("recursive", "true")) if recursive else (("path", path),)
    return get(("v1", "files"), _listing, (*query, *at_query(at)))


def list_page(
    path: str = ROOT,
    *,
    recursive: bool = False,
    at: State | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[Listing]:
    """One page of a listing; ``next_cursor`` goes on in the same state."""
    query = {
        "path": path,
        "recursive": "true" if recursive else None,
        "limit": str(limits.LIST_PAGE if limit is None else limit),
        "cursor": cursor,
    }
    given = tuple((name, text) for name, text in query.items() if text is not None)
    return get(("v1", "files"), _LISTING, (*given, *at_query(at)))


def read_file(path: str, *, at: State | None = None) -> Call[FileContent]:
    """Reads a text file, or learns that it is binary."""
    return get(("v1", "files", "content"), _FILE_CONTENT, (("path", path), *at_query(at)))


def read_bytes_full(path: str, *, at: State | None = None) -> Call[BytesContent]:
    """Reads the bytes of a file."""
    return get(_at(path), _bytes_content, at_query(at))


def read(path: str, *, at: State | None = None) -> Flow[FileContent | BytesContent]:
    """Reads text in one request, anything else in two."""
    content = yield from read_file(path, at=at)
    if content.encoding != "binary":
        return content
    return (yield from read_bytes_full(path, at=at))


def stat(path: str, *, at: State | None = None) -> Call[FileStat]:
    """Looks at a path."""
    return get(("v1", "files", "stat"), _FILE_STAT, (("path", path), *at_query(at)))


def optional(step: Step[T]) -> Flow[T | None]:
    """The result of a step, or None when the server says that it is not there."""
    try:
        return (yield from step)
    except TroveNotFoundError:
        return None


def text_of(path: str, content: FileContent, *, stacklevel: int = 3) -> str:
    """The text that was read; warns the caller's caller when it is only the beginning.

    Raises:
        TroveError: the file is binary; ``status_code`` 415.
    """
    if content.encoding == "binary":
        message = f"{path} is binary; use read_bytes() instead"
        raise TroveError(message, status_code=415, code="binary", recovery="adapt")
    if content.truncated:
        _warn_cut(path, content.size_bytes, stacklevel + 1)
    return content.content or ""


def bytes_of(path: str, content: BytesContent, *, stacklevel: int = 3) -> bytes:
    """As ``text_of``, for bytes."""
    if content.truncated:
        _warn_cut(path, content.size_bytes, stacklevel + 1)
    return content.content


def relative(path: str) -> str:
    """A path under the root, without the ``workspace/`` it may be shown with."""
    return path.lstrip("/").removeprefix("workspace/")


class FilesMethods(Driver):
    """Files of one namespace.

    A path may be written with or without ``workspace/`` in front. Any method may raise ``TroveNotFoundError``
    for a path that is not there, and ``TroveError`` with status 400 for one that cannot be.

    What reads takes ``at``, a state of the past: a snapshot, a reference or the id of one, a version, or a moment (ISO 8601 text or a
    datetime, UTC unless it says otherwise). ``NotSupported`` is raised where the server cannot read the past, and
    ``TroveNotFoundError`` for an unknown snapshot and a moment before the namespace's first version.
    """

    def write(
        self, path: str, content: str, *, if_match: str | None = None, if_none_match: str | None = None
    ) -> FileResult:
        """Writes a text file as UTF-8, created or replaced at once, with the directories above it.

        At most 10 MB; ``upload`` takes more. Sent again after a lost connection, unless it has a condition: the
        effect is the same.

        Args:
            path: Where it goes.
            content: All of it.
            if_match: Only if the file is still what had this ``etag``, as ``write`` and ``read_file`` return it.
            if_none_match: ``"*"``: only if nothing is there.

        Raises:
            TroveConflictError: a directory is there, or a file is where a directory above it should be.
            TrovePreconditionError: a condition does not hold; nothing was written.
            NotSupported: a condition was given, and the server has none.
        """
        only = only_if(if_match, if_none_match)
        return self._checked(write(path, content, only), only)

    def upload(
        self,
        path: str,
        data: Source,
        *,
        progress: Progress | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> FileResult:
        """Writes a file of any kind, at most 100 MB; what was there is replaced only when all has arrived.

        Args:
            path: Where it goes.
            data: Bytes; a ``Path``; a file open in binary mode, read from where it stands; or an iterable of
                bytes. Files and iterables are sent as they are read, never held whole.
            progress: Called after each piece with the bytes sent and the total (None when unknown).
            if_match: As for ``write``.
            if_none_match: As for ``write``.

        After a failure it is sent again only if ``data`` can be read again: not from a pipe or a generator.

        Raises:
            TroveConflictError: as for ``write``.
            TrovePreconditionError: as for ``write``.
            NotSupported: as for ``write``.
        """
        only = only_if(if_match, if_none_match)
        return self._checked(upload(path, _body(data, progress), only), only)

    def delete(self, path: str, *, if_match: str | None = None) -> str:
        """Deletes a file, or a directory with all it holds, and returns the path that was deleted.

        Args:
            path: What to delete.
            if_match: As for ``write``. The tag of a directory says nothing of what it holds.

        Raises:
            TrovePreconditionError: as for ``write``.
            NotSupported: as for ``write``.
        """
        only = only_if(if_match, None)
        return self._checked(delete(path, only), only)

    def list_dir(self, path: str = ROOT, *, recursive: bool = False, at: State | None = None) -> ListResult:
        """Lists a directory: directories first, then files, each by name.

        With ``recursive``, everything below as well, depth first. At most 1,000 entries and 20 levels; the
        result's ``truncated`` says whether that was not all.
        """
        return self.run(self._then(at, list_dir(path, recursive=recursive, at=at)))

    def iter_dir(
        self,
        path: str = ROOT,
        *,
        recursive: bool = False,
        at: State | None = None,
        page_size: int | None = None,
    ) -> Iterator[FileInfo]:
        """Lists a directory of any size, as ``list_dir`` does, page by page as entries are asked for.

        All pages are of one state: what happens meanwhile is not seen.

        Args:
            path: The directory.
            recursive: Everything below as well, at any depth: a directory, then its content.
            at: As it was then.
            page_size: Entries to ask for at once, at most and by default 1,000.

        Raises:
            NotSupported: the server gives no pages.
            TroveNotFoundError: no such directory, or no such past.
        """
        self.run(self._paged(at))
        yield from self.pages(
            lambda cursor: list_page(path, recursive=recursive, at=at, limit=page_size, cursor=cursor),
            lambda page: page.entries,
        )

    def read(self, path: str, *, at: State | None = None) -> str | bytes:
        """Reads a file: ``str`` when it is UTF-8 text (one request), ``bytes`` otherwise (two).

        Warns with ``TruncatedWarning`` when the file is longer than what is returned: over 1 MB of text, over
        100 MB of bytes.
        """
        return _either(path, self.run(self._then(at, read(path, at=at))))

    def read_text(self, path: str, *, at: State | None = None) -> str:
        """Reads a UTF-8 text file, at most its first 1 MB.

        A longer file is cut and ``TruncatedWarning`` issued; ``read_file`` returns the flag, and ``read_bytes``
        reads up to 100 MB.

        Raises:
            TroveError: the file is not text; ``status_code`` is 415.
        """
        return text_of(path, self.run(self._then(at, read_file(path, at=at))))

    def read_file(self, path: str, *, at: State | None = None) -> FileContent:
        """Reads a text file with what is known of it: size, time, encoding, and whether it was cut at 1 MB.

        For a binary file ``content`` is None.
        """
        return self.run(self._then(at, read_file(path, at=at)))

    def read_bytes(self, path: str, *, at: State | None = None) -> bytes:
        """Reads a file of any kind into memory, at most its first 100 MB.

        A longer file is cut and ``TruncatedWarning`` issued; ``read_bytes_full`` returns the flag.
        """
        return bytes_of(path, self.run(self._then(at, read_bytes_full(path, at=at))))

    def read_bytes_full(self, path: str, *, at: State | None = None) -> BytesContent:
        """As ``read_bytes``, with the file's full size and whether it was cut."""
        return self.run(self._then(at, read_bytes_full(path, at=at)))

    def stat(self, path: str, *, at: State | None = None) -> FileStat:
        """What is at a path: kind, size, mode, time, and the version that put it there. A link itself.

        Raises:
            NotSupported: the server cannot tell.
            TroveNotFoundError: nothing is there, or ``at`` is no state of this namespace.
        """
        return self.run(self._capabilities.need("files.at", stat(path, at=at)))

    def download(
        self, path: str, to: Target, *, progress: Progress | None = None, at: State | None = None
    ) -> Downloaded:
        """Reads a file of any kind into a local one, piece by piece.

        Args:
            path: What to read.
            to: A path: it appears, or is replaced, only when all has arrived. Or a file open for writing bytes.
            progress: Called after each piece with the bytes received and how many will come (None when unknown).
            at: As it was then.

        After a lost connection it starts again, unless an open file already holds a part.

        The result says whether the file was cut at 100 MB; then ``TruncatedWarning`` is issued, too.
        """
        sink = Sink(to, progress)
        call = read_bytes_full(path, at=at)
        if at is not None:
            self.run(self._capabilities.check("files.at"))

        def once() -> Downloaded:
            with self.stream(call) as reply, sink.opened(reply.headers):
                for chunk in reply.chunks:
                    sink.write(chunk)
                    sink.tell()
            return Downloaded(sink.written, *extent(reply.headers))

        return _told(path, self.repeat(once, lambda: sink.can_restart))

    def _checked(self, call: Call[T], only: Pairs) -> T:
        if not only:
            return self.send(call)
        return self.run(self._capabilities.need("files.conditions", call))

    def _then(self, at: State | None, step: Step[T]) -> Flow[T]:
        """A read; of the past only where the server has it: one that has not would answer with the present."""
        return (yield from step if at is None else self._capabilities.need("files.at", step))

    def _paged(self, at: State | None) -> Flow[None]:
        """Whether pages can be asked for; a server without them would answer with the beginning, as if that was all."""
        yield from self._capabilities.check("files.pages")
        if at is not None:
            yield from self._capabilities.check("files.at")


class AsyncFilesMethods(AsyncDriver):
    """As ``FilesMethods``."""

    async def write(
        self, path: str, content: str, *, if_match: str | None = None, if_none_match: str | None = None
    ) -> FileResult:
        """See :meth:`TroveClient.write`."""
        only = only_if(if_match, if_none_match)
        return await self._checked(write(path, content, only), only)

    async def upload(
        self,
        path: str,
        data: AsyncSource,
        *,
        progress: Progress | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> FileResult:
        """See :meth:`TroveClient.upload`; ``data`` may also be an asynchronous iterable of bytes."""
        only = only_if(if_match, if_none_match)
        return await self._checked(upload(path, _body(data, progress), only), only)

    async def delete(self, path: str, *, if_match: str | None = None) -> str:
        """See :meth:`TroveClient.delete`."""
        only = only_if(if_match, None)
        return await self._checked(delete(path, only), only)

    async def list_dir(
        self, path: str = ROOT, *, recursive: bool = False, at: State | None = None
    ) -> ListResult:
        """See :meth:`TroveClient.list_dir`."""
        return await self.run(self._then(at, list_dir(path, recursive=recursive, at=at)))

    async def iter_dir(
        self,
        path: str = ROOT,
        *,
        recursive: bool = False,
        at: State | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[FileInfo]:
        """See :meth:`TroveClient.iter_dir`; iterate with ``async for``."""
        await self.run(self._paged(at))
        async for entry in self.pages(
            lambda cursor: list_page(path, recursive=recursive, at=at, limit=page_size, cursor=cursor),
            lambda page: page.entries,
        ):
            yield entry

    async def read(self, path: str, *, at: State | None = None) -> str | bytes:
        """See :meth:`TroveClient.read`."""
        return _either(path, await self.run(self._then(at, read(path, at=at))))

    async def read_text(self, path: str, *, at: State | None = None) -> str:
        """See :meth:`TroveClient.read_text`."""
        return text_of(path, await self.run(self._then(at, read_file(path, at=at))))

    async def read_file(self, path: str, *, at: State | None = None) -> FileContent:
        """See :meth:`TroveClient.read_file`."""
        return await self.run(self._then(at, read_file(path, at=at)))

    async def read_bytes(self, path: str, *, at: State | None = None) -> bytes:
        """See :meth:`TroveClient.read_bytes`."""
        return bytes_of(path, await self.run(self._then(at, read_bytes_full(path, at=at))))

    async def read_bytes_full(self, path: str, *, at: State | None = None) -> BytesContent:
        """See :meth:`TroveClient.read_bytes_full`."""
        return await self.run(self._then(at, read_bytes_full(path, at=at)))

    async def stat(self, path: str, *, at: State | None = None) -> FileStat:
        """See :meth:`TroveClient.stat`."""
        return await self.run(self._capabilities.need("files.at", stat(path, at=at)))

    async def download(
        self, path: str, to: Target, *, progress: Progress | None = None, at: State | None = None
    ) -> Downloaded:
        """See :meth:`TroveClient.download`."""
        import asyncio

        sink = Sink(to, progress)
        call = read_bytes_full(path, at=at)
        if at is not None:
            await self.run(self._capabilities.check("files.at"))

        async def once() -> Downloaded:
            async with self.stream(call) as reply:
                with sink.opened(reply.headers):
                    async for chunk in reply.chunks:
                        await asyncio.to_thread(sink.write, chunk)
                        sink.tell()
            return Downloaded(sink.written, *extent(reply.headers))

        return _told(path, await self.repeat(once, lambda: sink.can_restart))

    async def _checked(self, call: Call[T], only: Pairs) -> T:
        if not only:
            return await self.send(call)
        return await self.run(self._capabilities.need("files.conditions", call))

    def _then(self, at: State | None, step: Step[T]) -> Flow[T]:
        """As in ``FilesMethods``."""
        return (yield from step if at is None else self._capabilities.need("files.at", step))

    def _paged(self, at: State | None) -> Flow[None]:
        """Whether pages can be asked for; a server without them would answer with the beginning, as if that was all."""
        yield from self._capabilities.check("files.pages")
        if at is not None:
            yield from self._capabilities.check("files.at")


_FILE_RESULT = value(FileResult)
_FILE_CONTENT = value(FileContent)
_FILE_STAT = value(FileStat)
_DELETED = value(Deleted)
_LISTING = value(Listing)


def _deleted(reply: Reply) -> str:
    return _DELETED(reply).deleted


def _listing(reply: Reply) -> ListResult:
    listing = _LISTING(reply)
    return ListResult(listing.entries, truncated=listing.truncated, path=listing.path)


def _bytes_content(reply: Reply) -> BytesContent:
    return BytesContent(reply.body, *extent(reply.headers))


def _only(call: Call[T], conditions: Pairs) -> Call[T]:
    if not conditions:
        return call
    return dataclasses.replace(call, headers=(*call.headers, *conditions), idempotent=False)


def _at(path: str) -> tuple[str, ...]:
    return ("files", *relative(path).split("/"))


def _body(data: AsyncSource, progress: Progress | None) -> Upload | bytes:
    return data if isinstance(data, bytes) and progress is None else Upload(data, progress)


def _either(path: str, content: FileContent | BytesContent) -> str | bytes:
    if isinstance(content, BytesContent):
        return bytes_of(path, content, stacklevel=4)
    return text_of(path, content, stacklevel=4)


def _told(path: str, result: Downloaded) -> Downloaded:
    if result.truncated:
        _warn_cut(path, result.size_bytes, 4)
    return result


def _warn_cut(path: str, size: int | None, stacklevel: int) -> None:
    total = "" if size is None else f" of {size:,} bytes"
    message = f"{path} is longer than the server returns: this is only its beginning{total}"
    warnings.warn(message, TruncatedWarning, stacklevel=stacklevel)
