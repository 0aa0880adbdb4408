"""Which exceptions prove that nothing was charged, for the ``not_charged=`` of tools that make one request.

None of these is believed unless it is named: a tool may have paid before the request that failed.
"""

from collections.abc import Callable
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


turned_away: Final[Evidence] = any_of(not_sent, answered(*range(400, 500)))
"""The request never left, or was refused with a 4xx: providers of models do not charge for it."""
