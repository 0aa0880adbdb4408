"""HTTP of files."""

import functools
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from trove_agents.server import paths, timelines
from trove_agents.server.blobs import BlobStore, BlobWriter
from trove_agents.server.errors import TooLarge
from trove_agents.server.files.conditions import conditions, unchanged, wanted
from trove_agents.server.files.listings import Listings
from trove_agents.server.files.service import Download, Files, pieces
from trove_agents.server.http import Request
from trove_agents.server.replies import Disconnected, Reply
from trove_agents.server.routing import Route
from trove_agents.server.timelines import Payload
from trove_agents.server.waiting import whole
from trove_agents.wire import headers, limits
from trove_agents.wire.files import (
    Deleted,
    DeleteRequest,
    FileContent,
    FileResult,
    FileStat,
    Listing,
    WriteRequest,
)

_OCTETS = b"application/octet-stream"
_OF_CHANGES = ("If-Match", "If-None-Match", headers.REFERENCE, headers.LEASE)


class ListQuery(msgspec.Struct, frozen=True):
    """Query of a listing."""

    path: str = ""
    recursive: bool = False
    at: str | None = None
    limit: int | None = None
    cursor: str | None = None


class ReadQuery(msgspec.Struct, frozen=True):
    """Query of a text read, and of a look at a path."""

    path: str
    at: str | None = None


class DownloadQuery(msgspec.Struct, frozen=True):
    """Query of a download."""

    at: str | None = None


def _listing(listings: Listings, request: Request, query: ListQuery) -> Listing:
    who, name, path, recursive = request.principal, request.namespace, query.path, query.recursive
    if query.limit is None and query.cursor is None:
        return listings.listing(who, name, path, recursive=recursive, at=query.at)
    return listings.page(
        who, name, path, recursive=recursive, at=query.at, limit=query.limit, cursor=query.cursor
    )


def routes(files: Files, listings: Listings, blobs: BlobStore) -> list[Route]:
    def write(request: Request, body: WriteRequest) -> FileResult:
        only = conditions(request.headers)
        return files.write(request.principal, request.namespace, body.path, body.content, only)

    def delete(request: Request, body: DeleteRequest) -> Deleted:
        return files.delete(request.principal, request.namespace, body.path, conditions(request.headers))

    def read(request: Request, query: ReadQuery) -> FileContent:
        return files.read(request.principal, request.namespace, query.path, at=query.at)

    def stat(request: Request, query: ReadQuery) -> FileStat:
        return files.stat(request.principal, request.namespace, query.path, at=query.at)

    async def upload(request: Request) -> FileResult:
        target = paths.below_root(request.params["path"])
        announced = request.content_length
        if announced is not None and announced > limits.UPLOAD_BYTES:
            raise _too_large()
        who, name, only = request.principal, request.namespace, conditions(request.headers)
        # A smaller one is here already; and one that was sent before has an answer, however little room is left
        if announced is not None and announced > timelines.INLINE_BYTES and who.keyed is None:
            await request.hop(files.check_room, who, name, target, announced)
        payload = await _receive(request, blobs)
        request.known_by(payload.digest)
        who = request.principal  # anew: until now the body was no part of what the call is known by
        return await request.hop(files.store, who, name, target, payload, source="upload", only=only)

    async def download(request: Request, query: DownloadQuery) -> Reply:
        who, name, path = request.principal, request.namespace, request.params["path"]
        return _answer(request, blobs, await request.hop(files.download, who, name, path, at=query.at))

    return [
        Route(
            "POST",
            "/write",
            write,
            run="hop",
            access="runtime",
            summary="Create or replace a text file",
            once=True,
            body=WriteRequest,
            reply=FileResult,
            errors=(409, 412),
            request_headers=_OF_CHANGES,
            capability="files.conditions",
            body_bytes=8 * limits.WRITE_BYTES,
        ),
        Route(
            "PUT",
            "/files/{path...}",
            upload,
            run="loop",
            access="runtime",
            summary="Upload a file's bytes",
            once=True,
            reply=FileResult,
            raw_body=True,
            errors=(409, 412, 413),
            request_headers=_OF_CHANGES,
        ),
        Route(
            "GET",
            "/files/{path...}",
            download,
            run="loop",
            access="runtime",
            summary="Download a file's bytes",
            query=DownloadQuery,
            media_type="application/octet-stream",
            errors=(404, 416),
            request_headers=("If-None-Match", "Range", "If-Range"),
            also={206: "The part that was asked for", 304: "The caller has these bytes already"},
            capability="files.ranges",
        ),
        Route(
            "POST",
            "/delete",
            delete,
            run="hop",
            access="runtime",
            summary="Delete a file or a directory",
            once=True,
            body=DeleteRequest,
            reply=Deleted,
            errors=(404, 409, 412),
            request_headers=_OF_CHANGES,
        ),
        Route(
            "GET",
            "/v1/files",
            functools.partial(_listing, listings),
            run="hop",
            access="runtime",
            summary="List a directory",
            query=ListQuery,
            reply=Listing,
            errors=(404,),
            capability="files.pages",
        ),
        Route(
            "GET",
            "/v1/files/content",
            read,
            run="inline",
            access="runtime",
            summary="Read a text file",
            query=ReadQuery,
            reply=FileContent,
            errors=(404,),
        ),
        Route(
            "GET",
            "/v1/files/stat",
            stat,
            run="inline",
            access="runtime",
            summary="What is at a path",
            query=ReadQuery,
            reply=FileStat,
            errors=(404,),
            capability="files.at",
        ),
    ]


async def _receive(request: Request, blobs: BlobStore) -> Payload:
    """The body as content: small ones in memory, the rest to the blob store as it arrives."""
    stream = request.stream()
    head = bytearray()
    async for piece in stream:
        head += piece
        if len(head) > timelines.INLINE_BYTES:
            break
    else:
        _check_complete(request, len(head))
        return timelines.payload(blobs, request.principal.workspace, bytes(head))
    opened: list[BlobWriter] = []  # also when the caller leaves while it is opened
    try:
        await whole(request.hop(lambda: opened.append(blobs.writer(request.principal.workspace))))
        await _fill(request, opened[0], head, stream)
        return timelines.payload_of(await whole(request.hop(opened[0].finish)))
    except BaseException:
        # By now no thread is writing: a file closed under one could be another file by the time it goes on
        for writer in opened:
            await whole(request.hop(writer.abort))
        raise


async def _fill(
    request: Request, writer: BlobWriter, pending: bytearray, stream: AsyncIterator[bytes]
) -> None:
    size = 0
    async for piece in stream:
        pending += piece
        if size + len(pending) > limits.UPLOAD_BYTES:
            raise _too_large()
        if len(pending) >= limits.MB:
            size += len(pending)
            await whole(request.hop(writer.write, bytes(pending)))
            pending.clear()
    _check_complete(request, size + len(pending))
    await whole(request.hop(writer.write, bytes(pending)))


def _check_complete(request: Request, size: int) -> None:
    """Less than was announced is a broken upload: the old file stays."""
    announced = request.content_length
    if announced is not None and size != announced:
        raise Disconnected


def _answer(request: Request, blobs: BlobStore, found: Download) -> Reply:
    """All of a file, the part that was asked for, or nothing when the caller has it."""
    extra = {headers.SIZE: str(found.size), "ETag": found.etag, "Accept-Ranges": "bytes"}
    if unchanged(request.headers, found.etag):
        return Reply(_nothing(), 304, _OCTETS, extra)
    part = wanted(request.headers, found.etag, found.size)
    start, stop = part or (0, found.size)
    sent = min(stop - start, limits.DOWNLOAD_BYTES)
    if part is not None:
        extra["Content-Range"] = f"bytes {start}-{start + sent - 1}/{found.size}"
    elif found.size > sent:
        extra[headers.TRUNCATED] = "1"
    status = 200 if part is None else 206
    return Reply(_send(request, blobs, found, sent, start), status, _OCTETS, extra, sent)


async def _nothing() -> AsyncGenerator[bytes, None]:
    """A body without a length: that of a 304 would be the file's."""
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece


async def _send(
    request: Request, blobs: BlobStore, found: Download, size: int, start: int
) -> AsyncGenerator[bytes, None]:
    if found.payload.data is not None:
        yield found.payload.data[start : start + size]
        return
    source = pieces(blobs, found.workspace, found.payload, size, start)
    while piece := await request.hop(next, source, b""):
        yield piece


def _too_large() -> TooLarge:
    return TooLarge("a file is at most 100 MB")
