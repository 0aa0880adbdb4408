"""HTTP of directories, and of moving and copying trees."""

from trove_agents.server.files.trees import Trees
from trove_agents.server.http import Request
from trove_agents.server.routing import Route
from trove_agents.wire import headers
from trove_agents.wire.files import Directory, DirectoryRequest, Transferred, TransferRequest

_OF_CHANGES = (headers.REFERENCE, headers.LEASE)


def routes(trees: Trees) -> list[Route]:
    def mkdir(request: Request, body: DirectoryRequest) -> Directory:
        return trees.make_directory(request.principal, request.namespace, body.path)

    def move(request: Request, body: TransferRequest) -> Transferred:
        who, name = request.principal, request.namespace
        return trees.move(who, name, body.source, body.to, overwrite=body.overwrite)

    def copy(request: Request, body: TransferRequest) -> Transferred:
        who, name = request.principal, request.namespace
        return trees.copy(who, name, body.source, body.to, overwrite=body.overwrite)

    return [
        Route(
            "POST",
            "/v1/files/mkdir",
            mkdir,
            run="hop",
            access="runtime",
            summary="Make a directory",
            once=True,
            body=DirectoryRequest,
            reply=Directory,
            errors=(409,),
            request_headers=_OF_CHANGES,
            capability="files.mkdir",
        ),
        Route(
            "POST",
            "/v1/files/move",
            move,
            run="hop",
            access="runtime",
            summary="Move a file or a directory",
            once=True,
            body=TransferRequest,
            reply=Transferred,
            errors=(404, 409),
            request_headers=_OF_CHANGES,
            capability="files.move",
        ),
        Route(
            "POST",
            "/v1/files/copy",
            copy,
            run="hop",
            access="runtime",
            summary="Copy a file or a directory",
            once=True,
            body=TransferRequest,
            reply=Transferred,
            errors=(404, 409, 413),
            request_headers=_OF_CHANGES,
            capability="files.copy",
        ),
    ]
