"""HTTP of forks."""

from trove_agents.server.forks.service import Forks
from trove_agents.server.http import Request
from trove_agents.server.routing import Route
from trove_agents.wire.forks import Fork, ForkRequest


def routes(forks: Forks) -> list[Route]:
    def fork(request: Request, body: ForkRequest) -> Fork:
        return forks.create(
            request.principal, request.namespace, body.namespace, start=body.start, key=body.key
        )

    return [
        Route(
            "POST",
            "/v1/forks",
            fork,
            run="hop",
            access="runtime",
            summary="Make a new namespace that starts as a state of this one",
            once=True,
            body=ForkRequest,
            reply=Fork,
            status=201,
            errors=(404, 409),
            capability="forks",
        )
    ]
