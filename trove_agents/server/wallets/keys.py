"""Wallet keys: who may spend. They are no keys of the Files API, and belong to a workspace for its events."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, insert, or_, select, update

from trove_agents.server import texts
from trove_agents.server.auth import Principal, digest
from trove_agents.server.db import Connection, Database
from trove_agents.server.db.tables import wallet_keys
from trove_agents.server.errors import Forbidden, NotFound, Unauthorized
from trove_agents.wire import times
from trove_agents.wire.wallets import (
    KEY,
    KEY_PREFIX,
    LARGEST_ID,
    KeyRole,
    WalletKey,
    WalletKeyCreated,
    WalletKeyRevoked,
    WalletKeysAnswer,
)

_k = wallet_keys.c
_BY_DIGEST: Final = select(_k.id, _k.workspace, _k.name, _k.owner, _k.wallet).where(
    _k.digest == bindparam("digest"), _k.revoked_us.is_(None)
)
_ADD: Final = insert(wallet_keys)
_OWN: Final = (
    select(_k.id, _k.name, _k.wallet, _k.created_us)
    .where(or_(_k.id == bindparam("by"), _k.owner == bindparam("by")), _k.revoked_us.is_(None))
    .order_by(_k.id)
)
_REVOKE: Final = (
    update(wallet_keys)
    .where(
        _k.id == bindparam("key"),
        or_(_k.id == bindparam("by"), _k.owner == bindparam("by")),
        _k.revoked_us.is_(None),
    )
    .values(revoked_us=bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class WalletPrincipal(Principal):
    """The wallet key behind a call."""

    key: int = 0
    owner: int = 0
    """The key whose wallets these are: itself, or the one that gave it out."""
    wallet: int | None = None
    """Of a key that only spends: the one wallet that it sees."""

    def owns(self) -> None:
        """Refuses keys that only spend.

        Raises:
            Forbidden: it is one.
        """
        if self.wallet is not None:
            raise Forbidden("this key only spends; the wallet's owner may do that")


class WalletKeys:
    """Wallet keys of all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def authenticate(self, headers: Mapping[str, str]) -> WalletPrincipal:
        """Who calls.

        Raises:
            Unauthorized: no key, or one that is unknown.
        """
        key = headers.get(KEY.lower())
        if key is None:
            raise Unauthorized(f"send your wallet key in {KEY}: {KEY_PREFIX}...")
        with self._database.read() as db:
            row = db.one(_BY_DIGEST, digest=digest(key.strip()))
        if row is None:
            raise Unauthorized("unknown wallet key")
        identity, workspace, name, owner, wallet = row
        return WalletPrincipal(
            workspace,
            f"wallet-key-{identity}",
            name,
            "workspace",
            None,
            key=identity,
            owner=identity if owner is None else owner,
            wallet=wallet,
        )

    def create(
        self, workspace: str, name: str, *, owner: int | None = None, wallet: int | None = None
    ) -> WalletKeyCreated:
        """A new key; only its hash is kept. One for a ``wallet`` of an ``owner``'s only spends.

        Raises:
            Unprocessable: the name cannot be stored.
        """
        texts.check("name", name)
        key = KEY_PREFIX + secrets.token_hex(20)

        def commit(tx: Connection) -> WalletKeyCreated:
            now_us = self._database.now_ns() // 1000
            identity = tx.insert(
                _ADD,
                workspace=workspace,
                name=name,
                digest=digest(key),
                owner=owner,
                wallet=wallet,
                created_us=now_us,
            )
            return WalletKeyCreated(
                api_key=key,
                name=name,
                id=identity,
                role=_role(wallet),
                wallet_id=wallet,
                created_at=times.whole_second(now_us),
            )

        return self._database.write(commit)

    def own(self, principal: WalletPrincipal) -> WalletKeysAnswer:
        """The key itself and those that it gave out.

        Raises:
            Forbidden: a key that only spends.
        """
        principal.owns()
        with self._database.read() as db:
            rows = db.all(_OWN, by=principal.key)
        return WalletKeysAnswer(
            keys=[
                WalletKey(
                    id=identity,
                    name=name,
                    role=_role(wallet),
                    wallet_id=wallet,
                    created_at=times.whole_second(created_us),
                )
                for identity, name, wallet, created_us in rows
            ]
        )

    def revoke(self, principal: WalletPrincipal, key_id: int) -> WalletKeyRevoked:
        """Ends a key at once: itself, which leaves its wallets to nobody, or one that it gave out.

        Raises:
            Forbidden: a key that only spends.
            NotFound: another's key, or it was ended.
        """
        principal.owns()

        def commit(tx: Connection) -> WalletKeyRevoked:
            now_us = self._database.now_ns() // 1000
            if key_id > LARGEST_ID or tx.run(_REVOKE, key=key_id, by=principal.key, at=now_us) != 1:
                raise NotFound("key not found")
            return WalletKeyRevoked(id=key_id)

        return self._database.write(commit)


def _role(wallet: int | None) -> KeyRole:
    return "owner" if wallet is None else "spend"
