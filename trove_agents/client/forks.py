"""Forks of one namespace."""

from trove_agents.client.call import Call, post, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.states import State, wire_state
from trove_agents.wire.forks import Fork, ForkRequest


def fork(name: str, at: State | None = None, *, key: bool = False) -> Call[Fork]:
    """Makes a fork. Not repeated: the second would say that the name is taken."""
    return post(
        ("v1", "forks"), _FORK, ForkRequest(name, None if at is None else wire_state(at), key), once=not key
    )


class ForksMethods(Driver):
    """Forks of one namespace."""

    def fork(self, name: str, at: State | None = None, *, key: bool = False) -> Fork:
        """Makes a new namespace that starts as this one, or as what it was; from then on they do not touch.

        Takes the same short time whatever the size: nothing is copied.

        Args:
            name: The new namespace. A locked key names its forks after its own: ``my-agent-try1``.
            at: A snapshot, a reference or the id of one, a version, or a moment (ISO 8601 text or a datetime, UTC unless it says
                otherwise); None: as it is now.
            key: Asks for a key that is locked to the fork. A locked key gets one unasked. It is in the result,
                and its secret shown this once.

        Raises:
            NotSupported: the server has no forks.
            TroveConflictError: the name is taken.
            TroveAuthError: a locked key asked for another name than its own with a dash and more.
            TroveNotFoundError: no such snapshot here, or a moment before the namespace's first version.
        """
        return self.run(self._capabilities.need("forks", fork(name, at, key=key)))


class AsyncForksMethods(AsyncDriver):
    """As ``ForksMethods``."""

    async def fork(self, name: str, at: State | None = None, *, key: bool = False) -> Fork:
        """See :meth:`TroveClient.fork`."""
        return await self.run(self._capabilities.need("forks", fork(name, at, key=key)))


_FORK = value(Fork)
