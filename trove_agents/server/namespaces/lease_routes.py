"""HTTP of leases."""

import msgspec

from trove_agents.server.http import Request
from trove_agents.server.namespaces.leases import Leases
from trove_agents.server.routing import Route
from trove_agents.wire.leases import Lease, LeaseHolder, LeaseReleased, LeaseRenewal, LeaseRequest


class LeaseQuery(msgspec.Struct, frozen=True):
    """Query of ending one that another holds."""

    token: int


def routes(leases: Leases) -> list[Route]:
    def acquire(request: Request, body: LeaseRequest) -> Lease:
        return leases.acquire(request.principal, request.namespace, body)

    def holder(request: Request) -> LeaseHolder:
        return leases.holder(request.principal, request.namespace)

    def end(request: Request, query: LeaseQuery) -> LeaseReleased:
        return leases.end(request.principal, request.namespace, query.token)

    def renew(request: Request, body: LeaseRenewal) -> Lease:
        return leases.renew(request.principal, request.namespace, request.params["lease_id"], body)

    def release(request: Request) -> LeaseReleased:
        return leases.release(request.principal, request.namespace, request.params["lease_id"])

    one = "/v1/leases/{lease_id}"
    return [
        Route(
            "POST",
            "/v1/leases",
            acquire,
            run="hop",
            access="runtime",
            summary="Keep the namespace to oneself for some time",
            body=LeaseRequest,
            reply=Lease,
            status=201,
            errors=(409,),
            body_optional=True,
            capability="leases",
        ),
        Route(
            "GET",
            "/v1/leases",
            holder,
            run="inline",
            access="runtime",
            summary="Who holds the lease",
            reply=LeaseHolder,
        ),
        Route(
            "DELETE",
            "/v1/leases",
            end,
            run="hop",
            access="runtime",
            summary="End a lease whose holder is known to be gone",
            query=LeaseQuery,
            reply=LeaseReleased,
            capability="leases.end",
        ),
        Route(
            "POST",
            one,
            renew,
            run="hop",
            access="runtime",
            summary="Let a lease end later",
            body=LeaseRenewal,
            reply=Lease,
            errors=(409,),
            body_optional=True,
        ),
        Route(
            "DELETE",
            one,
            release,
            run="hop",
            access="runtime",
            summary="Give a lease back",
            reply=LeaseReleased,
        ),
    ]
