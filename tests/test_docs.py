"""The documents say what is true: their programs run, and every command, option and setting is in them."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from trove_agents.cli.app import app
from trove_agents.embedded import Trove
from trove_agents.server import errors
from trove_agents.server.sandbox import Limits, probe
from trove_agents.server.settings import Settings
from trove_agents.wire import limits

ROOT = Path(__file__).resolve().parent.parent
READMES = [ROOT / "README.md", *sorted(ROOT.glob("integrations/*/README.md"))]
DOCUMENTS = [*READMES, ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]
BESIDE_A_SERVER = "<!-- runs: beside that server -->"
_BLOCK = re.compile(r"(?P<marker><!--[^\n]*-->\n)?```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)


def blocks():
    for path in READMES:
        text = path.read_text()
        for found in _BLOCK.finditer(text):
            line = text[: found.start("code")].count("\n") + 1
            marker = (found["marker"] or "").strip()
            yield pytest.param(found["code"], marker, id=f"{path.relative_to(ROOT)}:{line}")


@pytest.fixture(scope="module")
def isolated():
    report = probe(None, network="none")
    if not report.ok:
        pytest.skip(f"cannot isolate commands here: {'; '.join(report.problems)}")


@pytest.mark.sandbox
@pytest.mark.parametrize(("code", "marker"), list(blocks()))
def test_every_python_block_of_a_readme_runs(code, marker, tmp_path, isolated, serving):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TROVE_")}
    if marker:
        assert marker == BESIDE_A_SERVER
        with serving(tmp_path, "--credentials-file", "keys.json") as server:
            keys = server.credentials("keys.json")
            environment |= {"TROVE_BASE_URL": keys["base_url"], "TROVE_API_KEY": keys["key"]}
            done = run(code, tmp_path, environment)
    else:
        done = run(code, tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert ("print(" in code) == bool(done.stdout.strip())


def run(code, folder, environment):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def commands(command, words=()):
    """Every command that does something, with its words."""
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from commands(below, (*words, name))
    else:
        yield " ".join(words), command


def options(command):
    names = {option for parameter in command.params for option in parameter.opts}
    return {name for name in names if name.startswith("--")} - {"--help"}


CLI = typer.main.get_command(app)


@pytest.mark.parametrize(("name", "command"), [pytest.param(*pair, id=pair[0]) for pair in commands(CLI)])
def test_every_command_and_option_is_in_the_documents(name, command):
    sections = re.split(r"^## ", (ROOT / "docs" / "cli.md").read_text(), flags=re.MULTILINE)
    [section] = [section for section in sections if f"`trove-agents {name}`" in section.splitlines()[0]]
    documented = set(re.findall(r"`(--[a-z-]+)", section))
    assert options(command) <= documented
    together = re.findall(r"`trove-agents ([^`]+)`", section.splitlines()[0])
    of_all = set().union(*(options(each) for words, each in commands(CLI) if words in together))
    first_column = set(re.findall(r"^\| `(--[a-z-]+)", section, flags=re.MULTILINE))
    assert first_column == of_all, "an option that is no more"


def test_every_variable_of_the_environment_is_in_the_documents():
    sources = [*ROOT.glob("trove_agents/**/*.py"), *ROOT.glob("integrations/*/*_trove/**/*.py")]
    sources = [
        source for source in sources if "sandbox" not in source.parts
    ]  # it sets variables, and reads none
    read = {name for source in sources for name in re.findall(r"\"(TROVE_[A-Z_]+)\"", source.read_text())}
    documented = set(
        re.findall(r"^\| `(TROVE_[A-Z_]+)`", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)
    )
    assert documented == read


def test_every_setting_of_the_server_is_in_the_documents():
    text = (ROOT / "docs" / "configuration.md").read_text()
    missing = [field.name for field in dataclasses.fields(Settings) if f"`{field.name}=" not in text]
    assert missing == ["folder"], "the folder is the path of Trove.local and --data"


def test_the_limits_of_the_readme_are_those_of_the_code():
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    table = dict(rows)
    mb = limits.MB
    assert f"{limits.EXEC_SECONDS:.0f} s," in table["command"]
    assert f"{limits.EXEC_STDIN_BYTES // mb} MB of standard input" in table["command"]
    assert f"{limits.EXEC_OUTPUT_BYTES // mb} MB of each output" in table["command"]
    assert f"{limits.WRITE_BYTES // mb} MB" in table["`write`"]
    assert limits.UPLOAD_BYTES == limits.DOWNLOAD_BYTES
    assert f"{limits.UPLOAD_BYTES // mb} MB" in table["`upload`, `download`"]
    assert f"{limits.TEXT_BYTES // mb} MB" in table["`read_text`"]
    assert f"{limits.LIST_ENTRIES:,} entries, {limits.LIST_LEVELS} levels" in table["listing"]
    assert f"newest {limits.SNAPSHOTS_LISTED} " in table["snapshots"]
    assert f"most {limits.SNAPSHOT_LABEL_CHARACTERS} characters" in table["snapshots"]
    assert f"{limits.PATH_BYTES:,} bytes, {limits.SEGMENT_BYTES} a segment" in table["names"]


def test_every_endpoint_is_in_the_documents_with_who_may_call_it():
    documented = {
        (endpoint, access)
        for endpoints, access in re.findall(
            r"^\| (`[A-Z]+ .*`) \| (\w+) \|$", (ROOT / "docs" / "wire.md").read_text(), re.MULTILINE
        )
        for endpoint in re.findall(r"`([^`]+)`", endpoints)
    }
    with Trove.temporary() as trove:
        assert documented == {
            (f"{route.method} {route.path}", route.access) for route in trove.server.app.routes
        }


def test_every_error_code_is_in_the_documents():
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", (ROOT / "docs" / "wire.md").read_text(), re.MULTILINE)
    documented = {(int(status), code) for status, text in rows for code in re.findall(r"`([a-z-]+)`", text)}
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ServiceError)
    ]
    coded = {(errors.status(kind("")), kind.code) for kind in kinds if kind is not errors.ServiceError}
    edge = {(405, "method-not-allowed"), (500, "internal")}
    assert documented == coded | edge


def test_the_bounds_of_commands_in_the_readme_are_those_of_the_code():
    bounds = Limits()
    written = f"{bounds.written >> 30} GB and {bounds.entries:,} files written"
    assert (
        f"{bounds.memory >> 30} GB of memory, {bounds.processes} processes, {written}"
        in (ROOT / "README.md").read_text()
    )


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_into_the_repository_leads_somewhere(path):
    targets = re.findall(r"\]\(([^)#\s]+)", path.read_text())
    assert not [target for target in targets if "://" not in target and not (path.parent / target).exists()]
