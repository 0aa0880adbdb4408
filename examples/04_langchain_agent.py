"""An agent works in a folder, makes a mistake, and is taken back: its files follow its conversation.

It looks into a shop's orders and writes a report. Asked to clean up, it deletes what it should not have. Its
conversation goes back to before that, and its files with it; asked more carefully, it does better. Both ways stay: the
files of every step can still be read.

    python examples/04_langchain_agent.py                         a scripted model, offline
    python examples/04_langchain_agent.py --model provider:model  your own
"""

import argparse
from pathlib import Path
from typing import Any, Final

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from rich.console import Console
from scripted import Scripted
from steps import steps

from langchain_trove import WorkspaceMiddleware
from langgraph_trove import bind, files_at
from trove_agents import Trove

DATA: Final = Path(__file__).resolve().parent / "data"
ASK: Final = "Which region sold most? Write the sums of all regions to report.md."
CLEAN: Final = "Clean up, please."
CAREFUL: Final = "Remove your scratch files. Leave the data and the report alone."
SUMS: Final = """\
python3 -c '
import collections, csv, decimal
sums = collections.Counter()
for order in csv.DictReader(open("data/orders.csv")):
    sums[order["region"]] += decimal.Decimal(order["amount"])
for region, amount in sums.most_common():
    print(amount, region)' | tee tmp.txt"""
SCRIPT: Final = {
    ASK: (
        {"bash": {"command": "head -3 data/orders.csv; wc -l data/*.csv"}},
        {"bash": {"command": SUMS}},
        {"bash": {"command": "(echo '# Sales'; sed 's/^/- /' tmp.txt) > report.md; cat report.md"}},
        "The sums are in report.md.",
    ),
    CLEAN: ({"bash": {"command": "rm -rf *"}}, {"bash": {"command": "ls"}}, "All is clean."),
    CAREFUL: ({"bash": {"command": "rm tmp.txt; ls"}}, "Only the data and the report are left."),
}

out = Console(highlight=False, soft_wrap=True)


def tell(app: Any, words: str, config: RunnableConfig) -> None:
    """One turn, shown as it comes: what the agent does, what its commands print, what it says."""
    out.print(f"\n[bold]user[/bold]: {words}")
    for mode, part in app.stream({"messages": [("user", words)]}, config, stream_mode=["updates", "tools"]):
        if mode == "tools" and part["event"] == "tool-output-delta":
            out.print(part["delta"]["text"], end="", style="dim", markup=False)
        elif mode == "updates" and (said := part.get("model")):
            for message in said["messages"]:
                show(message)


def show(message: AIMessage) -> None:
    if message.text:
        out.print(f"[bold]agent[/bold]: {message.text}")
    for call in message.tool_calls:
        out.print(f"$ {call['args'].get('command', call['args'])}", style="green", markup=False)


def demo(model: Any, sandbox: str | None) -> None:
    with Trove.temporary(sandbox=sandbox) as trove:
        client = trove.client("shop")
        client.upload_dir(DATA, "data", ignore=["logs", "README.md"])
        middleware = [WorkspaceMiddleware(tools=["bash", "read"])]
        agent = create_agent(model, middleware=middleware, checkpointer=InMemorySaver())
        app = bind(agent, client)
        config: RunnableConfig = {"configurable": {"thread_id": "t-1"}}

        tell(app, ASK, config)
        tell(app, CLEAN, config)
        out.print(steps(app, config))

        bad, good = [state.config for state in app.get_state_history(config) if not state.next][:2]
        out.print("\nBack to the end of the first turn, with other words.")
        tell(app, CAREFUL, good)
        out.print(steps(app, config))

        out.print("\nBoth ways are kept:")
        for name, end in (("careless", bad), ("careful", app.get_state(config).config)):
            names = [each.name for each in files_at(app, end).list_dir() if not each.name.startswith(".")]
            out.print(f"  {name}: {', '.join(names) or 'nothing'}")
        out.print(
            f"\nThe next session will read:\n{client.bootstrap().as_system_prompt_block()}", markup=False
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", help="provider:model, as for init_chat_model (default: a scripted one)")
    parser.add_argument("--sandbox", help="none runs commands without isolation (default: the best there is)")
    arguments = parser.parse_args()
    demo(arguments.model or Scripted(script=SCRIPT), arguments.sandbox)


if __name__ == "__main__":
    main()
