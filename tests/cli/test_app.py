"""The command as a whole: its version, its help, and what it says where the server is not installed."""

import dataclasses
import importlib.metadata
import inspect
import subprocess
import sys

import pytest

from trove_agents.cli.app import app
from trove_agents.server.settings import Settings


def test_version_and_help(run_command):
    assert run_command("--version") == (0, f"trove-agents {importlib.metadata.version('trove-agents')}\n", "")
    status, output, _ = run_command("--help")
    assert status == 0
    for name in ("serve", "workspace", "wallet", "doctor"):
        assert name in output


def test_serve_and_code_have_the_same_defaults():
    """0 of the command is None in code: no end."""
    [serve] = [command.callback for command in app.registered_commands if command.name == "serve"]
    parameters = inspect.signature(serve).parameters
    for setting in dataclasses.fields(Settings):
        if setting.name in parameters:
            assert (parameters[setting.name].default or None) == (setting.default or None), setting.name


def test_without_the_server_it_says_how_to_get_it(tmp_path):
    code = "import sys; sys.modules['typer'] = None; from trove_agents.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip().endswith("pip install 'trove-agents[server]'")


def test_a_fault_of_ours_is_not_taken_for_a_missing_server(monkeypatch):
    from trove_agents import cli

    monkeypatch.setitem(sys.modules, "trove_agents.cli.app", None)
    with pytest.raises(ModuleNotFoundError, match="trove_agents"):
        cli.main()


def test_the_help_needs_no_server_libraries():
    code = (
        "import sys; from trove_agents.cli import app; "
        "print(sorted({'sqlalchemy', 'obstore', 'uvicorn', 'alembic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
