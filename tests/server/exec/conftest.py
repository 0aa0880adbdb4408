"""A store in a folder, and a working copy of one namespace in it."""

import asyncio
import contextlib
import os
import tempfile
import time
from pathlib import Path

import pytest

from trove_agents.server import sandbox, timelines
from trove_agents.server.auth import Principal
from trove_agents.server.blobs import BlobStore
from trove_agents.server.db import Database
from trove_agents.server.events import service as events
from trove_agents.server.exec.contents import Contents
from trove_agents.server.exec.copies import DirectoryCopies
from trove_agents.server.exec.ingest import ingest
from trove_agents.server.exec.scan import Quota
from trove_agents.server.exec.service import ExecService
from trove_agents.server.namespaces.locks import ExecLocks
from trove_agents.server.timelines import Change, Kind
from trove_agents.wire.exec import ExecRequest

WORKSPACE = "ws-0000000000000001"


def on_disk(root):
    """A folder's tree by path: what each entry is. Read with root's rights or with modes that allow it."""
    found = {}
    pending = [""]
    while pending:
        directory = pending.pop()
        for item in os.scandir(root / directory):
            path = f"{directory}/{item.name}" if directory else item.name
            stat = item.stat(follow_symlinks=False)
            if item.is_symlink():
                found[path] = ("link", os.fsencode(os.readlink(item.path)), stat.st_mtime_ns)
            elif item.is_dir():
                found[path] = ("dir", stat.st_mode & 0o7777)
                pending.append(path)
            else:
                with open(item.path, "rb") as file:
                    found[path] = ("file", stat.st_mode & 0o7777, file.read(), stat.st_mtime_ns)
    return found


class Bench:
    """What the service does around a command, with a function in place of the command."""

    def __init__(self, folder):
        self.folder = folder
        self.database = Database.open(folder / "state")
        self.blobs = BlobStore.local(folder / "blobs")
        self.contents = Contents(self.blobs, WORKSPACE)
        self.copies = DirectoryCopies(folder / "copies")
        self.space = self.database.write(
            lambda tx: timelines.create_namespace(tx, WORKSPACE, "main", now_ns=time.time_ns())
        )

    on_disk = staticmethod(on_disk)

    def close(self):
        self.copies.close()
        self.database.close()

    def head(self):
        with self.database.read() as db:
            return timelines.head(db, self.space.id)

    def put(self, path, data=b"x", **more):
        """A write by somebody else."""
        payload = timelines.payload(self.blobs, WORKSPACE, data)
        return self.change(lambda change: change.put_file(path, payload, replace=True, **more))

    def change(self, edit):
        def commit(tx):
            change = Change(tx, timelines.head(tx, self.space.id), kind="write", now_ns=time.time_ns())
            edit(change)
            return change.commit()

        return self.database.write(commit)

    def exec(self, command=lambda root: None, *, during=lambda: None, quota=Quota()):
        """Runs ``command(root)`` in the copy; ``during`` is what others do meanwhile."""
        start = self.head()
        copy = self.copies.take(start)
        try:
            with self.database.read() as db:
                copy.bring_to(db, start.at, self.contents)
            time.sleep(0.005)  # past a tick of a coarse clock: else all that is young is read again
            copy.start()
            command(copy.root)
            during()
            scan = copy.changes(self.contents, quota)
            done = self.database.write(
                lambda tx: ingest(
                    tx,
                    timelines.head(tx, self.space.id),
                    start.at,
                    scan,
                    now_ns=time.time_ns(),
                    actor="key-1",
                )
            )
            with self.database.read() as db:
                copy.keep(db, done.namespace.at, done.others, self.contents)
            self.root = copy.root
            return scan, done
        finally:
            copy.give_back()

    def look(self, at):
        """The copy's files after it was brought to a state."""
        start = self.head()
        copy = self.copies.take(start)
        with self.database.read() as db:
            copy.bring_to(db, at, self.contents)
        found = on_disk(copy.root)
        copy.give_back()
        return found

    def store(self, at=None):
        """The store's tree in the form of ``on_disk``."""
        with self.database.read() as db:
            found = {}
            for entry in timelines.walk(db, at or self.head().at):
                if entry.kind is Kind.DIRECTORY:
                    found[entry.path] = ("dir", entry.mode)
                    continue
                content = b"".join(self.contents.stream(timelines.read_content(db, entry.content)))
                if entry.kind is Kind.LINK:
                    found[entry.path] = ("link", content, entry.mtime_ns)
                else:
                    found[entry.path] = ("file", entry.mode, content, entry.mtime_ns)
            return found


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture(scope="session")
def bench_maker():
    """Benches for the examples of one property, which each need their own."""

    @contextlib.contextmanager
    def make():
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder))
            try:
                yield bench
            finally:
                bench.close()

    return make


# Commands over real sandboxes: the one of this machine, where it can isolate, and none


def choose(name):
    if name == "none":
        return sandbox.choose("none")
    report = sandbox.probe(None)
    if not report.ok:
        pytest.skip(" ".join(report.problems))
    return sandbox.choose(None)


GATE = "touch started; until [ -e gate ]; do sleep 0.01; done; rm gate started"


async def gates(bench, count=1):
    """What lets commands go on that wait at a ``GATE``, once all of them do."""
    while len(found := list(bench.folder.glob("copies/*/*/started"))) < count:
        await asyncio.sleep(0.005)
    return [started.with_name("gate") for started in found]


async def hop(function, *args, **more):
    return await asyncio.get_running_loop().run_in_executor(None, lambda: function(*args, **more))


class Shell:
    """Commands in one namespace."""

    def __init__(self, bench, kind, **more):
        self.bench = bench
        self.locks = ExecLocks(bench.database, bench.folder / "run")
        self.service = ExecService(
            bench.database, bench.blobs, self.locks, lambda: choose(kind), bench.folder / "copies", **more
        )
        self.principal = Principal("ws-0000000000000001", "key-1", "laptop", "workspace", None)

    def close(self):
        self.service.close()
        self.locks.close()

    async def __call__(self, command, stdin=None, namespace="main", **options):
        request = ExecRequest(command, stdin, **options)
        return await self.service.run(self.principal, namespace, request, hop=hop)

    async def out(self, command, stdin=None, **options):
        result = await self(command, stdin, **options)
        assert (result.exit_code, result.stderr) == (0, ""), result
        return result.stdout

    def events(self):
        """Oldest first."""
        page = events.Events(self.bench.database).page(self.principal, events.EventsQuery())
        return page.events[::-1]


@pytest.fixture(params=[pytest.param("bubblewrap", marks=pytest.mark.sandbox), "none"])
def kind(request):
    return request.param


@pytest.fixture
def make(bench, kind):
    made = []

    def make(**more):
        made.append(Shell(bench, kind, **more))
        return made[-1]

    yield make
    for shell in made:
        shell.close()


@pytest.fixture
def sh(make):
    return make()


@pytest.fixture
def plain(bench):
    """Only without a sandbox: for what does not depend on it."""
    shell = Shell(bench, "none")
    yield shell
    shell.close()
