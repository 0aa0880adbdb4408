"""HTTP of keys, of sign-up, and of "who am I"."""

from collections.abc import Sequence

import msgspec

from trove_agents.server.errors import Forbidden
from trove_agents.server.http import Request
from trove_agents.server.keys.service import KeyService
from trove_agents.server.routing import Route
from trove_agents.wire.keys import KeyCreated, KeyRequest, KeyRevoked, Keys, Me


class WorkspaceRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/workspaces``."""

    name: str


class SignedUp(msgspec.Struct, frozen=True):
    """Answer of ``POST /v1/workspaces``."""

    workspace_id: str
    api_key: str
    admin_key: str


def routes(keys: KeyService, *, capabilities: Sequence[str], open_signup: bool) -> list[Route]:
    def me(request: Request) -> Me:
        who = request.principal
        return Me(who.workspace, who.key_id, who.key_name, who.scope, who.lock, list(capabilities))

    def create(request: Request, body: KeyRequest) -> KeyCreated:
        return keys.create(request.principal, body)

    def listing(request: Request) -> Keys:
        return keys.active(request.principal)

    def revoke(request: Request) -> KeyRevoked:
        return keys.revoke(request.principal, request.params["key_id"])

    def sign_up(_: Request, body: WorkspaceRequest) -> SignedUp:
        if not open_signup:
            raise Forbidden("sign-up is closed; the server's owner runs 'trove-agents workspace create'")
        made = keys.create_workspace(body.name)
        return SignedUp(made.workspace_id, made.key, made.admin_key)

    base = "/v1/workspaces/{workspace_id}/keys"
    return [
        Route("GET", "/v1/me", me, run="inline", access="any", summary="Who this key is", reply=Me),
        Route(
            "POST",
            base,
            create,
            run="hop",
            access="admin",
            summary="Create a key",
            body=KeyRequest,
            reply=KeyCreated,
            status=201,
        ),
        Route(
            "GET", base, listing, run="inline", access="workspace", summary="List the active keys", reply=Keys
        ),
        Route(
            "DELETE",
            base + "/{key_id}",
            revoke,
            run="hop",
            access="admin",
            summary="Revoke a key",
            reply=KeyRevoked,
            errors=(404, 409),
        ),
        Route(
            "POST",
            "/v1/workspaces",
            sign_up,
            run="hop",
            access="open",
            summary="Create a workspace, where sign-up is open",
            body=WorkspaceRequest,
            reply=SignedUp,
            status=201,
            errors=(403,),
        ),
    ]
