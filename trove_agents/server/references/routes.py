"""HTTP of step references."""

import msgspec

from trove_agents.server.http import Request
from trove_agents.server.references.service import References
from trove_agents.server.routing import Route
from trove_agents.wire import limits
from trove_agents.wire.references import (
    ReferenceDeleted,
    ReferencePage,
    ReferenceRequest,
    ReferencesDelete,
    ReferencesDeleted,
    StepReference,
)


class ReferencesQuery(msgspec.Struct, frozen=True):
    """Query of the listing."""

    thread: str | None = None
    limit: int = limits.REFERENCES_PAGE
    cursor: str | None = None


def routes(references: References) -> list[Route]:
    def create(request: Request, body: ReferenceRequest) -> StepReference:
        return references.create(request.principal, request.namespace, thread=body.thread, step=body.step)

    def page(request: Request, query: ReferencesQuery) -> ReferencePage:
        return references.page(
            request.principal,
            request.namespace,
            thread=query.thread,
            limit=query.limit,
            cursor=query.cursor,
        )

    def info(request: Request) -> StepReference:
        return references.info(request.principal, request.namespace, request.params["reference_id"])

    def delete(request: Request) -> ReferenceDeleted:
        return references.delete(request.principal, request.namespace, request.params["reference_id"])

    def delete_many(request: Request, body: ReferencesDelete) -> ReferencesDeleted:
        return references.delete_many(request.principal, request.namespace, body)

    one = "/v1/references/{reference_id}"
    return [
        Route(
            "POST",
            "/v1/references",
            create,
            run="hop",
            access="runtime",
            summary="Refer to the namespace as it is now",
            once=True,
            body=ReferenceRequest,
            reply=StepReference,
            status=201,
            body_optional=True,
            capability="references",
        ),
        Route(
            "GET",
            "/v1/references",
            page,
            run="inline",
            access="runtime",
            summary="List step references, newest first",
            query=ReferencesQuery,
            reply=ReferencePage,
        ),
        Route(
            "POST",
            "/v1/references/delete",
            delete_many,
            run="hop",
            access="runtime",
            summary="Delete many step references",
            once=True,
            body=ReferencesDelete,
            reply=ReferencesDeleted,
        ),
        Route(
            "GET",
            one,
            info,
            run="inline",
            access="runtime",
            summary="Look at a step reference",
            reply=StepReference,
            errors=(404,),
        ),
        Route(
            "DELETE",
            one,
            delete,
            run="hop",
            access="runtime",
            summary="Delete a step reference",
            once=True,
            reply=ReferenceDeleted,
            errors=(404,),
        ),
    ]
