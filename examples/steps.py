"""What an agent did to its files, for the examples to show."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from rich.table import Table

from langgraph_trove import files_at, history
from trove_agents.guard import Guard


def steps(app: Any, config: RunnableConfig, *, branch: bool = False, guard: Guard | None = None) -> Table:
    """What a thread, or one branch of it, did to its files: one row for each step that changed some, or ended a turn; with
    a guard also what it spent.
    """
    table = Table("what was done", "changed", "files then", *(["spent"] if guard else []))
    for each in reversed(list(history(app, config, branch=branch, guard=guard))):
        if each.state.next and not each.files and not each.payments:
            continue
        said = each.state.values["messages"][-1].text.strip().partition("\n")[0]
        changed = [f"{file.change} {file.path.removeprefix('workspace/')}" for file in each.files[:3]]
        more = f"\nand {len(each.files) - 3} more" if len(each.files) > 3 else ""
        there = files_at(app, each.state.config).list_dir(recursive=True)
        count = sum(not file.is_dir for file in there)
        spent = [f"${each.spent_usd:.2f}" if each.payments else ""] if guard else []
        table.add_row(shortened(said), "\n".join(changed) + more, str(count), *spent)
    return table


def shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
