"""Where clients come from: whoever can make one for any namespace."""

from typing import Protocol, TypeAlias

from pydantic_ai.exceptions import UserError

from trove_agents import AsyncTroveClient


class Clients(Protocol):
    """What makes clients: a ``Trove``, or what ``connect()`` returns."""

    def async_client(self, namespace: str, *, timeout: float = 60.0) -> AsyncTroveClient:
        """A client for one namespace."""


Source: TypeAlias = Clients | AsyncTroveClient
"""Whose workspaces: those that a connection can reach, or first of all that of one client."""


def client_of(source: Source, namespace: str) -> AsyncTroveClient:
    """A client for a namespace, without I/O. A single client lends its connections to the others."""
    if not isinstance(source, AsyncTroveClient):
        return source.async_client(namespace)
    return source if source.namespace == namespace else source.for_namespace(namespace)


def own_namespace(source: Source) -> str | None:
    """The one namespace of a single client; None: any can be had.

    Raises:
        UserError: the client leaves it to its key, so that nobody knows it without asking.
    """
    if not isinstance(source, AsyncTroveClient):
        return None
    if source.namespace is None:
        raise UserError("name the namespace of the client: AsyncTroveClient(api_key, namespace)")
    return source.namespace
