"""HTTP of comparisons and history."""

import msgspec

from trove_agents.server.history.service import History
from trove_agents.server.http import Request
from trove_agents.server.routing import Route
from trove_agents.wire import limits
from trove_agents.wire.history import Differences, HistoryPage


class DiffQuery(msgspec.Struct, frozen=True):
    """Query of a comparison."""

    start: str = msgspec.field(name="from")
    to: str | None = None
    limit: int = limits.DIFF_PAGE
    cursor: str | None = None


class HistoryQuery(msgspec.Struct, frozen=True):
    """Query of a history."""

    path: str = ""
    limit: int = limits.HISTORY_PAGE
    cursor: str | None = None


def routes(history: History) -> list[Route]:
    def differences(request: Request, query: DiffQuery) -> Differences:
        return history.differences(
            request.principal,
            request.namespace,
            query.start,
            query.to,
            limit=query.limit,
            cursor=query.cursor,
        )

    def versions(request: Request, query: HistoryQuery) -> HistoryPage:
        return history.page(
            request.principal, request.namespace, query.path, limit=query.limit, cursor=query.cursor
        )

    return [
        Route(
            "GET",
            "/v1/diff",
            differences,
            run="hop",
            access="runtime",
            summary="What differs between two states",
            query=DiffQuery,
            reply=Differences,
            errors=(404,),
            capability="diff",
        ),
        Route(
            "GET",
            "/v1/history",
            versions,
            run="hop",
            access="runtime",
            summary="What happened to a path, or to the namespace, newest first",
            query=HistoryQuery,
            reply=HistoryPage,
            errors=(404,),
            capability="history",
        ),
    ]
