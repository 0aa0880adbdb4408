"""``trove-agents workspace create``."""

import json

import pytest
from typer.testing import CliRunner

from trove_agents import TroveClient
from trove_agents.cli.app import app
from trove_agents.embedded import Trove


@pytest.fixture
def trove_agents():
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_creates_a_workspace_whose_keys_work(tmp_path, trove_agents, serving):
    done = trove_agents("workspace", "create", "--data", tmp_path / "state", "--id", "ws-mine", "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made["workspace_id"] == "ws-mine"
    with serving(tmp_path) as server:
        assert server.told("workspace") == "ws-mine"
        with TroveClient(made["key"], "agent", base_url=server.base_url) as agent:
            assert agent.me().workspace_id == "ws-mine"


def test_works_beside_an_open_server(tmp_path, trove_agents):
    with Trove.local(tmp_path / "state") as trove:
        mine = trove.credentials.workspace_id
        done = trove_agents("workspace", "create", "--data", tmp_path / "state", "--name", "other")
        assert done.exit_code == 0, done.output
        assert trove.server.keys.workspaces() == [mine, done.stdout.splitlines()[0].split()[-1]]


def test_shows_three_values_for_people(tmp_path, trove_agents):
    lines = trove_agents("workspace", "create", "--data", tmp_path / "state").stdout.splitlines()
    assert [line[:11].strip() for line in lines] == ["workspace", "key", "admin key", ""]
    assert lines[1].split()[-1].startswith("trove-sk-")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--id", "mine"], "a workspace id is 'ws-'"),
        (["--id", "ws-taken"], "ws-taken exists"),
        (["--name", " "], "a name is"),
    ],
)
def test_refusals_are_one_line_and_status_1(tmp_path, trove_agents, words, said):
    trove_agents("workspace", "create", "--data", tmp_path / "state", "--id", "ws-taken")
    done = trove_agents("workspace", "create", "--data", tmp_path / "state", *words)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("trove-agents: ") and said in done.stderr
