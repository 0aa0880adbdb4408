"""Wallet keys: who may spend."""

from dataclasses import replace
from typing import Any, Final

import msgspec

from trove_agents.client.call import Call, delete, get, post, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.transport import Reply
from trove_agents.wire.wallets import KeyRole

KEY_ROLES: Final = "key_roles"
"""The capability."""
_KEYS: Final = ("api", "keys")


class WalletKeyCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A new wallet key."""

    id: int
    name: str
    api_key: str
    """Shown this once."""
    created_at: str
    role: str = "owner"
    wallet_id: int | None = None
    """Of a key that only spends: the one wallet that it sees."""


class WalletKeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet key without its secret."""

    id: int
    name: str
    role: str
    """``owner``, or ``spend``: reads and spends one wallet, and decides nothing."""
    created_at: str
    wallet_id: int | None = None
    """Of a key that only spends: the one wallet that it sees."""


def create_key(
    name: str, *, role: KeyRole | None = None, wallet_id: int | None = None, admin_key: str | None = None
) -> Call[WalletKeyCreated]:
    """Mints a key. Not repeated: it would mint two."""
    given: dict[str, Any] = {"name": name, "role": role, "wallet_id": wallet_id}
    call = post(_KEYS, _CREATED, {field: said for field, said in given.items() if said is not None})
    if admin_key is None:
        return call
    return replace(call, headers=(*call.headers, ("authorization", f"Bearer {admin_key}")))


def list_keys() -> Call[list[WalletKeyInfo]]:
    """The key and those that it gave out."""
    return get(_KEYS, _keys)


def delete_key(key_id: int) -> Call[None]:
    """Ends a key. Not repeated: the second would say that there is none."""
    return delete((*_KEYS, str(key_id)))


class WalletKeysMethods(Driver):
    """Wallet keys. Every server makes them; on one without ``key_roles`` all else raises ``NotSupported``."""

    def create_key(
        self,
        name: str,
        *,
        role: KeyRole | None = None,
        wallet_id: int | None = None,
        admin_key: str | None = None,
    ) -> WalletKeyCreated:
        """Mints a wallet key. Its secret is in the result, and shown this once. Needs no key itself.

        A key with the role ``spend`` is made with the key that owns the wallet. It reads and spends that wallet alone,
        asks for approvals, and raises ``TroveAuthError`` (403) for all that its owner decides.

        Args:
            name: For people; need not be unique.
            role: None or ``owner``: makes wallets, which are its own; ``spend``: see above.
            wallet_id: Of a key that spends: its wallet.
            admin_key: A key of admin scope, for a Trove server that can be reached from other machines.

        Raises:
            NotSupported: a role or a wallet is given, and the server knows no roles.
        """
        step = create_key(name, role=role, wallet_id=wallet_id, admin_key=admin_key)
        return self.run(self._capabilities.need(KEY_ROLES, step, when=(role, wallet_id) != (None, None)))

    def list_keys(self) -> list[WalletKeyInfo]:
        """The client's key and those that it gave out, oldest first. For keys that own wallets."""
        return self.run(self._capabilities.need(KEY_ROLES, list_keys()))

    def delete_key(self, key_id: int) -> None:
        """Ends a key at once: one that this key gave out, or itself, which leaves its wallets to nobody."""
        self.run(self._capabilities.need(KEY_ROLES, delete_key(key_id)))


class AsyncWalletKeysMethods(AsyncDriver):
    """As ``WalletKeysMethods``."""

    async def create_key(
        self,
        name: str,
        *,
        role: KeyRole | None = None,
        wallet_id: int | None = None,
        admin_key: str | None = None,
    ) -> WalletKeyCreated:
        """See :meth:`WalletClient.create_key`."""
        step = create_key(name, role=role, wallet_id=wallet_id, admin_key=admin_key)
        return await self.run(
            self._capabilities.need(KEY_ROLES, step, when=(role, wallet_id) != (None, None))
        )

    async def list_keys(self) -> list[WalletKeyInfo]:
        """See :meth:`WalletClient.list_keys`."""
        return await self.run(self._capabilities.need(KEY_ROLES, list_keys()))

    async def delete_key(self, key_id: int) -> None:
        """See :meth:`WalletClient.delete_key`."""
        await self.run(self._capabilities.need(KEY_ROLES, delete_key(key_id)))


class _KeysAnswer(msgspec.Struct, frozen=True):
    keys: list[WalletKeyInfo]


_CREATED = value(WalletKeyCreated)
_KEYS_ANSWER = value(_KeysAnswer)


def _keys(reply: Reply) -> list[WalletKeyInfo]:
    return _KEYS_ANSWER(reply).keys
