"""Events of a workspace: what happened, newest first."""

from collections.abc import AsyncIterator, Collection, Iterator
from datetime import UTC, datetime

from trove_agents.client.call import Call, get, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.wire import limits
from trove_agents.wire.events import EventPage, ListedEvent


def events_page(
    workspace: str,
    *,
    namespace: str | None = None,
    types: Collection[str] | None = None,
    since: str | datetime | None = None,
    limit: int = limits.EVENTS_PAGE,
    cursor: str | None = None,
) -> Call[EventPage]:
    """One page; ``next_cursor`` continues towards older events under the same filters."""
    if isinstance(types, str):
        types = (types,)
    if isinstance(since, datetime):
        since = (since if since.tzinfo else since.replace(tzinfo=UTC)).isoformat()
    query = {
        "limit": str(limit),
        "namespace": namespace,
        "types": None if types is None else ",".join(types),
        "since": since,
        "cursor": cursor,
    }
    given = tuple((name, text) for name, text in query.items() if text is not None)
    return get(("v1", "workspaces", workspace, "events"), _EVENT_PAGE, given)


class EventsMethods(Driver):
    """Events of one workspace."""

    workspace_id: str

    def list_events(
        self,
        *,
        namespace: str | None = None,
        types: Collection[str] | None = None,
        since: str | datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[ListedEvent]:
        """What happened, newest first, read page by page as it is asked for.

        Args:
            namespace: Only of this one; events of the workspace as a whole are then left out.
            types: Only these, such as ``["file.written", "exec.completed"]``.
            since: Only after this moment (exclusive): ISO 8601 text, or a datetime, UTC unless it says otherwise.
                The ``created_at`` of an event continues after it.
            limit: At most so many; None: all.
        """
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            page = self.send(
                events_page(
                    self.workspace_id,
                    namespace=namespace,
                    types=types,
                    since=since,
                    limit=_page(left),
                    cursor=cursor,
                )
            )
            yield from page.events[:left]
            left = None if left is None else left - len(page.events)
            cursor = page.next_cursor
            if cursor is None:
                return


class AsyncEventsMethods(AsyncDriver):
    """As ``EventsMethods``."""

    workspace_id: str

    async def list_events(
        self,
        *,
        namespace: str | None = None,
        types: Collection[str] | None = None,
        since: str | datetime | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[ListedEvent]:
        """See :meth:`TroveAdminClient.list_events`; iterate with ``async for``."""
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            page = await self.send(
                events_page(
                    self.workspace_id,
                    namespace=namespace,
                    types=types,
                    since=since,
                    limit=_page(left),
                    cursor=cursor,
                )
            )
            for event in page.events[:left]:
                yield event
            left = None if left is None else left - len(page.events)
            cursor = page.next_cursor
            if cursor is None:
                return


_EVENT_PAGE = value(EventPage)


def _page(left: int | None) -> int:
    return limits.EVENTS_PAGE if left is None else min(left, limits.EVENTS_PAGE)
