"""HTTP of snapshots."""

from trove_agents.server.http import Request
from trove_agents.server.namespaces.locks import ExecLocks
from trove_agents.server.routing import Route
from trove_agents.server.snapshots.service import SnapshotService
from trove_agents.wire import headers
from trove_agents.wire.snapshots import Restored, Snapshot, SnapshotDeleted, SnapshotRequest, Snapshots


def routes(snapshots: SnapshotService, locks: ExecLocks) -> list[Route]:
    def create(request: Request, body: SnapshotRequest) -> Snapshot:
        return snapshots.create(request.principal, request.namespace, body.label)

    def newest(request: Request) -> Snapshots:
        return snapshots.newest(request.principal, request.namespace)

    def delete(request: Request) -> SnapshotDeleted:
        return snapshots.delete(request.principal, request.namespace, request.params["snapshot_id"])

    async def restore(request: Request) -> Restored:
        who, name, snapshot_id = request.principal, request.namespace, request.params["snapshot_id"]
        space = await request.hop(snapshots.namespace_of, who, name, snapshot_id)
        return await locks.when_free(
            space, lambda: snapshots.restore(who, name, snapshot_id, locks), hop=request.hop
        )

    def restore_if_free(request: Request) -> Restored | None:
        who, name = request.principal, request.namespace
        return snapshots.restore(who, name, request.params["snapshot_id"], locks)

    one = "/v1/snapshots/{snapshot_id}"
    return [
        Route(
            "POST",
            "/v1/snapshots",
            create,
            run="hop",
            access="runtime",
            summary="Take a snapshot",
            once=True,
            body=SnapshotRequest,
            reply=Snapshot,
            status=201,
            body_optional=True,
            capability="idempotency",
        ),
        Route(
            "GET",
            "/v1/snapshots",
            newest,
            run="inline",
            access="runtime",
            summary="List snapshots, newest first",
            reply=Snapshots,
        ),
        Route(
            "POST",
            one + "/restore",
            restore,
            attempt=restore_if_free,
            run="loop",
            access="runtime",
            summary="Go back to a snapshot",
            once=True,
            reply=Restored,
            errors=(404, 409, 503),
            request_headers=(headers.REFERENCE, headers.LEASE),
        ),
        Route(
            "DELETE",
            one,
            delete,
            run="hop",
            access="runtime",
            summary="Delete a snapshot",
            once=True,
            reply=SnapshotDeleted,
            errors=(404,),
        ),
    ]
