"""A durable run that dies and is recovered. The engine is no dependency of this repository's: ``make durable`` has it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("dbos", reason="the engine of durable runs is not installed here")


def played(folder, program, *words):
    script = Path(__file__).with_name(program)
    return subprocess.run(
        [sys.executable, script, *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def told(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_calls_are_made_once(tmp_path):
    assert played(tmp_path, "surviving.py", "crash").returncode == 9
    done = told(played(tmp_path, "surviving.py", "recover"))
    assert done["output"] == "done"
    assert done["commands"] == 2
    a = "workspace/a"
    assert done["then"] == [{}, {}, {a: "1\n"}, {a: "1\n2\n"}]


KINDS = ["plain", "step", "dynamic"]


def killed(folder, kind, moment):
    assert played(folder, "paying.py", kind, moment, "first").returncode == -signal.SIGKILL
    return told(played(folder, "paying.py", kind, moment, "recover"))


@pytest.mark.parametrize(
    ("kind", "moment"),
    [("plain", "asked"), ("plain", "intended"), *((kind, "captured") for kind in KINDS)],
)
def test_a_kill_of_which_it_is_known_what_it_left_is_one_charge(tmp_path, kind, moment):
    """Before the money is held, and after it is captured, but before the engine has heard of it."""
    done = killed(tmp_path, kind, moment)
    assert (done["output"], done["receipt"], done["sold"]) == ("done", "captured", ["a"])
    assert done["ledger"] == ["0.3", "0", "0"]
    assert done["seen"][0][0] == "one a"


@pytest.mark.parametrize(
    ("kind", "moment", "sold"),
    [("plain", "held", []), *((kind, "charged", ["a"]) for kind in KINDS), ("step", "returned", ["a"])],
)
def test_a_kill_in_a_payment_is_in_doubt_and_is_not_made_again(tmp_path, kind, moment, sold):
    done = killed(tmp_path, kind, moment)
    assert (done["output"], done["receipt"], done["sold"]) == ("done", None, sold)
    assert done["ledger"] == ["0", "0", "0.5"]
    assert "do not try it again" in done["seen"][0][0]


@pytest.mark.parametrize("kind", [*KINDS, "files"])
def test_a_recorded_payment_is_answered_as_the_first_time(tmp_path, kind):
    """The kill is in the next request to the model, which is in doubt; what the model is told then is what it was told."""
    done = killed(tmp_path, kind, "recorded")
    assert (done["output"], done["receipt"], done["sold"]) == ("done", "captured", ["a"])
    assert done["ledger"] == ["0.31", "0", "0.05"]
    first, again = done["seen"]
    assert first == again
    assert first[0] == "one a"
    assert "$1.69 of $2.00 remain" in first
    assert done["files"] == ([[], ["workspace/a"]] if kind == "files" else [])


def test_an_approval_outlives_the_engine(tmp_path):
    """Asked before a restart, and answered twice after it; its file is there each time."""
    first = played(tmp_path, "paying.py", "files", "approved", "first")
    assert first.returncode == 0, first.stderr
    once, twice = (told(played(tmp_path, "paying.py", "files", "approved", f"run-{n}")) for n in (2, 3))
    assert once == {**twice, "seen": once["seen"]}
    assert once["files"] == [[], ["workspace/a"]]
    assert (once["receipt"], once["sold"], once["ledger"]) == ("captured", ["a"], ["0.3", "0", "0"])
