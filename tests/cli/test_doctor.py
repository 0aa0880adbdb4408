"""``trove-agents doctor``: the report of the sandbox, told to people and to programs."""

import json
import platform
import sqlite3

import msgspec
import pytest
from typer.testing import CliRunner

from trove_agents.cli import doctor, standing
from trove_agents.cli.app import app
from trove_agents.server import sandbox
from trove_agents.server.sandbox import Report

GOOD = Report(
    sandbox="bubblewrap",
    network="none",
    version="0.11.0",
    executable="/usr/bin/bwrap",
    isolated={"files": True, "network": True, "processes": True, "system_calls": False},
    limits={"memory": "cgroup", "cpu": "missing: no controller"},
    missing_tools=["ffmpeg"],
)
BAD = Report(
    sandbox="bubblewrap",
    network="none",
    isolated={"files": False, "network": False, "processes": False},
    problems=["User namespaces are refused."],
    remedy=["Run: sysctl kernel.unprivileged_userns_clone=1"],
    ok=False,
)


@pytest.fixture
def diagnose(tmp_path):
    return lambda *words: CliRunner().invoke(app, ["doctor", "--data", str(tmp_path / "state"), *words])


def show(report, tmp_path, capsys):
    found = doctor.Diagnosis("1", "3", "3", "Linux", doctor._state(tmp_path), report)
    doctor._show(found)
    return capsys.readouterr().out


def test_the_real_machine_is_judged_alike_by_status_json_and_probe(diagnose, tmp_path):
    done = diagnose("--json")
    found = json.loads(done.stdout)
    assert found["sandbox"]["ok"] is sandbox.probe(None, network="none").ok
    assert done.exit_code == (0 if found["sandbox"]["ok"] else 1)
    assert diagnose().exit_code == done.exit_code
    assert found["python"] == platform.python_version()
    assert found["sqlite"] == sqlite3.sqlite_version
    assert found["state"]["path"] == str(tmp_path / "state")
    assert found["state"]["exists"] is False and found["state"]["writable"] is True
    assert not (tmp_path / "state").exists()
    if found["sandbox"]["ok"]:
        form, _, why = found["sandbox"]["working_copies"].partition(": ")
        assert form == "overlay" or (form == "directory" and why)
    assert not list(tmp_path.iterdir())


def test_none_by_name_is_good_enough(diagnose):
    done = diagnose("--sandbox", "none", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["sandbox"]["sandbox"] == "none"


def test_people_read_what_holds_and_what_does_not(tmp_path, capsys):
    said = show(GOOD, tmp_path, capsys)
    for words in (
        "bubblewrap 0.11.0",
        "/usr/bin/bwrap",
        "system calls",
        "cgroup",
        "missing: no controller",
        "ffmpeg",
    ):
        assert words in said
    assert said.rstrip().endswith("Commands can run.")
    assert "Problems" not in said


def test_people_read_what_is_wrong_and_what_would_help(tmp_path, capsys):
    said = show(BAD, tmp_path, capsys)
    assert "- User namespaces are refused." in said
    assert "- Run: sysctl kernel.unprivileged_userns_clone=1" in said
    assert said.rstrip().endswith("Commands are refused; files work.")


def test_a_long_sentence_stays_in_one_line(tmp_path, capsys):
    remedy = "Run: " + "x " * 200 + "end"
    assert remedy in show(Report(sandbox="bubblewrap", network="none", remedy=[remedy]), tmp_path, capsys)


def test_serve_tells_the_same_in_a_line_or_two():
    assert list(standing.lines(GOOD)) == [
        "under bubblewrap 0.11.0: files, network, processes isolated; network: none",
        "not isolated: system calls",
        "not limited: cpu",
    ]
    assert list(standing.lines(msgspec.structs.replace(GOOD, working_copies="directory: too old")))[1] == (
        "working copies: directory: too old"
    )
    [refused] = standing.lines(BAD)
    assert refused.startswith("refused: ")
    [unprotected] = standing.lines(Report(sandbox="none", network="host"))
    assert unprotected.startswith("unprotected")
