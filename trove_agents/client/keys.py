"""API keys of a workspace, and who the present key is."""

from trove_agents.client.call import Call, delete, get, post, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.transport import Reply
from trove_agents.wire.keys import KeyCreated, KeyMetadata, KeyRequest, Keys, Me


def me() -> Call[Me]:
    """Who the key is."""
    return get(("v1", "me"), _ME)


def create_key(workspace: str, name: str, *, namespace: str | None = None) -> Call[KeyCreated]:
    """Mints a key. Not repeated: it would mint two."""
    return post(_keys(workspace), _KEY_CREATED, KeyRequest(name, namespace))


def list_keys(workspace: str) -> Call[list[KeyMetadata]]:
    """Lists the keys."""
    return get(_keys(workspace), _key_list)


def revoke_key(workspace: str, key_id: str) -> Call[None]:
    """Revokes a key."""
    return delete((*_keys(workspace), key_id))


class MeMethods(Driver):
    """What a key can find out about itself."""

    def me(self) -> Me:
        """Who this key is: workspace, scope, the namespace it is locked to; and what the server can do."""
        return self.send(me())


class AsyncMeMethods(AsyncDriver):
    """As ``MeMethods``."""

    async def me(self) -> Me:
        """See :meth:`TroveClient.me`."""
        return await self.send(me())


class KeysMethods(Driver):
    """Keys of one workspace."""

    workspace_id: str

    def create_key(self, name: str, *, namespace: str | None = None) -> KeyCreated:
        """Mints a key for files and commands. Its secret is in the result, and shown this once.

        Args:
            name: For people; need not be unique.
            namespace: Locks the key to one namespace, for a customer or an agent; None: it works in all.
        """
        return self.send(create_key(self.workspace_id, name, namespace=namespace))

    def list_keys(self) -> list[KeyMetadata]:
        """The active keys, without their secrets."""
        return self.send(list_keys(self.workspace_id))

    def revoke_key(self, key_id: str) -> None:
        """Revokes a key: its next request is refused.

        Raises:
            TroveNotFoundError: no active key has this id.
        """
        self.send(revoke_key(self.workspace_id, key_id))


class AsyncKeysMethods(AsyncDriver):
    """As ``KeysMethods``."""

    workspace_id: str

    async def create_key(self, name: str, *, namespace: str | None = None) -> KeyCreated:
        """See :meth:`TroveAdminClient.create_key`."""
        return await self.send(create_key(self.workspace_id, name, namespace=namespace))

    async def list_keys(self) -> list[KeyMetadata]:
        """See :meth:`TroveAdminClient.list_keys`."""
        return await self.send(list_keys(self.workspace_id))

    async def revoke_key(self, key_id: str) -> None:
        """See :meth:`TroveAdminClient.revoke_key`."""
        await self.send(revoke_key(self.workspace_id, key_id))


_ME = value(Me)
_KEY_CREATED = value(KeyCreated)
_KEYS = value(Keys)


def _keys(workspace: str) -> tuple[str, ...]:
    return ("v1", "workspaces", workspace, "keys")


def _key_list(reply: Reply) -> list[KeyMetadata]:
    return _KEYS(reply).keys
