"""A store in a folder, and a working copy of one namespace in it."""

import asyncio
import contextlib
import ctypes
import os
import shutil
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
from trove_agents.server.exec.overlay.copies import OverlayCopies
from trove_agents.server.exec.scan import Quota
from trove_agents.server.exec.service import ExecService
from trove_agents.server.namespaces.locks import ExecLocks
from trove_agents.server.timelines import Change, Kind
from trove_agents.wire.exec import ExecRequest

WORKSPACE = "ws-0000000000000001"
FORMS = {"directory": DirectoryCopies, "overlay": OverlayCopies}
needs_mount = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount an overlay in its own process")
BOTH = ["directory", pytest.param("overlay", marks=needs_mount)]
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def _root_again():
    if os.getuid() != 0:
        yield
        return
    user, group = os.geteuid(), os.getegid()
    os.seteuid(0)
    os.setegid(0)
    try:
        yield
    finally:
        os.setegid(group)
        os.seteuid(user)


@contextlib.contextmanager
def mounted(place, lowers, upper=None, work=None):
    """Folders as a command would see them: mounted by root, with the options of a mount in a user namespace."""
    options = f"lowerdir={':'.join(map(str, lowers))},userxattr,redirect_dir=nofollow,metacopy=off"
    if upper is not None:
        options += f",upperdir={upper},workdir={work}"
    with _root_again():
        place.mkdir(exist_ok=True)
        _checked(_libc.mount(b"overlay", os.fsencode(place), b"overlay", 0, os.fsencode(options)))
    try:
        yield place
    finally:
        with _root_again():
            _checked(_libc.umount2(os.fsencode(place), 0))
            if work is not None:  # of a mount in a user namespace it would be the server's own
                os.chown(work / "work", os.stat(work).st_uid, -1)


@contextlib.contextmanager
def shown(copy, place):
    """The folder that a command sees as its own, between ``start`` and ``changes``."""
    if copy.overlay is None:
        yield copy.root
        return
    with mounted(place, copy.overlay.lowers, copy.root, copy.overlay.work) as root:
        yield root


def look_through(copy, place):
    """What is on disk in an idle copy, as a command would find it."""
    with _root_again():
        if copy.overlay is None:
            return on_disk(copy.root)
        lowers = copy.overlay.lowers
        if len(lowers) == 1:
            return on_disk(lowers[0])
        with mounted(place, lowers) as root:
            return on_disk(root)


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

    def __init__(self, folder, form="directory"):
        self.folder = folder
        self.form = form
        self.place = folder / "seen"
        self.database = Database.open(folder / "state")
        self.blobs = BlobStore.local(folder / "blobs")
        self.contents = Contents(self.blobs, WORKSPACE)
        self.copies = self.new_copies()
        self.space = self.database.write(
            lambda tx: timelines.create_namespace(tx, WORKSPACE, "main", now_ns=time.time_ns())
        )

    on_disk = staticmethod(on_disk)

    def new_copies(self, name="copies"):
        return FORMS[self.form](self.folder / name)

    def restart(self):
        """Another process after this one."""
        self.copies.close()
        self.copies = self.new_copies()

    def on_hand(self, copies=None, at=None):
        """What is on disk in the namespace's copy, brought to a state, the head by default."""
        copy = (copies or self.copies).take(self.head())
        try:
            with self.database.read() as db:
                copy.bring_to(db, at or self.head().at, self.contents)
            return look_through(copy, self.place)
        finally:
            copy.give_back()

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
            with shown(copy, self.place) as root:
                command(root)
                during()
            with self.database.read() as db:
                scan = copy.changes(db, self.contents, quota)
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


@pytest.fixture(scope="session")
def form():
    """Of the copies in a bench; a service chooses by itself. The tests of the port have each of them in turn."""
    return "directory"


@pytest.fixture
def bench(tmp_path, form):
    bench = Bench(tmp_path, form)
    yield bench
    bench.close()


@pytest.fixture(scope="session")
def bench_maker(form):
    """Benches for the examples of one property, which each need their own."""

    @contextlib.contextmanager
    def make():
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder), form)
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
    while len(found := [*bench.folder.glob("copies/*/*/started"), *inside(bench.folder)]) < count:
        await asyncio.sleep(0.005)
    return [started.with_name("gate") for started in found]


def inside(folder):
    """The same as the commands see it: into what an overlay is mounted over nobody else may write meanwhile."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            started = process / "root" / "workspace" / "started"
            mounts = (process / "mountinfo").read_text()
            if f"{folder}/" in mounts and " /workspace rw,relatime - overlay " in mounts:
                if (process / "comm").read_text() == "bash\n":  # others come and go
                    about = started.stat()
                    found[about.st_dev, about.st_ino] = started
    return found.values()


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


def same(bench):
    """The store, the copy on disk, and a copy made anew are one tree, which is returned."""
    store = bench.store()
    assert bench.on_hand() == store
    fresh = bench.new_copies("fresh")
    assert bench.on_hand(fresh) == store
    shutil.rmtree(bench.folder / "fresh")
    fresh.close()
    assert bench.exec()[0] == bench.exec()[0]
    assert not bench.exec()[0]
    return store


directories = pytest.mark.parametrize("form", ["directory"])
"""Of that form alone."""
