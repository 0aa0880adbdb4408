"""HTTP of going back to any state."""

from trove_agents.server.http import Request
from trove_agents.server.namespaces.locks import ExecLocks
from trove_agents.server.routing import Route
from trove_agents.server.snapshots.restores import Restores
from trove_agents.wire import headers
from trove_agents.wire.restores import RestoredState, RestoreRequest


def routes(restores: Restores, locks: ExecLocks) -> list[Route]:
    def restore_if_free(request: Request, body: RestoreRequest) -> RestoredState | None:
        return restores.restore(request.principal, request.namespace, body.to, locks)

    async def restore(request: Request, body: RestoreRequest) -> RestoredState:
        space = await request.hop(restores.namespace_of, request.principal, request.namespace, body.to)
        return await locks.when_free(space, lambda: restore_if_free(request, body), hop=request.hop)

    return [
        Route(
            "POST",
            "/v1/restore",
            restore,
            attempt=restore_if_free,
            run="loop",
            access="runtime",
            summary="Go back to a state",
            once=True,
            body=RestoreRequest,
            reply=RestoredState,
            errors=(404, 409, 503),
            request_headers=(headers.REFERENCE, headers.LEASE),
            capability="restore",
        )
    ]
