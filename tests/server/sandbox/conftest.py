"""Commands really run here: in this process and, where the tests run as root, in a server of another user too."""

import asyncio
import os
import pickle
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from trove_agents.server.sandbox import Command, Outcome, SandboxUnavailable, choose, probe

WORKER = Path(__file__).with_name("worker.py")
OTHER_USER = 65533
SECRET = "a-secret-of-the-server"


class Server:
    """Commands of this process, on the loop of one thread that lives as long as the tests."""

    root_run = os.geteuid() == 0

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def submit(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, root, script, *, name=None, network="none", limits=None, **fields) -> Outcome:
        sandbox = choose(name, network=network, limits=limits)
        return self.submit(sandbox.run(Command(script, root, **fields))).result(60)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class OtherServer:
    """The same of a server with no privilege at all."""

    root_run = False

    def __init__(self, python):
        self.process = start_worker(python, user=OTHER_USER, group=OTHER_USER, extra_groups=[])

    def run(self, root, script, *, name=None, network="none", limits=None, **fields) -> Outcome:
        order = (name, network, limits, Command(script, root, **fields))
        pickle.dump(order, self.process.stdin)
        self.process.stdin.flush()
        answer = pickle.load(self.process.stdout)
        if isinstance(answer, str):
            pytest.skip(answer)
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)


def start_worker(python=sys.executable, **options):
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PATH": os.environ["PATH"],
        "KEY": SECRET,
    }
    return subprocess.Popen(
        [python, "-B", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, **options
    )


def python_for_others():
    """An interpreter like this one that another user can start, or None."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        if not Path(python).exists():
            continue
        check = [python, "-B", "-c", "import trove_agents.server.sandbox"]
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            done = subprocess.run(
                check,
                env=environment,
                capture_output=True,
                user=OTHER_USER,
                group=OTHER_USER,
                extra_groups=[],
            )
        except PermissionError:
            continue
        if done.returncode == 0:
            return python
    return None


@pytest.fixture(scope="session")
def here():
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def elsewhere():
    if os.geteuid() != 0:
        pytest.skip("only root can start a server of another user")
    python = python_for_others()
    if python is None:
        pytest.skip("another user cannot start this Python or read this repository")
    server = OtherServer(python)
    yield server
    server.close()


@pytest.fixture(scope="session")
def isolated():
    """Skips where this machine cannot isolate; the report of what it can."""
    try:
        choose(None)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    return probe()


@pytest.fixture(params=["here", "elsewhere"])
def server(request, isolated):
    """A server that isolates: of the user who runs the tests, and of another one."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def root():
    """An empty working copy, writable for both servers; not below a folder that only one may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(folder, OTHER_USER, OTHER_USER)
    copy = folder / secrets.token_hex(8)
    copy.mkdir(mode=0o755)
    yield copy
    shutil.rmtree(folder)


@pytest.fixture
def copy(root, request):
    """`root`, owned by the user of the server in use, as a server owns what it materialises."""
    if os.geteuid() == 0 and "elsewhere" in request.node.callspec.params.values():
        os.chown(root, OTHER_USER, OTHER_USER)
    return root


@pytest.fixture
def mark():
    """A number of seconds that no other test sleeps: finds processes of this one."""
    return f"{1000 + secrets.randbelow(9000)}.{secrets.randbelow(10**9)}"


def alive(mark):
    """Processes of this machine that have `mark` in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass
    return found


@pytest.fixture
def survivors():
    return alive
