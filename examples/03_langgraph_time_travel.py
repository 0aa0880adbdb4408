"""A graph plans a trip in files, breaks off, goes on, goes back, and tries another way beside the first.

It collects ideas, asks a person which one to take, buys what the trip is said to cost, works out two things side by side,
one of which fails at first, and puts a plan together. Then it goes back to the question, and the other answer gets files of
its own: both plans stay, and each step says what it spent.

    python examples/03_langgraph_time_travel.py                         texts from a script, offline
    python examples/03_langgraph_time_travel.py --model provider:model  written by a model
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from rich.console import Console
from steps import steps

from langgraph_trove import PaidNode, WorkspaceState, bind, files_at, workspace_node, workspace_of
from trove_agents import Trove, TroveClient
from trove_agents.guard import Guard

SCRIPT: Final = {
    "Name two cities for a long weekend, one a line.": "Lisbon\nOslo\n",
    "Two days in Lisbon, one line each.": "Alfama on foot\nBoat to Cacilhas\n",
    "Two days in Oslo, one line each.": "The opera's roof\nSauna in the fjord\n",
    "What do two days in Lisbon cost? One line.": "About 420 euros\n",
    "What do two days in Oslo cost? One line.": "About 690 euros\n",
}

out = Console(highlight=False, soft_wrap=True)


class State(MessagesState, WorkspaceState, total=False):
    city: str
    fares: str


class NoConnection(Exception):
    pass


def planner(write: Callable[[str], str], failures: list[Exception], guard: Guard) -> "StateGraph[State]":
    """The graph. ``write`` answers a question with a text; ``failures`` befall the budget, one at each try."""

    @workspace_node
    def collect(_: State, workspace: TroveClient) -> dict[str, Any]:
        workspace.write("ideas.txt", write("Name two cities for a long weekend, one a line."))
        return said("Two cities to choose from.")

    @workspace_node
    def choose(_: State, workspace: TroveClient) -> dict[str, Any]:
        workspace.write(
            "question.txt", "asked\n"
        )  # undone until there is an answer: the node then runs again
        city = interrupt(workspace.read_text("ideas.txt").split())
        workspace.delete("question.txt")
        workspace.write("choice.txt", f"{city}\n")
        return {**said(f"{city} it is."), "city": city}

    def fares(state: State) -> dict[str, Any]:
        found = write(f"What do two days in {state['city']} cost? One line.")
        return {"messages": [{"role": "ai", "content": "The fares are bought."}], "fares": found}

    @workspace_node
    def days(state: State, workspace: TroveClient) -> dict[str, Any]:
        workspace.write("days.txt", write(f"Two days in {state['city']}, one line each."))
        return said("The days are planned.")

    @workspace_node
    def budget(state: State, workspace: TroveClient) -> dict[str, Any]:
        workspace.write("budget.txt", "half a number")
        if failures:
            raise failures.pop()
        workspace.write("budget.txt", state["fares"])
        return said("The costs are known.")

    @workspace_node
    def finish(state: State, workspace: TroveClient) -> dict[str, Any]:
        parts = [workspace.read_text(name) for name in ("days.txt", "budget.txt")]
        workspace.write("plan.md", f"# {state['city']}\n\n{''.join(parts)}")
        for name in ("days.txt", "budget.txt", "choice.txt"):
            workspace.delete(name)
        return said("The plan is ready.")

    buy = PaidNode(fares, "0.05", guard=guard, arguments=lambda state: {"city": state["city"]})
    graph = StateGraph(State).add_node(collect).add_node(choose).add_node("fares", buy)
    graph.add_node(days).add_node(budget).add_node(finish)
    graph.add_edge(START, "collect").add_edge("collect", "choose").add_edge("choose", "fares")
    graph.add_edge("fares", "days").add_edge("fares", "budget")
    return graph.add_edge(["days", "budget"], "finish").add_edge("finish", END)


def said(text: str) -> dict[str, Any]:
    return {"messages": [AIMessage(text)]}


def demo(write: Callable[[str], str]) -> None:
    with (
        Trove.temporary() as trove,
        tempfile.TemporaryDirectory() as folder,
        Guard(trove.wallet("planner", budget_usd=1), journal=Path(folder) / "payments.db") as guard,
    ):
        graph = planner(write, [NoConnection("the bank does not answer")], guard)
        app = bind(graph.compile(checkpointer=InMemorySaver()), trove.client("trip"))
        config: RunnableConfig = {"configurable": {"thread_id": "t-1"}}

        found = app.invoke({"messages": [HumanMessage("Plan a weekend.")]}, config)
        [question] = found["__interrupt__"]
        first, second = question.value
        out.print(f"It asks: {first} or {second}? Files: {names(app, config)}")
        try:
            app.invoke(Command(resume=first), config)
        except NoConnection as error:
            left = [each.name for each in workspace_of(app, config).list_dir()]
            out.print(f"{first}. It breaks off: {error}. Nothing half is left: {', '.join(left)}")
        app.invoke(None, config)
        out.print(steps(app, config, guard=guard))

        asked = next(each.config for each in app.get_state_history(config) if each.next == ("choose",))
        end = app.get_state(config).config
        out.print(
            f"\nBack to the question, when there was {names(app, asked)}. {second} this time, and both stay."
        )
        app.invoke(None, asked, keep_both=True)
        app.invoke(Command(resume=second), config)
        out.print(steps(app, config, branch=True, guard=guard))
        out.print(f"\nThe wallet, which goes nowhere back: ${guard.wallet.balance().total_spent:.2f} spent")

        out.print("\nBoth plans:")
        for at in (end, app.get_state(config).config):
            workspace = workspace_of(app, at)
            out.print(
                f"\n\\[{workspace.namespace}: {names(app, at)}]\n{workspace.read_text('plan.md')}", end=""
            )


def names(app: Any, config: RunnableConfig) -> str:
    """The files of a checkpoint."""
    return ", ".join(each.name for each in files_at(app, config).list_dir())


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "--model", help="provider:model, as for init_chat_model (default: texts from a script)"
    )
    arguments = parser.parse_args()
    if arguments.model is None:
        demo(SCRIPT.__getitem__)
        return
    from langchain.chat_models import init_chat_model

    model = init_chat_model(arguments.model)
    demo(lambda question: f"{model.invoke(f'{question} Nothing else.').text.strip()}\n")


if __name__ == "__main__":
    main()
