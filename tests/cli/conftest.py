"""The command itself, as installed."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def run_command():
    """Status, output and errors of ``trove-agents`` with these words."""

    def run(*words):
        command = [Path(sys.executable).with_name("trove-agents"), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    return run
