"""What holds for all tests. Which hosts they may reach stands in pyproject.toml (pytest-socket)."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import hypothesis
import pytest

# No test is judged by how fast this machine happens to be
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")


def _beside(name):
    """A module beside this file, found by all tests as ``tests_<name>``."""
    spec = importlib.util.spec_from_file_location(f"tests_{name}", Path(__file__).with_name(f"{name}.py"))
    module = sys.modules[f"tests_{name}"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


postgres, objects, spenders = _beside("postgres"), _beside("objects"), _beside("spenders")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request):
    """From a folder to where its database is: for the tests that run on both engines."""
    if request.param == "sqlite":
        return lambda folder: folder
    postgres.server()
    return postgres.url


COMMAND = Path(sys.executable).with_name("trove-agents")


class Serving:
    """A real ``trove-agents serve`` in a folder, on a free port, with its state in ``state``."""

    def __init__(self, folder, *options):
        self.folder = folder
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TROVE_")}
        self.process = subprocess.Popen(
            [COMMAND, "serve", "--port", "0", "--data", "state", *options],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        hung = threading.Timer(60, self.process.kill)
        hung.start()
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("ready"):
                break
        hung.cancel()

    @property
    def base_url(self):
        return self.lines[0].split()[-1]

    def told(self, name):
        """The value of one line of the start."""
        return next((line.removeprefix(name).strip() for line in self.lines if line.startswith(name)), None)

    def credentials(self, name):
        return json.loads((self.folder / name).read_text())

    def stop(self, number=signal.SIGTERM):
        """Its status and what it said on standard error."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@pytest.fixture(scope="session")
def serving():
    """``with serving(folder, *options) as server``."""

    @contextlib.contextmanager
    def start(folder, *options):
        server = Serving(folder, *options)
        try:
            yield server
        finally:
            server.stop()

    return start
