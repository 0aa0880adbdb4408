"""HTTP of events."""

from trove_agents.server.events.service import Events, EventsQuery
from trove_agents.server.http import Request
from trove_agents.server.routing import Route
from trove_agents.wire.events import EventPage


def routes(events: Events) -> list[Route]:
    def page(request: Request, query: EventsQuery) -> EventPage:
        return events.page(request.principal, query)

    return [
        Route(
            "GET",
            "/v1/workspaces/{workspace_id}/events",
            page,
            run="hop",  # a filter that matches little looks at many: not bounded, as inline reads must be
            access="workspace",
            summary="List events, newest first",
            query=EventsQuery,
            reply=EventPage,
            errors=(400,),
        )
    ]
