"""Who may make wallet keys: the public service asks nobody, which only this machine may be trusted with."""

import ipaddress
from collections.abc import Callable
from typing import Final

from trove_agents.server.auth import Principal
from trove_agents.server.errors import Forbidden, Unauthorized, Unavailable
from trove_agents.server.http import Request
from trove_agents.server.keys.service import KeyService

_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_PASSED_ON: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


class Admission:
    """Open in this process, and on a server that only this machine can reach; else an admin key is asked for."""

    def __init__(self, keys: KeyService, authenticate: Callable[[str | None], Principal]) -> None:
        self._keys = keys
        self._authenticate = authenticate
        self._local = False

    def listens_at(self, address: str) -> None:
        """Where calls come in. A server that listens everywhere is not this machine's alone."""
        self._local = ipaddress.ip_address(address.partition("%")[0]).is_loopback

    def workspace(self, request: Request) -> str:
        """The workspace that a new key belongs to: that of the admin key, or without one the server's first.

        Raises:
            Unauthorized: an admin key is needed and there is none, or it is unknown.
            Forbidden: it is no admin key.
        """
        header = request.headers.get("authorization")
        if header is not None:
            principal = self._authenticate(header)
            if principal.scope != "admin":
                raise Forbidden("wallet keys are made with an admin key")
            return principal.workspace
        if not (request.in_process or (self._local and _from_here(request))):
            raise Unauthorized(
                "this server can be reached from elsewhere: make wallet keys with an admin key"
            )
        if not (workspaces := self._keys.workspaces()):
            raise Unavailable("this server has no workspace yet")
        return workspaces[0]


def _from_here(request: Request) -> bool:
    """A page from elsewhere that runs in a browser here has its own host's name, and what a proxy passes on is marked."""
    host = request.headers.get("host", "").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name in _NAMES and not any(header in request.headers for header in _PASSED_ON)
