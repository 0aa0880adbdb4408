"""The clients: flat public methods, composed from one mixin per capability."""

from typing import Final, Self

from trove_agents.client.accounts import AccountsMethods, AsyncAccountsMethods
from trove_agents.client.acting import Acting
from trove_agents.client.approvals import ApprovalsMethods, AsyncApprovalsMethods
from trove_agents.client.archives import ArchivesMethods, AsyncArchivesMethods
from trove_agents.client.bootstrap import AsyncBootstrapMethods, BootstrapMethods
from trove_agents.client.call import Pairs
from trove_agents.client.capabilities import Capabilities
from trove_agents.client.drive import AsyncTransport, Transport
from trove_agents.client.events import AsyncEventsMethods, EventsMethods
from trove_agents.client.exec import AsyncExecMethods, ExecMethods
from trove_agents.client.files import AsyncFilesMethods, FilesMethods
from trove_agents.client.forks import AsyncForksMethods, ForksMethods
from trove_agents.client.history import AsyncHistoryMethods, HistoryMethods
from trove_agents.client.holds import AsyncHoldsMethods, HoldsMethods
from trove_agents.client.idempotency import AsyncIdempotencyMethods, IdempotencyMethods
from trove_agents.client.keys import AsyncKeysMethods, AsyncMeMethods, KeysMethods, MeMethods
from trove_agents.client.leases import AsyncLeasesMethods, LeasesMethods
from trove_agents.client.namespaces import (
    AsyncNamespacesMethods,
    AsyncQuotasMethods,
    NamespacesMethods,
    QuotasMethods,
)
from trove_agents.client.references import AsyncReferencesMethods, ReferencesMethods
from trove_agents.client.restores import AsyncRestoresMethods, RestoresMethods
from trove_agents.client.retry import Retries
from trove_agents.client.snapshots import AsyncSnapshotsMethods, SnapshotsMethods
from trove_agents.client.steps import AsyncStepsMethods, StepsMethods
from trove_agents.client.trees import AsyncTreesMethods, TreesMethods
from trove_agents.client.wallet_keys import AsyncWalletKeysMethods, WalletKeysMethods
from trove_agents.client.wallet_limits import AsyncWalletLimitsMethods, WalletLimitsMethods
from trove_agents.client.wallets import AsyncWalletsMethods, WalletsMethods, capabilities
from trove_agents.client.webhooks import AsyncWebhooksMethods, WebhooksMethods
from trove_agents.config import DEFAULT_BASE_URL
from trove_agents.wire import headers, limits, namespaces, wallets

RETRIES: Final = Retries()


class TroveClient(
    FilesMethods,
    TreesMethods,
    ArchivesMethods,
    ExecMethods,
    SnapshotsMethods,
    ReferencesMethods,
    RestoresMethods,
    HistoryMethods,
    ForksMethods,
    BootstrapMethods,
    StepsMethods,
    LeasesMethods,
    IdempotencyMethods,
    NamespacesMethods,
    MeMethods,
):
    """Files, commands and snapshots of one namespace.

    Use as a context manager, or ``close`` it. Safe to share between threads.

    Args:
        api_key: A key of workspace scope.
        namespace: Which one; it comes into being with its first use. None for a key that is locked to one.
        base_url: The server, with or without a path prefix.
        timeout: Seconds to wait for a connection, and for each piece sent or received. Commands may take 30.
        transport: What sends requests instead of the network: the embedded server's, or an ``HttpTransport`` of
            your own. The client closes it.
        retries: When calls are sent again that may be; None: never.

    Raises:
        ValueError: the namespace cannot be one, or ``base_url`` is no URL.
    """

    def __init__(
        self,
        api_key: str,
        namespace: str | None = None,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 60.0,
        transport: Transport | None = None,
        retries: Retries | None = RETRIES,
    ) -> None:
        own = (*_authorization(api_key), *_namespace(namespace))
        super().__init__(
            _network(base_url) if transport is None else transport, own, timeout=timeout, retries=retries
        )
        self.namespace = namespace

    def for_namespace(self, namespace: str) -> Self:
        """A client for another namespace, such as a fork, with the same key and the same connections.

        What this client says with its changes, such as its step or its lease, the other does not. It costs nothing to
        make and needs no closing. Where the key is locked to a namespace, its calls raise ``TroveAuthError`` for others.

        Raises:
            ValueError: the namespace cannot be one.
        """
        other = self._saying(Acting())
        other._headers = _elsewhere(self._headers, namespace)  # noqa: SLF001 - of this class
        other.namespace = namespace
        return other

    def __repr__(self) -> str:
        return f"{type(self).__name__}(namespace={self.namespace!r})"


class AsyncTroveClient(
    AsyncFilesMethods,
    AsyncTreesMethods,
    AsyncArchivesMethods,
    AsyncExecMethods,
    AsyncSnapshotsMethods,
    AsyncReferencesMethods,
    AsyncRestoresMethods,
    AsyncHistoryMethods,
    AsyncForksMethods,
    AsyncBootstrapMethods,
    AsyncStepsMethods,
    AsyncLeasesMethods,
    AsyncIdempotencyMethods,
    AsyncNamespacesMethods,
    AsyncMeMethods,
):
    """See :class:`TroveClient`. For asyncio."""

    def __init__(
        self,
        api_key: str,
        namespace: str | None = None,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 60.0,
        transport: AsyncTransport | None = None,
        retries: Retries | None = RETRIES,
    ) -> None:
        own = (*_authorization(api_key), *_namespace(namespace))
        super().__init__(
            _async_network(base_url) if transport is None else transport,
            own,
            timeout=timeout,
            retries=retries,
        )
        self.namespace = namespace

    def for_namespace(self, namespace: str) -> Self:
        """See :meth:`TroveClient.for_namespace`."""
        other = self._saying(Acting())
        other._headers = _elsewhere(self._headers, namespace)  # noqa: SLF001 - of this class
        other.namespace = namespace
        return other

    def __repr__(self) -> str:
        return f"{type(self).__name__}(namespace={self.namespace!r})"


class TroveAdminClient(
    KeysMethods, WebhooksMethods, EventsMethods, NamespacesMethods, QuotasMethods, MeMethods
):
    """Keys, webhooks and events of one workspace.

    Use as a context manager, or ``close`` it. Safe to share between threads.

    Args:
        api_key: A key of admin scope; keys of workspace scope may read events.
        workspace_id: The key's workspace; ``from_api_key`` finds it out.
        base_url: As for ``TroveClient``.
        timeout: As for ``TroveClient``.
        transport: As for ``TroveClient``.
        retries: As for ``TroveClient``.
    """

    def __init__(
        self,
        api_key: str,
        workspace_id: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 30.0,
        transport: Transport | None = None,
        retries: Retries | None = RETRIES,
    ) -> None:
        own = _authorization(api_key)
        super().__init__(
            _network(base_url) if transport is None else transport, own, timeout=timeout, retries=retries
        )
        self.workspace_id = workspace_id

    @classmethod
    def from_api_key(
        cls,
        api_key: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 30.0,
        transport: Transport | None = None,
        retries: Retries | None = RETRIES,
    ) -> Self:
        """A client for the workspace that the key belongs to, which the server is asked for.

        Raises:
            TroveAuthError: the key is not valid.
            TroveNotFoundError: the server is too old to say.
        """
        client = cls(api_key, "", base_url=base_url, timeout=timeout, transport=transport, retries=retries)
        try:
            client.workspace_id = client.me().workspace_id
        except BaseException:
            client.close()
            raise
        return client

    def __repr__(self) -> str:
        return f"{type(self).__name__}(workspace_id={self.workspace_id!r})"


class AsyncTroveAdminClient(
    AsyncKeysMethods,
    AsyncWebhooksMethods,
    AsyncEventsMethods,
    AsyncNamespacesMethods,
    AsyncQuotasMethods,
    AsyncMeMethods,
):
    """See :class:`TroveAdminClient`. For asyncio."""

    def __init__(
        self,
        api_key: str,
        workspace_id: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 30.0,
        transport: AsyncTransport | None = None,
        retries: Retries | None = RETRIES,
    ) -> None:
        own = _authorization(api_key)
        super().__init__(
            _async_network(base_url) if transport is None else transport,
            own,
            timeout=timeout,
            retries=retries,
        )
        self.workspace_id = workspace_id

    @classmethod
    async def from_api_key(
        cls,
        api_key: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 30.0,  # noqa: ASYNC109 (of every later call)
        transport: AsyncTransport | None = None,
        retries: Retries | None = RETRIES,
    ) -> Self:
        """See :meth:`TroveAdminClient.from_api_key`."""
        client = cls(api_key, "", base_url=base_url, timeout=timeout, transport=transport, retries=retries)
        try:
            client.workspace_id = (await client.me()).workspace_id
        except BaseException:
            await client.aclose()
            raise
        return client

    def __repr__(self) -> str:
        return f"{type(self).__name__}(workspace_id={self.workspace_id!r})"


class WalletClient(
    WalletKeysMethods,
    WalletsMethods,
    HoldsMethods,
    AccountsMethods,
    WalletLimitsMethods,
    ApprovalsMethods,
    StepsMethods,
    IdempotencyMethods,
):
    """Wallets of one wallet key. Works against any server of the public wallet API.

    What goes beyond it raises ``NotSupported`` there: holds, refunds, children, limits, approvals,
    keys that only spend, listing and changing wallets.

    Use as a context manager, or ``close`` it. Safe to share between threads.

    Args:
        api_key: A wallet key, ``tvpk_...``; None for a client that only makes one.
        base_url: As for ``TroveClient``.
        timeout: As for ``TroveClient``.
        transport: As for ``TroveClient``.
        retries: As for ``TroveClient``.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 30.0,
        transport: Transport | None = None,
        retries: Retries | None = RETRIES,
    ) -> None:
        own = _wallet_key(api_key)
        super().__init__(
            _network(base_url) if transport is None else transport, own, timeout=timeout, retries=retries
        )
        self._capabilities = Capabilities(capabilities)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class AsyncWalletClient(
    AsyncWalletKeysMethods,
    AsyncWalletsMethods,
    AsyncHoldsMethods,
    AsyncAccountsMethods,
    AsyncWalletLimitsMethods,
    AsyncApprovalsMethods,
    AsyncStepsMethods,
    AsyncIdempotencyMethods,
):
    """See :class:`WalletClient`. For asyncio."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 30.0,
        transport: AsyncTransport | None = None,
        retries: Retries | None = RETRIES,
    ) -> None:
        own = _wallet_key(api_key)
        super().__init__(
            _async_network(base_url) if transport is None else transport,
            own,
            timeout=timeout,
            retries=retries,
        )
        self._capabilities = Capabilities(capabilities)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _authorization(api_key: str) -> Pairs:
    return (("authorization", f"Bearer {_clean(api_key)}"),)


def _wallet_key(api_key: str | None) -> Pairs:
    return () if api_key is None else ((wallets.KEY.lower(), _clean(api_key)),)


def _clean(api_key: str) -> str:
    """Keys are pasted from files and terminals: white space around is dropped, anything else that no header can
    carry is refused here, where the message does not repeat the key.
    """
    key = api_key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError("api_key is empty, or holds characters that no key has")
    return key


def _elsewhere(own: Pairs, namespace: str) -> Pairs:
    return (*(pair for pair in own if pair[0] != headers.NAMESPACE.lower()), *_namespace(namespace))


def _namespace(namespace: str | None) -> Pairs:
    if namespace is None:
        return ()
    if not namespaces.valid(namespace):
        raise ValueError(f"{namespace!r} is no namespace: {limits.NAMESPACE.pattern}")
    return ((headers.NAMESPACE.lower(), namespace),)


def _network(base_url: str) -> Transport:
    from trove_agents.client.network import HttpTransport

    return HttpTransport(base_url)


def _async_network(base_url: str) -> AsyncTransport:
    from trove_agents.client.network import AsyncHttpTransport

    return AsyncHttpTransport(base_url)
