"""``Trove``: one state directory, its server, and clients for it."""

import asyncio
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from trove_agents.client.clients import (
    AsyncTroveAdminClient,
    AsyncTroveClient,
    AsyncWalletClient,
    TroveAdminClient,
    TroveClient,
    WalletClient,
)
from trove_agents.client.money import Amount
from trove_agents.client.wallets import AsyncWallet, Wallet, balance
from trove_agents.embedded import credentials
from trove_agents.embedded.driver import AsyncInProcess, InProcess
from trove_agents.embedded.loop import LoopThread
from trove_agents.errors import TroveAuthError, TroveNotFoundError
from trove_agents.server.app import Server
from trove_agents.server.exec.forms import examined
from trove_agents.server.http import Edge
from trove_agents.server.sandbox import Network, Report, probe
from trove_agents.server.settings import Settings
from trove_agents.server.waiting import whole
from trove_agents.wire.namespaces import WorkspaceCreated

FOLDER: Final = ".trove-agents"
"""Of the working directory: where ``Trove.local()`` keeps its state."""
BASE_URL: Final = "http://in-process"


@dataclass(frozen=True, slots=True)
class _Runtime:
    """What belongs to one process: a fork gets one of its own."""

    pid: int
    server: Server
    thread: LoopThread

    @property
    def app(self) -> Edge:
        return self.server.app

    def close(self) -> None:
        try:
            self.thread.close()
        finally:
            self.server.close()


class Trove:
    """A server in this process. Use as a context manager, sync or async, or close it.

    Its clients work from any thread and inside running event loops. Several processes may open one directory.
    State survives a process that ends without closing: whatever a call has answered is on disk.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._removal: weakref.finalize[[Path, int], Self] | None = None
        self._lock = threading.Lock()
        _made.add(self)
        self._forking = threading.Lock()  # only ever taken in a forked child: never held by anybody at a fork
        self._closed = False
        self._credentials: WorkspaceCreated | None = None
        self._wallet_key: str | None = None
        self._foreign: list[_Runtime] = []
        self._current = self._start()

    @classmethod
    def local(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        database_url: str | None = None,
        blobs: str | None = None,
        sandbox: str | None = None,
        network: Network = "none",
    ) -> Self:
        """The state in a directory, made when it is not there; by default ``.trove-agents`` of the working directory.

        Args:
            path: The state directory.
            database_url: A ``postgresql://`` database instead of the directory's; the clients' keys stay in the
                directory.
            blobs: ``s3://bucket/prefix`` for larger files instead of the directory; ``AWS_*`` variables say the rest.
            sandbox: None for the best of this machine: without isolation, commands are refused and files still
                work. ``none`` runs commands unprotected.
            network: What commands may reach: ``none``, ``internet`` (not the host's own networks) or ``host``.

        Raises:
            ValueError: there is no sandbox or no network of that name, or a URL is not of its form.
            OSError: no state can be kept there.
            trove_agents.server.db.Unreachable: the database does not answer, or refuses.
            trove_agents.server.blobs.Unreachable: the bucket does not, or refuses.
        """
        folder = Path.cwd() / FOLDER if path is None else Path(path).absolute()
        return cls(Settings(folder, database_url=database_url, blobs=blobs, sandbox=sandbox, network=network))

    @classmethod
    def temporary(cls, *, sandbox: str | None = None, network: Network = "none") -> Self:
        """State that is deleted by ``close``: for tests.

        Raises:
            ValueError: as ``local``.
        """
        folder = Path(tempfile.mkdtemp(prefix="trove-"))
        try:
            self = cls(Settings(folder, sandbox=sandbox, network=network))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._removal = weakref.finalize(self, _remove, folder, os.getpid())
        return self

    # Clients
    def client(self, namespace: str, *, timeout: float = 60.0) -> TroveClient:
        """A client for one namespace, which comes into being with its first use.

        Args:
            namespace: 1 to 128 of ``A-Z a-z 0-9 _ -``.
            timeout: Seconds to wait for the answer of a command, or for each piece of an upload or a download. What
                only reads or writes the local database is not timed.
        """
        key = self.credentials.key
        return TroveClient(
            key, namespace, base_url=BASE_URL, timeout=timeout, transport=InProcess(self._runtime)
        )

    def async_client(self, namespace: str, *, timeout: float = 60.0) -> AsyncTroveClient:
        """As ``client``, for async callers."""
        key = self.credentials.key
        return AsyncTroveClient(
            key, namespace, base_url=BASE_URL, timeout=timeout, transport=AsyncInProcess(self._runtime)
        )

    def admin(self) -> TroveAdminClient:
        """A client that manages keys and reads events."""
        made = self.credentials
        return TroveAdminClient(
            made.admin_key, made.workspace_id, base_url=BASE_URL, transport=InProcess(self._runtime)
        )

    def async_admin(self) -> AsyncTroveAdminClient:
        """As ``admin``, for async callers."""
        made = self.credentials
        return AsyncTroveAdminClient(
            made.admin_key, made.workspace_id, base_url=BASE_URL, transport=AsyncInProcess(self._runtime)
        )

    def wallets(self) -> WalletClient:
        """A client for this directory's wallets. Its key is kept in the directory, readable by its owner only."""
        return WalletClient(self._key_of_wallets(), base_url=BASE_URL, transport=InProcess(self._runtime))

    def async_wallets(self) -> AsyncWalletClient:
        """As ``wallets``, for async callers."""
        key = self._key_of_wallets()
        return AsyncWalletClient(key, base_url=BASE_URL, transport=AsyncInProcess(self._runtime))

    def wallet(
        self, agent_id: str, *, budget_usd: Amount, name: str | None = None, namespace: str | None = None
    ) -> Wallet:
        """The agent's wallet, made if it has none: see ``WalletClient.wallet``."""
        return self.wallets().wallet(agent_id, budget_usd=budget_usd, name=name, namespace=namespace)

    async def async_wallet(
        self, agent_id: str, *, budget_usd: Amount, name: str | None = None, namespace: str | None = None
    ) -> AsyncWallet:
        """As ``wallet``, for async callers."""
        return await self.async_wallets().wallet(
            agent_id, budget_usd=budget_usd, name=name, namespace=namespace
        )

    def has_wallets(self) -> bool:
        """Whether wallets were made in this directory that its database knows; :meth:`wallets` makes a key if not."""
        key = credentials.kept_wallet_key(self.folder)
        return key is not None and self._knows_wallet_key(key)

    def transport(self) -> InProcess:
        """What its clients send through, for a client of your own: to wrap it in something that watches or disturbs."""
        return InProcess(self._runtime)

    def async_transport(self) -> AsyncInProcess:
        """As ``transport``, for async clients."""
        return AsyncInProcess(self._runtime)

    # About it
    @property
    def credentials(self) -> WorkspaceCreated:
        """The keys that the clients use; also good for clients over a network, once the directory is served."""
        # No cached_property: its lock would stay held in a child that is forked meanwhile
        if self._credentials is None:
            with self._lock:
                if self._credentials is None:
                    self._credentials = credentials.local(self._settings.folder, self._runtime().server.keys)
        return self._credentials

    @property
    def folder(self) -> Path:
        """The state directory."""
        return self._settings.folder

    @property
    def server(self) -> Server:
        """The server behind the clients."""
        return self._runtime().server

    def report(self) -> Report:
        """What isolates commands here, what does not, and what would help. Looks, so it takes a moment."""
        network = self._settings.network
        return examined(probe(self._settings.sandbox, network=network), self.folder, network)

    def serve(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        ready: Callable[[str], None] = lambda url: print(url, flush=True),  # noqa: T201
    ) -> None:
        """Answers over the network too, until SIGTERM or Ctrl-C; clients in this process go on as they were.

        Keys for it are in ``credentials``. Only for the main thread.

        Args:
            host: The address to listen at.
            port: 0 picks a free one.
            ready: Called with the URL once it can be reached; prints it by default.

        Raises:
            OSError: the address cannot be listened at.
        """
        from trove_agents.server import listening

        listener = listening.listen(host, port)
        url = listening.url(listener)
        self.server.jobs.keep_running()
        self.server.listens_at(listener.getsockname()[0])
        listening.serve(self.server.app, listener, ready=lambda: ready(url))

    # Life
    def close(self) -> None:
        """Ends running commands, lets commits finish, and gives everything back; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            if self._current.pid == os.getpid():
                self._current.close()
        finally:
            if self._removal is not None:
                self._removal()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # In a thread: it waits for commands to end, and other tasks of this loop may have to go on meanwhile
        await whole(asyncio.to_thread(self.close))

    def _key_of_wallets(self) -> str:
        made = self.credentials
        if self._wallet_key is None:
            with self._lock:
                if self._wallet_key is None:
                    self._wallet_key = credentials.wallet_key(
                        self.folder, self._knows_wallet_key, lambda: self._new_wallet_key(made.admin_key)
                    )
        return self._wallet_key

    def _knows_wallet_key(self, key: str) -> bool:
        client = WalletClient(key, base_url=BASE_URL, transport=InProcess(self._runtime))
        try:
            client.send(balance(0))
        except TroveAuthError:
            return False
        except TroveNotFoundError:
            return True
        raise AssertionError("there is no wallet 0")

    def _new_wallet_key(self, admin_key: str) -> str:
        client = WalletClient(base_url=BASE_URL, transport=InProcess(self._runtime))
        return client.create_key("local", admin_key=admin_key).api_key

    def _runtime(self) -> _Runtime:
        if self._closed:
            raise RuntimeError("this Trove is closed")
        current = self._current
        return current if current.pid == os.getpid() else self._after_fork()

    def _after_fork(self) -> _Runtime:
        """Opens the state again for a forked child; the parent's connections are left alone, and kept from being
        collected: closing them here would touch what the parent still uses.
        """
        with self._forking:
            if self._current.pid != os.getpid():
                self._foreign.append(self._current)
                self._current = self._start()
            return self._current

    def _start(self) -> _Runtime:
        runtime = _Runtime(os.getpid(), Server(self._settings), LoopThread())
        runtime.server.jobs.run_in_background()
        return runtime


def _remove(folder: Path, owner: int) -> None:
    """Deletes a temporary state, unless this is a child of the process that made it."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _renew_locks() -> None:
    """In a forked child: a lock that another thread of the parent held would never be released here."""
    for trove in list(_made):
        trove._lock = threading.Lock()  # noqa: SLF001 - of this module


_made: Final[weakref.WeakSet[Trove]] = weakref.WeakSet()
os.register_at_fork(after_in_child=_renew_locks)
