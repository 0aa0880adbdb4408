"""A deep agent writes a program in a workspace, has it reviewed by another agent, and every step of it can be seen again.

Its file tools and its commands work on the same files (``TroveSandbox``), which follow its checkpoints
(``WorkspaceMiddleware`` and ``bind``). At the end the program is shown as it was before it was mended, and taken back there, in a
branch of its own.

    python examples/05_deep_agent.py                         a scripted model, offline
    python examples/05_deep_agent.py --model provider:model  your own

Needs langchain-trove[deepagents,agent] and a machine that can isolate commands.
"""

import argparse
from typing import Any, Final

from deepagents import create_deep_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from rich.console import Console
from scripted import Scripted
from steps import steps

from langchain_trove import WorkspaceMiddleware
from langchain_trove.sandbox import TroveSandbox
from langgraph_trove import StepFiles, bind, files_at, history, workspace_of
from trove_agents import Trove

ASK: Final = (
    "Write /workspace/slug.py with a function slug(text) for URLs, and a test. Then have it reviewed."
)
REVIEW: Final = "Review /workspace/slug.py. Write what you find to /workspace/review.md."
SLUG: Final = """\
import re


def slug(text):
    return re.sub("[^a-z0-9]+", "-", text.lower())
"""
TEST: Final = """\
import unittest

from slug import slug


class TestSlug(unittest.TestCase):
    def test_words(self):
        self.assertEqual(slug("Hello, World"), "hello-world")

    def test_ends(self):
        self.assertEqual(slug("Hello!"), "hello")
"""
RUN: Final = {"execute": {"command": "python3 -B -m unittest 2>&1 | tail -n 4"}}
SCRIPT: Final = {
    ASK: (
        {"write_file": {"file_path": "/workspace/slug.py", "content": SLUG}},
        {"write_file": {"file_path": "/workspace/test_slug.py", "content": TEST}},
        RUN,
        {
            "edit_file": {
                "file_path": "/workspace/slug.py",
                "old_string": "text.lower())",
                "new_string": 'text.lower()).strip("-")',
            }
        },
        RUN,
        {"task": {"description": REVIEW, "subagent_type": "general-purpose"}},
        "slug.py is there, tested and reviewed.",
    ),
    REVIEW: (
        {"read_file": {"file_path": "/workspace/slug.py"}},
        {"write_file": {"file_path": "/workspace/review.md", "content": "Letters with accents are lost.\n"}},
        "Reviewed: see review.md.",
    ),
}

out = Console(highlight=False, soft_wrap=True)


def show(message: Any) -> None:
    if isinstance(message, ToolMessage):
        out.print(message.text, style="dim", markup=False)
    elif isinstance(message, AIMessage):
        if message.text:
            out.print(f"[bold]agent[/bold]: {message.text}")
        for call in message.tool_calls:
            told = [str(value).partition("\n")[0] for value in call["args"].values()]
            out.print(f"{call['name']}: {told[0]}", style="green", markup=False)


def demo(model: Any) -> None:
    with Trove.temporary() as trove:
        client = trove.client("program")
        agent = create_deep_agent(
            model,
            backend=TroveSandbox(client),
            middleware=[WorkspaceMiddleware(handoff=False)],
            checkpointer=InMemorySaver(),
        )
        app = bind(agent, client)
        config: RunnableConfig = {"configurable": {"thread_id": "t-1"}}
        out.print(f"[bold]user[/bold]: {ASK}")
        for part in app.stream({"messages": [("user", ASK)]}, config, stream_mode="updates"):
            for update in part.values():
                for message in (update or {}).get("messages", ()):
                    show(message)
        out.print(steps(app, config))

        mended = next(
            (each for each in history(app, config) if ("workspace/slug.py", "changed") in changes(each)), None
        )
        if mended is None or mended.state.parent_config is None:
            return
        before = mended.state.parent_config
        out.print("\nslug.py, before it was mended:")
        out.print(files_at(app, before).read_text("slug.py"), style="dim", markup=False)
        app.invoke(None, before, keep_both=True)
        branch = workspace_of(app, config)
        out.print(f"From there again, in a workspace of its own: {branch.namespace}")
        for each in (client, branch):
            out.print(f"  {each.namespace}: {', '.join(entry.name for entry in each.list_dir())}")


def changes(step: StepFiles) -> set[tuple[str, str]]:
    return {(file.path, file.change) for file in step.files}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", help="provider:model, as for init_chat_model (default: a scripted one)")
    arguments = parser.parse_args()
    demo(arguments.model or Scripted(script=SCRIPT))


if __name__ == "__main__":
    main()
