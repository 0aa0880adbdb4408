"""A process that dies while its agent pays, and another that goes on."""

import json
import subprocess
import sys
from pathlib import Path


def run(folder):
    script = Path(__file__).with_name("dying.py")
    return subprocess.run([sys.executable, script, folder], capture_output=True, text=True, timeout=120)


def test_nothing_is_paid_twice_and_nothing_forgotten_when_the_process_dies(tmp_path):
    assert run(tmp_path).returncode == 9
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    recovered, told, spent, in_doubt = json.loads(done.stdout)
    assert (recovered, spent, in_doubt) == (["in_doubt"], "0.3", "0.2")
    assert told["search"] == "a page"
    assert "do not try it again" in told["buy"]
    assert sorted((tmp_path / "charged").read_text().split()) == ["buy", "search"]
