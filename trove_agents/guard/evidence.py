"""Which exceptions prove that nothing was charged, for the ``not_charged=`` of tools that make one request.

None of these is believed unless it is named: a tool may have paid before the request that failed.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final, TypeAlias

Evidence: TypeAlias = Callable[[BaseException], bool]
"""Whether an exception of the tool proves that nothing was charged."""

_CLIENTS: Final = frozenset({"aiohttp", "httpcore", "httpx", "httpx2", "requests", "urllib3"})
_NOT_SENT: Final = frozenset(
    {
        "ClientConnectorError",
        "ConnectError",
        "ConnectTimeout",
        "ConnectTimeoutError",
        "NameResolutionError",
        "NewConnectionError",
        "PoolTimeout",
        "UnsupportedProtocol",
    }
)
"""Of these HTTP libraries; by name, so that none has to be there."""


def not_sent(error: BaseException) -> bool:
    """The request never left: the name was unknown, the connection refused, or not made in time."""
    if isinstance(error, ConnectionRefusedError):
        return True
    return any(
        kind.__name__ in _NOT_SENT and kind.__module__.partition(".")[0] in _CLIENTS
        for kind in type(error).__mro__
    )


def answered(*statuses: int) -> Evidence:
    """The vendor answered with one of these HTTP statuses, which it does not charge for."""

    def proves(error: BaseException) -> bool:
        response = getattr(error, "response", error)
        status = getattr(response, "status_code", getattr(response, "status", None))
        return type(status) is int and status in statuses

    return proves


def any_of(*evidence: Evidence) -> Evidence:
    """One of these proves it."""
    return lambda error: any(proves(error) for proves in evidence)


_WORKED: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.FAILED_DEPENDENCY, 499})
"""By which a model may have been run. 408 says that the request did not arrive whole (RFC 9110, 15.5.9), but Amazon Bedrock and
gateways answer it when the model took too long, and Bedrock 424 when it failed; 499 is a request that was called off meanwhile."""

turned_away: Final[Evidence] = any_of(not_sent, answered(*(set(range(400, 500)) - _WORKED)))
"""The request never left, or was refused with a 4xx for which providers of models do not charge: all but 408, 424 and 499."""
