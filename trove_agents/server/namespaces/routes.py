"""HTTP of namespaces."""

import msgspec

from trove_agents.server.http import Request
from trove_agents.server.namespaces.listing import NamespaceService
from trove_agents.server.namespaces.locks import ExecLocks
from trove_agents.server.routing import Route
from trove_agents.wire import limits
from trove_agents.wire.namespaces import NamespaceDeleted, NamespaceInfo, NamespacePage, NamespaceSettings


class NamespacesQuery(msgspec.Struct, frozen=True):
    """Query of the listing."""

    limit: int = limits.NAMESPACES_PAGE
    cursor: str | None = None


def routes(namespaces: NamespaceService, locks: ExecLocks) -> list[Route]:
    def page(request: Request, query: NamespacesQuery) -> NamespacePage:
        return namespaces.page(request.principal, query.limit, query.cursor)

    def info(request: Request) -> NamespaceInfo:
        return namespaces.info(request.principal, request.params["name"])

    def configure(request: Request, body: NamespaceSettings) -> NamespaceInfo:
        return namespaces.configure(request.principal, request.params["name"], body)

    def delete_if_free(request: Request) -> NamespaceDeleted | None:
        return namespaces.delete(request.principal, request.params["name"], locks)

    async def delete(request: Request) -> NamespaceDeleted:
        space = await request.hop(namespaces.namespace_of, request.principal, request.params["name"])
        return await locks.when_free(space, lambda: delete_if_free(request), hop=request.hop)

    one = "/v1/namespaces/{name}"
    return [
        Route(
            "GET",
            "/v1/namespaces",
            page,
            run="inline",
            access="any",
            summary="List namespaces by name",
            query=NamespacesQuery,
            reply=NamespacePage,
            errors=(400,),
            capability="namespaces",
        ),
        Route(
            "GET",
            one,
            info,
            run="inline",
            access="any",
            summary="What a namespace holds",
            reply=NamespaceInfo,
            errors=(404,),
        ),
        Route(
            "PATCH",
            one,
            configure,
            run="hop",
            access="any",
            summary="Change a namespace's settings",
            body=NamespaceSettings,
            reply=NamespaceInfo,
            errors=(404,),
            capability="namespaces.settings",
        ),
        Route(
            "DELETE",
            one,
            delete,
            attempt=delete_if_free,
            run="loop",
            access="any",
            summary="Delete a namespace and its snapshots",
            once=True,
            reply=NamespaceDeleted,
            errors=(404,),
        ),
    ]
