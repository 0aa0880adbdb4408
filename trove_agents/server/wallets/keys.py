"""Wallet keys: who may spend. They are no keys of the Files API, and belong to a workspace for its events."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, insert, select

from trove_agents.server import texts
from trove_agents.server.auth import Principal, digest
from trove_agents.server.db import Connection, Database
from trove_agents.server.db.tables import wallet_keys
from trove_agents.server.errors import Unauthorized
from trove_agents.wire import times
from trove_agents.wire.wallets import KEY, KEY_PREFIX, WalletKeyCreated

_k = wallet_keys.c
_BY_DIGEST: Final = select(_k.id, _k.workspace, _k.name).where(_k.digest == bindparam("digest"))
_ADD: Final = insert(wallet_keys)


@dataclass(frozen=True, slots=True)
class WalletPrincipal(Principal):
    """The wallet key behind a call."""

    key: int = 0
    """Its wallets are those that it made."""


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
        identity, workspace, name = row
        return WalletPrincipal(workspace, f"wallet-key-{identity}", name, "workspace", None, key=identity)

    def create(self, workspace: str, name: str) -> WalletKeyCreated:
        """A new key; only its hash is kept.

        Raises:
            Unprocessable: the name cannot be stored.
        """
        texts.check("name", name)
        key = KEY_PREFIX + secrets.token_hex(20)

        def commit(tx: Connection) -> WalletKeyCreated:
            now_us = self._database.now_ns() // 1000
            identity = tx.insert(_ADD, workspace=workspace, name=name, digest=digest(key), created_us=now_us)
            return WalletKeyCreated(
                api_key=key, name=name, id=identity, created_at=times.whole_second(now_us)
            )

        return self._database.write(commit)
