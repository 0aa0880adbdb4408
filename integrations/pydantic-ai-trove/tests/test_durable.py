"""A durable run that dies and is recovered. The engine is no dependency of this repository's, so it needs an environment
with ``pydantic-ai-slim[dbos]``.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("dbos", reason="the engine of durable runs is not installed here")


def surviving(phase, folder):
    script = Path(__file__).with_name("surviving.py")
    return subprocess.run(
        [sys.executable, script, phase], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_calls_are_made_once(tmp_path):
    assert surviving("crash", tmp_path).returncode == 9
    done = surviving("recover", tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["output"] == "done"
    assert told["commands"] == 2
    a = "workspace/a"
    assert told["then"] == [{}, {}, {a: "1\n"}, {a: "1\n2\n"}]
