"""The file and shell tools of Pydantic AI's harness, unchanged, in a workspace of ours.

The harness asks for one exact version of pydantic-ai-slim: ``make durable`` has an environment of its own for it.
"""

import pytest
from pydantic_ai import Agent

from pydantic_ai_trove import TroveWorkspace

from .histories import returns

harness = pytest.importorskip(
    "pydantic_ai_harness", reason="the harness asks for one exact version of pydantic-ai-slim"
)
pytestmark = pytest.mark.sandbox


async def test_files_and_commands(isolated, scripted):
    workspace = TroveWorkspace(isolated, tools=())
    turns = [
        [("create_directory", {"path": "notes"})],
        [("write_file", {"path": "notes/plan.md", "content": "one\ntwo\n"})],
        [("edit_file", {"path": "notes/plan.md", "old_text": "two", "new_text": "three"})],
        [("read_file", {"path": "notes/plan.md"})],
        [("search_files", {"pattern": "three"})],
        [("find_files", {"pattern": "**/*.md"})],
        [("list_directory", {"path": "notes"})],
        [("run_command", {"command": "wc -l < notes/plan.md && ln -s notes link && ls link/"})],
        [("read_file", {"path": "link/plan.md"})],
    ]
    agent = Agent(
        scripted(*turns), capabilities=[workspace, harness.FileSystem(), harness.Shell()], retries=0
    )
    result = await agent.run("go")
    found = returns(result)
    assert [part.outcome for part in found] == ["success"] * len(turns)
    told = [str(part.content) for part in found[1:]]
    assert "three" in told[2] and "plan.md" in told[3] and "plan.md" in told[4] and "plan.md" in told[5]
    assert "2" in told[6] and "plan.md" in told[6] and "three" in told[7]
    steps = workspace.steps(result.all_messages())
    client = isolated.client(steps[1].namespace)
    assert [client.read_text("notes/plan.md", at=each.reference_id) for each in steps[2:4]] == [
        "one\ntwo\n",
        "one\nthree\n",
    ]
    history = list(client.history("notes/plan.md"))
    assert [each.step.call for each in history] == ["2-0", "1-0"]


async def test_paths_out_of_the_workspace_are_refused(isolated, scripted):
    turns = [
        [("run_command", {"command": "ln -s /etc out"})],
        [("read_file", {"path": "out/passwd"})],
        [("read_file", {"path": "../etc/passwd"})],
    ]
    agent = Agent(
        scripted(*turns),
        capabilities=[TroveWorkspace(isolated, tools=()), harness.FileSystem(), harness.Shell()],
        retries=3,
    )
    linked, *refused = returns(await agent.run("go"))
    assert linked.outcome == "success"
    assert [part.outcome for part in refused] == ["retried"] * 2
