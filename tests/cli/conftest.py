"""The command itself, as installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trove_agents import Trove


@pytest.fixture
def run_command():
    """Status, output and errors of ``trove-agents`` with these words."""

    def run(*words):
        command = [Path(sys.executable).with_name("trove-agents"), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def no_server_named(monkeypatch):
    for name in [name for name in os.environ if name.startswith("TROVE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def trove(tmp_path_factory):
    with Trove.local(tmp_path_factory.mktemp("wallets") / "state") as opened:
        yield opened


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "payments.db"
