"""The same program against a server, ours or the hosted one, or embedded: what it is given decides."""

import os
from types import TracebackType
from typing import Protocol, Self

from trove_agents.client.clients import AsyncTroveAdminClient, AsyncTroveClient, TroveAdminClient, TroveClient
from trove_agents.config import DEFAULT_BASE_URL, Settings
from trove_agents.embedded.trove import Trove
from trove_agents.errors import TroveAuthError


class Connection(Protocol):
    """What hands out clients: a ``Trove`` and a ``Remote`` alike."""

    def client(self, namespace: str, *, timeout: float = 60.0) -> TroveClient:
        """A client for one namespace."""

    def async_client(self, namespace: str, *, timeout: float = 60.0) -> AsyncTroveClient:
        """As ``client``, for async callers."""

    def admin(self) -> TroveAdminClient:
        """A client that manages keys and reads events."""

    def async_admin(self) -> AsyncTroveAdminClient:
        """As ``admin``, for async callers."""

    def close(self) -> None:
        """Gives back what the connection itself holds; its clients are closed by their users."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Remote:
    """A server over the network. It holds nothing itself: each client has connections of its own."""

    def __init__(self, base_url: str, api_key: str, *, workspace_id: str | None = None) -> None:
        self.base_url = base_url
        self._key = api_key
        self._workspace = workspace_id

    def client(self, namespace: str, *, timeout: float = 60.0) -> TroveClient:
        """A client for one namespace."""
        return TroveClient(self._key, namespace, base_url=self.base_url, timeout=timeout)

    def async_client(self, namespace: str, *, timeout: float = 60.0) -> AsyncTroveClient:
        """As ``client``, for async callers."""
        return AsyncTroveClient(self._key, namespace, base_url=self.base_url, timeout=timeout)

    def admin(self) -> TroveAdminClient:
        """A client that manages keys and reads events. Needs the workspace's id, and an admin key for keys."""
        return TroveAdminClient(self._key, self._workspace_id(), base_url=self.base_url)

    def async_admin(self) -> AsyncTroveAdminClient:
        """As ``admin``, for async callers."""
        return AsyncTroveAdminClient(self._key, self._workspace_id(), base_url=self.base_url)

    def close(self) -> None:
        """Does nothing: see the class."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Remote({self.base_url!r})"

    def _workspace_id(self) -> str:
        if self._workspace is None:
            with TroveClient(self._key, base_url=self.base_url) as client:
                self._workspace = client.me().workspace_id
        return self._workspace


def connect(
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    workspace_id: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Trove | Remote:
    """The server that arguments or the environment name, else the embedded one.

    A key or a URL (``TROVE_API_KEY``, ``TROVE_BASE_URL``, or the file of ``TROVE_CONFIG``) means a server; a key
    alone the hosted service. With neither, the state in ``path`` is opened, or in ``.trove-agents``.

    Raises:
        TroveAuthError: a URL and no key.
    """
    found = Settings.load(base_url=base_url, api_key=api_key, workspace_id=workspace_id)
    if found.base_url is None and found.api_key is None:
        return Trove.local(path)
    if found.api_key is None:
        raise TroveAuthError(f"no API key for {found.base_url}: pass api_key or set TROVE_API_KEY")
    return Remote(found.base_url or DEFAULT_BASE_URL, found.api_key, workspace_id=found.workspace_id)
