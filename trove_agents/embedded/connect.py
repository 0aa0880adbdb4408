"""The same program against a server, ours or the hosted one, or embedded: what it is given decides."""

import os
from types import TracebackType
from typing import Protocol, Self

from trove_agents.client.clients import (
    AsyncTroveAdminClient,
    AsyncTroveClient,
    AsyncWalletClient,
    TroveAdminClient,
    TroveClient,
    WalletClient,
)
from trove_agents.client.money import Amount
from trove_agents.client.wallets import AsyncWallet, Wallet
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

    def wallets(self) -> WalletClient:
        """A client for the wallets of one wallet key."""

    def async_wallets(self) -> AsyncWalletClient:
        """As ``wallets``, for async callers."""

    def wallet(
        self, agent_id: str, *, budget_usd: Amount, name: str | None = None, namespace: str | None = None
    ) -> Wallet:
        """The agent's wallet, made if it has none: see ``WalletClient.wallet``. ``wallet.client.close()`` when done."""

    async def async_wallet(
        self, agent_id: str, *, budget_usd: Amount, name: str | None = None, namespace: str | None = None
    ) -> AsyncWallet:
        """As ``wallet``, for async callers."""

    def close(self) -> None:
        """Gives back what the connection itself holds; its clients are closed by their users."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Remote:
    """A server over the network. It holds nothing itself: each client has connections of its own.

    What needs a key that was not given raises ``TroveAuthError``.

    Args:
        base_url: The server.
        api_key: For all but wallets.
        workspace_id: The key's workspace; found out where it is needed.
        wallet_key: For wallets, ``tvpk_...``.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        workspace_id: str | None = None,
        wallet_key: str | None = None,
    ) -> None:
        self.base_url = base_url
        self._api_key = api_key
        self._workspace = workspace_id
        self._wallet_key = wallet_key

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

    def wallets(self) -> WalletClient:
        """A client for the wallets of the wallet key.

        Raises:
            TroveAuthError: no wallet key was given.
        """
        return WalletClient(self._key_of_wallets(), base_url=self.base_url)

    def async_wallets(self) -> AsyncWalletClient:
        """As ``wallets``, for async callers."""
        return AsyncWalletClient(self._key_of_wallets(), base_url=self.base_url)

    def wallet(
        self, agent_id: str, *, budget_usd: Amount, name: str | None = None, namespace: str | None = None
    ) -> Wallet:
        """The agent's wallet, made if it has none: see ``WalletClient.wallet``.

        It has a client of its own: ``wallet.client.close()`` when done.
        """
        client = self.wallets()
        try:
            return client.wallet(agent_id, budget_usd=budget_usd, name=name, namespace=namespace)
        except BaseException:
            client.close()
            raise

    async def async_wallet(
        self, agent_id: str, *, budget_usd: Amount, name: str | None = None, namespace: str | None = None
    ) -> AsyncWallet:
        """As ``wallet``, for async callers."""
        client = self.async_wallets()
        try:
            return await client.wallet(agent_id, budget_usd=budget_usd, name=name, namespace=namespace)
        except BaseException:
            await client.aclose()
            raise

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

    @property
    def _key(self) -> str:
        if self._api_key is None:
            raise TroveAuthError(f"no API key for {self.base_url}: pass api_key or set TROVE_API_KEY")
        return self._api_key

    def _key_of_wallets(self) -> str:
        if self._wallet_key is None:
            raise TroveAuthError(
                f"no wallet key for {self.base_url}: pass wallet_key or set TROVE_WALLET_KEY; "
                "WalletClient(...).create_key(...) makes one"
            )
        return self._wallet_key

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
    wallet_key: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Trove | Remote:
    """The server that arguments or the environment name, else the embedded one.

    A key or a URL (``TROVE_API_KEY``, ``TROVE_WALLET_KEY``, ``TROVE_BASE_URL``, or the file of ``TROVE_CONFIG``)
    means a server; a key alone the hosted service. With none, the state in ``path`` is opened, or in
    ``.trove-agents``. A server's wallets need the wallet key, all else the API key.

    Raises:
        TroveAuthError: a URL and no key.
    """
    found = Settings.load(
        base_url=base_url, api_key=api_key, workspace_id=workspace_id, wallet_key=wallet_key
    )
    if found.base_url is None and found.api_key is None and found.wallet_key is None:
        return Trove.local(path)
    if found.api_key is None and found.wallet_key is None:
        raise TroveAuthError(f"no API key for {found.base_url}: pass api_key or set TROVE_API_KEY")
    return Remote(
        found.base_url or DEFAULT_BASE_URL,
        found.api_key,
        workspace_id=found.workspace_id,
        wallet_key=found.wallet_key,
    )
