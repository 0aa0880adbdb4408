"""The sandbox of macOS, where there is none: its rules as text, its runner with a program that isolates nothing."""

import re
import sys
from pathlib import Path

import pytest

from trove_agents.server.sandbox import Command, SandboxUnavailable, choose, probe
from trove_agents.server.sandbox import choose as choosing
from trove_agents.server.sandbox.seatbelt import PROGRAM, Seatbelt, profile


def rules(text):
    """The rules as nested lists of words."""
    stack = [[]]
    for word in re.findall(r'\(|\)|"[^"]*"|[^\s()]+', text):
        if word == "(":
            stack.append([])
        elif word == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(word)
    assert len(stack) == 1, "a bracket is left open"
    return stack[0]


def allowed(text, operation):
    """What the filters of all rules that allow an operation name."""
    found = []
    for rule in rules(text):
        if rule[0] == "allow" and operation in rule:
            found += [part for part in rule if isinstance(part, list)]
    return found


def test_all_is_denied_but_what_is_listed():
    assert rules(profile("none"))[:2] == [["version", "1"], ["deny", "default"]]


@pytest.mark.parametrize("network", ["none", "host"])
def test_only_the_two_folders_are_written(network):
    text = profile(network)
    own = [["subpath", ["param", '"ROOT"']], ["subpath", ["param", '"TEMPORARY"']]]
    assert allowed(text, "file-write*") == own
    others = [path for kind, path in allowed(text, "file-write-data")]
    assert all(path.startswith('"/dev/') for path in others)
    assert ["allow", "file-write*"] not in rules(text)


def test_no_folder_with_files_of_people_or_secrets_is_read():
    for kind, path in allowed(profile("none"), "file-read*"):
        if isinstance(path, list):
            continue
        name = path.strip('"')
        assert name not in {"/", "/private", "/private/etc", "/private/var", "/etc", "/tmp", "/var", "/Users"}
        assert not name.startswith(
            ("/Users", "/Volumes", "/private/tmp", "/private/var/folders", "/Library/Keychains")
        )
        if name.startswith("/private/etc"):
            assert kind == "literal"


def test_the_network_is_there_only_when_asked_for():
    assert "network" not in profile("none")
    assert "socket" not in profile("none")
    assert ["allow", "network*"] in rules(profile("host"))
    with pytest.raises(ValueError, match="public addresses only"):
        profile("internet")
    with pytest.raises(ValueError, match="public addresses only"):
        Seatbelt(network="internet")


def test_other_processes_are_neither_seen_nor_signalled():
    text = profile("host")
    for operation in ("signal", "process-info*"):
        assert allowed(text, operation) == [["target", "same-sandbox"]]


def test_paths_are_parameters_whatever_they_hold(tmp_path):
    root = tmp_path / 'a") (allow network*) ("'
    root.mkdir()
    arguments = Seatbelt().arguments(root, tmp_path / "home")
    assert arguments[0] == PROGRAM
    text = arguments[arguments.index("-p") + 1]
    assert "allow network" not in text
    given = dict(arguments[i + 1].split("=", 1) for i, word in enumerate(arguments) if word == "-D")
    assert given["ROOT"] == str(root)
    used = set(re.findall(r'\(param "(\w+)"\)', text))
    assert used == set(given)
    assert {"/", str(tmp_path)} <= {value for name, value in given.items() if name.startswith("ABOVE")}


def test_a_link_is_given_as_what_it_leads_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    arguments = Seatbelt().arguments(tmp_path / "link", tmp_path)
    assert f"ROOT={tmp_path / 'real'}" in arguments


class TestRunner:
    """``sandbox-exec`` played by a program that takes its options and isolates nothing."""

    @pytest.fixture
    def sandbox(self, tmp_path):
        program = tmp_path / "sandbox-exec"
        program.write_text('#!/bin/bash\nwhile [[ $1 == -* ]]; do shift 2; done\nexec "$@"\n')
        program.chmod(0o755)
        return Seatbelt(program=str(program))

    def run(self, here, sandbox, root, script, **fields):
        return here.submit(sandbox.run(Command(script, root, **fields))).result(60)

    def test_a_command_runs_in_its_folder(self, here, root, sandbox):
        outcome = self.run(
            here,
            sandbox,
            root,
            "pwd; cat; echo e >&2; echo $GIVEN; exit 3",
            stdin=b"in\n",
            env={"GIVEN": "x"},
        )
        assert (outcome.stdout, outcome.stderr, outcome.exit_code) == (f"{root}\nin\nx\n".encode(), b"e\n", 3)

    def test_its_home_is_its_own_and_is_removed(self, here, root, sandbox):
        outcome = self.run(here, sandbox, root, "test $HOME = $TMPDIR && touch ~/f && echo ~")
        home = Path(outcome.stdout.decode().strip())
        assert home.is_absolute() and not home.exists()

    def test_limits_are_set(self, here, root, sandbox):
        outcome = self.run(here, sandbox, root, "ulimit -c; ulimit -f; ulimit -v; ulimit -n")
        core, size, space, files = outcome.stdout.split()
        assert (core, space) == (b"0", b"unlimited")
        assert int(size) == sandbox.limits.file_size // 1024
        assert int(files) == sandbox.limits.open_files

    def test_the_time_limit_kills_the_tree(self, here, root, sandbox, survivors, mark):
        outcome = self.run(here, sandbox, root, f"setsid sleep {mark} & sleep {mark}", timeout=0.3)
        assert (outcome.exit_code, outcome.timed_out) == (124, True)
        assert survivors(mark) == []

    def test_one_that_lets_read_outside_is_no_sandbox(self, sandbox):
        assert sandbox.complaint() == "a command could read a file outside of its folder"

    def test_one_that_cannot_run_is_told(self, tmp_path, sandbox):
        assert "No such file" in Seatbelt(program=str(tmp_path / "none")).complaint()
        Path(sandbox._program).write_text(
            "#!/bin/sh\necho sandbox_apply: Operation not permitted >&2; exit 71\n"
        )
        assert sandbox.complaint() == "sandbox_apply: Operation not permitted"

    def test_one_that_reads_nothing_outside_is_taken(self, sandbox):
        Path(sandbox._program).write_text(
            '#!/bin/bash\nwhile [[ $1 == -* ]]; do shift 2; done\n[[ $1 == /bin/cat ]] && exit 1\nexec "$@"\n'
        )
        assert sandbox.complaint() is None


class TestChosen:
    @pytest.fixture
    def mac(self, monkeypatch):
        monkeypatch.setattr(choosing.__globals__["sys"], "platform", "darwin")
        monkeypatch.setitem(choosing.__globals__, "_checked", {})

    def test_a_mac_gets_it(self, mac, monkeypatch):
        monkeypatch.setattr(Seatbelt, "complaint", lambda self: None)
        assert choose(None).name == "seatbelt"
        report = probe(None)
        assert (report.sandbox, report.ok, report.isolated["files"]) == ("seatbelt", True, True)
        assert "never tried" in report.problems[0]

    def test_where_it_does_not_isolate_commands_are_refused(self, mac, monkeypatch):
        monkeypatch.setattr(Seatbelt, "complaint", lambda self: "sandbox_apply: Operation not permitted")
        with pytest.raises(SandboxUnavailable, match="Operation not permitted"):
            choose(None)
        with pytest.raises(SandboxUnavailable, match="public addresses only"):
            choose(None, network="internet")
        assert not probe(None).ok

    @pytest.mark.skipif(sys.platform == "darwin", reason="there it is")
    def test_elsewhere_there_is_none(self):
        with pytest.raises(SandboxUnavailable, match="seatbelt is of macOS"):
            choose("seatbelt")
