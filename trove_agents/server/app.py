"""The composition root: the only module that knows every room."""

import contextlib
import functools
import importlib.metadata
from pathlib import Path
from typing import Any, Final

import msgspec

from trove_agents.server import auth, openapi, sandbox, timelines
from trove_agents.server.auth import Principal
from trove_agents.server.blobs import BlobStore
from trove_agents.server.db import Database
from trove_agents.server.errors import SandboxMissing
from trove_agents.server.events import routes as event_routes
from trove_agents.server.events.service import Events
from trove_agents.server.events.upkeep import EventUpkeep
from trove_agents.server.exec import routes as exec_routes
from trove_agents.server.exec.service import ExecService
from trove_agents.server.files import archive_routes, tree_routes
from trove_agents.server.files import routes as file_routes
from trove_agents.server.files.archives import Archives
from trove_agents.server.files.listings import Listings
from trove_agents.server.files.service import Files
from trove_agents.server.files.trees import Trees
from trove_agents.server.forks import routes as fork_routes
from trove_agents.server.forks.service import Forks
from trove_agents.server.history import routes as history_routes
from trove_agents.server.history.service import History
from trove_agents.server.http import Edge, Request
from trove_agents.server.idempotency.upkeep import AnswerUpkeep
from trove_agents.server.jobs import DAY, HOUR, MINUTE, Jobs
from trove_agents.server.keys import routes as key_routes
from trove_agents.server.keys.service import KeyService
from trove_agents.server.namespaces import lease_routes
from trove_agents.server.namespaces import routes as namespace_routes
from trove_agents.server.namespaces.leases import Leases
from trove_agents.server.namespaces.listing import NamespaceService
from trove_agents.server.namespaces.locks import ExecLocks
from trove_agents.server.namespaces.quotas import Quotas
from trove_agents.server.references import routes as reference_routes
from trove_agents.server.references.service import References
from trove_agents.server.replies import Reply
from trove_agents.server.routing import Route
from trove_agents.server.sandbox import Sandbox, SandboxUnavailable
from trove_agents.server.settings import Settings
from trove_agents.server.snapshots import restore_routes
from trove_agents.server.snapshots import routes as snapshot_routes
from trove_agents.server.snapshots.restores import Restores
from trove_agents.server.snapshots.service import SnapshotService
from trove_agents.server.snapshots.upkeep import SnapshotUpkeep
from trove_agents.server.wallets import account_routes, approval_routes, hold_routes
from trove_agents.server.wallets import key_routes as wallet_key_routes
from trove_agents.server.wallets import routes as wallet_routes
from trove_agents.server.wallets.admission import Admission
from trove_agents.server.wallets.approvals import Approvals
from trove_agents.server.wallets.holds import Holds
from trove_agents.server.wallets.keys import WalletKeys
from trove_agents.server.wallets.service import Wallets

CAPABILITIES: Final = ("exec.stdin", "exec.options", "quotas", "steps")
"""What this server has beside its routes, which name their own."""


class Server:
    """Everything of one server on one state directory. ``app`` is its ASGI application."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        folder = _private(settings.folder)
        with contextlib.ExitStack() as opened:
            self.database = Database.open(settings.database_url or folder)
            opened.callback(self.database.close)
            self.blobs = BlobStore.open(settings.blobs or folder / "blobs")
            self.locks = ExecLocks(self.database, folder / "run")
            opened.callback(self.locks.close)
            self.keys = KeyService(self.database)
            self.quotas = Quotas(settings.quota_files, settings.quota_bytes)
            self.exec = ExecService(
                self.database,
                self.blobs,
                self.locks,
                lambda: self.sandbox,
                folder / "copies",
                max_seconds=settings.exec_max_seconds,
                quotas=self.quotas,
            )
            opened.callback(self.exec.close)
            self._admission = Admission(self.keys, self._authenticate)
            self.app = Edge(self._routes(), authenticate=self._authenticate)
            opened.callback(self.app.close)
            self.jobs = self._jobs()
            opened.callback(self.jobs.close)
            self._opened = opened.pop_all()

    @property
    def sandbox(self) -> Sandbox:
        """What runs commands, chosen at first need.

        Raises:
            SandboxMissing: this machine cannot isolate, and nobody asked for ``none`` by name.
        """
        try:  # it remembers what worked: asking costs nothing later
            return sandbox.choose(self.settings.sandbox, network=self.settings.network)
        except SandboxUnavailable as error:
            raise SandboxMissing(str(error)) from error

    def listens_at(self, address: str) -> None:
        """The address that calls over the network come in at, for what is open to this machine alone."""
        self._admission.listens_at(address)

    def close(self) -> None:
        """Lets running work finish and gives everything back; a second call does nothing."""
        self._opened.close()

    def _routes(self) -> list[Route]:
        routes = [
            *exec_routes.routes(self.exec),
            *file_routes.routes(
                Files(self.database, self.blobs, self.quotas), Listings(self.database), self.blobs
            ),
            *tree_routes.routes(Trees(self.database, self.quotas)),
            *archive_routes.routes(Archives(self.database, self.blobs, self.quotas, self.settings.folder)),
            *snapshot_routes.routes(
                SnapshotService(self.database, manual_days=self.settings.snapshot_days), self.locks
            ),
            *restore_routes.routes(Restores(self.database), self.locks),
            *reference_routes.routes(References(self.database)),
            *namespace_routes.routes(NamespaceService(self.database, self.quotas), self.locks),
            *lease_routes.routes(Leases(self.database)),
            *history_routes.routes(History(self.database)),
            *fork_routes.routes(Forks(self.database)),
            *event_routes.routes(Events(self.database)),
            *self._wallet_routes(),
        ]
        own = [route.capability for route in routes if route.capability is not None]
        routes += key_routes.routes(
            self.keys,
            capabilities=[*CAPABILITIES, *dict.fromkeys(own)],
            open_signup=self.settings.open_signup,
        )
        return [*routes, *_about(routes)]

    def _wallet_routes(self) -> list[Route]:
        keys, wallets = WalletKeys(self.database), Wallets(self.database)
        family = wallet_key_routes.family_of(keys)
        return [
            *wallet_key_routes.routes(family, keys, wallets, self._admission),
            *wallet_routes.routes(family, wallets),
            *account_routes.routes(family, wallets),
            *approval_routes.routes(family, Approvals(self.database)),
            *hold_routes.routes(family, Holds(self.database), wallets),
        ]

    def _jobs(self) -> Jobs:
        """In an order in which one makes room for the next. Nothing runs before it is started."""
        jobs, settings = Jobs(self.database), self.settings
        snapshots = SnapshotUpkeep(self.database, manual_days=settings.snapshot_days)
        jobs.add("daily-snapshots", snapshots.take_daily, every_seconds=DAY)
        jobs.add("expired-snapshots", snapshots.expire, every_seconds=HOUR)
        if settings.event_days is not None:
            events = EventUpkeep(self.database, days=settings.event_days)
            jobs.add("old-events", events.forget, every_seconds=DAY)
        jobs.add("old-answers", AnswerUpkeep(self.database).forget, every_seconds=HOUR)
        jobs.add("expired-holds", Holds(self.database).sweep, every_seconds=MINUTE)
        jobs.add("flattening", timelines.Flattening(self.database).fold, every_seconds=HOUR)
        if settings.history_days is not None:
            retention = timelines.Retention(self.database, days=settings.history_days)
            jobs.add("old-history", retention.forget, every_seconds=DAY)
        collection = timelines.Collection(self.database, self.blobs)
        jobs.add("unused-contents", collection.sweep_contents, every_seconds=DAY)
        jobs.add("unused-blobs", collection.sweep_blobs, every_seconds=DAY)
        jobs.add("lost-objects", collection.sweep_objects, every_seconds=DAY)
        jobs.add("useless-copies", self.exec.prune, every_seconds=DAY)
        jobs.add("blobs-laid-aside", collection.sweep_aside, every_seconds=DAY)
        return jobs

    def _authenticate(self, header: str | None) -> Principal:
        with self.database.read() as db:
            return auth.authenticate(db, header)


def _about(routes: list[Route]) -> list[Route]:
    """The document about the routes, which lists itself too."""

    @functools.cache
    def encoded() -> bytes:
        document: dict[str, Any] = openapi.document(
            [*routes, *about], version=importlib.metadata.version("trove-agents")
        )
        return msgspec.json.encode(document)

    def openapi_document(_: Request) -> Reply:
        return Reply(encoded())

    def alive(_: Request) -> Reply:
        return Reply(b'{"status":"ok"}')

    about = [
        Route("GET", "/openapi.json", openapi_document, run="inline", access="open", summary="This document"),
        Route("GET", "/healthz", alive, run="inline", access="open", summary="Whether the server answers"),
    ]
    return about


def _private(folder: Path) -> Path:
    """The state directory: for its owner alone, and never committed by accident."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    return folder
