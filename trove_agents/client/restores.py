"""Going back to any state of one namespace."""

from trove_agents.client.call import Call, post, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.states import State, wire_state
from trove_agents.wire.restores import RestoredState, RestoreRequest


def restore_to(state: State) -> Call[RestoredState]:
    """Goes back. Not repeated: it would undo what others wrote in between."""
    return post(("v1", "restore"), _RESTORED, RestoreRequest(wire_state(state)), once=True)


class RestoresMethods(Driver):
    """Going back to any state of one namespace."""

    def restore_to(self, state: State) -> RestoredState:
        """Makes the namespace what it was in a state, all at once. Files made since are gone from it.

        Nothing is lost: what was before is a state too, and can be restored in turn. Where nothing changed since the
        state, ``changed`` is False in the result, and nothing was done.

        Args:
            state: A snapshot or a step reference or the id of one, a version, or a moment (ISO 8601 text or a
                datetime, UTC unless it says otherwise).

        Raises:
            NotSupported: the server cannot restore any state; ``restore_snapshot`` works on all.
            TroveNotFoundError: no such snapshot or reference here, or a moment before the namespace's first version.
        """
        return self.run(self._capabilities.need("restore", restore_to(state)))


class AsyncRestoresMethods(AsyncDriver):
    """As ``RestoresMethods``."""

    async def restore_to(self, state: State) -> RestoredState:
        """See :meth:`TroveClient.restore_to`."""
        return await self.run(self._capabilities.need("restore", restore_to(state)))


_RESTORED = value(RestoredState)
