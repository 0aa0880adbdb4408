"""HTTP of trees as archives."""

from collections.abc import AsyncGenerator, Iterator

import msgspec

from trove_agents.server.errors import Unprocessable
from trove_agents.server.files.archives import Archives
from trove_agents.server.files.arrival import Arrival, too_large
from trove_agents.server.http import Request
from trove_agents.server.replies import Disconnected, Reply
from trove_agents.server.routing import Route
from trove_agents.server.waiting import whole
from trove_agents.wire import headers, limits
from trove_agents.wire.files import TreeResult

_TAR = "application/x-tar"


class ExportQuery(msgspec.Struct, frozen=True):
    """Query of an export."""

    path: str = ""
    at: str | None = None


class PutQuery(msgspec.Struct, frozen=True):
    """Query of an upload of a directory."""

    path: str = ""
    replace: bool = False


def routes(archives: Archives) -> list[Route]:
    async def put(request: Request, query: PutQuery) -> TreeResult:
        announced = request.content_length
        if announced is not None and announced > limits.TREE_BYTES:
            raise too_large()
        if (coding := request.headers.get("content-encoding", "identity")) != "identity":
            raise Unprocessable(f"the archive is to be sent as it is, not with content-encoding {coding!r}")
        opened: list[Arrival] = []  # also when the caller leaves while it is opened
        try:
            await whole(request.hop(lambda: opened.append(archives.arrival(request.principal, query.path))))
            await _receive(request, opened[0])
            request.known_by(opened[0].digest)
            # To its end, as it reads what has arrived
            return await whole(
                request.hop(
                    archives.put, request.principal, request.namespace, opened[0], replace=query.replace
                )
            )
        finally:
            # By now no thread uses it
            for arrival in opened:
                await whole(request.hop(arrival.close))

    async def export(request: Request, query: ExportQuery) -> Reply:
        found = await request.hop(
            archives.export, request.principal, request.namespace, query.path, at=query.at
        )
        return Reply(_send(request, archives.archive(found)), media_type=_TAR.encode())

    return [
        Route(
            "GET",
            "/v1/tree",
            export,
            run="loop",
            access="runtime",
            summary="A directory with all it holds, as a tar archive",
            query=ExportQuery,
            media_type=_TAR,
            errors=(404,),
            capability="tree",
        ),
        Route(
            "PUT",
            "/v1/tree",
            put,
            run="loop",
            access="runtime",
            summary="Put a tar archive below a directory, at once",
            once=True,
            query=PutQuery,
            reply=TreeResult,
            raw_body=True,
            errors=(409, 413),
            request_headers=(headers.REFERENCE, headers.LEASE),
            capability="tree",
        ),
    ]


async def _receive(request: Request, arrival: Arrival) -> None:
    size = 0
    pending = bytearray()
    async for piece in request.stream():
        size += len(piece)
        pending += piece
        if len(pending) >= limits.MB:
            await whole(request.hop(arrival.feed, bytes(pending)))
            pending.clear()
    if (announced := request.content_length) is not None and size != announced:
        raise Disconnected  # less than was announced
    await whole(request.hop(arrival.feed, bytes(pending)))
    await whole(request.hop(arrival.finish))


async def _send(request: Request, source: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    while piece := await request.hop(next, source, b""):
        yield piece
