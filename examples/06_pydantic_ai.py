"""An agent's program dies in the middle of its work, goes on from the stored messages, and is tried a second way.

It looks into a shop's orders. After its second command the program is gone; what was stored of its messages does not know
how that command ended, so the files are put back to where they know them, and the agent does it again. Later it is asked
to clean up, and deletes what it should not have; a fork of the conversation goes on from before that, with files of its
own. Both ways stay.

    python examples/06_pydantic_ai.py                         a scripted model, offline
    python examples/06_pydantic_ai.py --model provider:model  your own
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic_ai import Agent, ModelMessagesTypeAdapter, RunContext, capture_run_messages
from pydantic_ai.capabilities import (
    AbstractCapability,
    ValidatedToolArgs,
    WrapToolExecuteHandler,
    on_event,
)
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.messages import UserPromptPart as Prompt
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.tools import ToolDefinition
from rich.console import Console
from rich.table import Table

from pydantic_ai_trove import FilesFound, TroveWorkspace
from trove_agents import Trove
from trove_agents.tools import namespace_of

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
    print(amount, region)' | tee -a tmp.txt"""
SCRIPT: Final = {
    ASK: (
        "head -3 data/orders.csv; wc -l data/*.csv",
        SUMS,
        "(echo '# Sales'; sed 's/^/- /' tmp.txt) > report.md; cat report.md",
        "",
    ),
    CLEAN: ("rm -rf *", "ls", ""),
    CAREFUL: ("rm tmp.txt; ls", ""),
}
"""Commands by what the user said. Each is repeated until it succeeds; then the agent says that it is done."""

out = Console(highlight=False, soft_wrap=True)


def scripted(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
    """What comes next depends on the messages alone: the same again when a run goes on, or goes another way."""
    asked, done = ASK, 0
    for message in messages:
        for part in message.parts if isinstance(message, ModelRequest) else ():
            if isinstance(part, Prompt) and str(part.content) in SCRIPT:
                asked, done = str(part.content), 0
            elif isinstance(part, ToolReturnPart) and part.outcome == "success":
                done += 1
    command = SCRIPT[asked][done]
    if not command:
        return ModelResponse([TextPart("Done.")])
    return ModelResponse([ToolCallPart("bash", {"command": command})])


async def streamed(
    messages: list[ModelMessage], info: AgentInfo
) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
    for number, part in enumerate(scripted(messages, info).parts):
        if isinstance(part, ToolCallPart):
            yield {
                number: DeltaToolCall(part.tool_name, json.dumps(part.args), tool_call_id=part.tool_call_id)
            }
        elif isinstance(part, TextPart):
            yield part.content


class PowerCut(Exception):
    """The program is gone."""


@dataclass
class Show(AbstractCapability[Any]):
    """Prints what the agent does; once, the program dies after a command has run and before anybody knows."""

    commands_left: int = 2

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],  # noqa: ARG002 (as it is called)
        *,
        call: ToolCallPart,  # noqa: ARG002
        tool_def: ToolDefinition,  # noqa: ARG002
        args: ValidatedToolArgs,
        handler: WrapToolExecuteHandler,
    ) -> Any:
        out.print(f"$ {args.get('command', args)}", style="green", markup=False)
        result = await handler(args)
        self.commands_left -= 1
        if self.commands_left == 0:
            raise PowerCut
        out.print(str(result.return_value), style="dim", markup=False)
        return result

    @on_event(FilesFound)
    async def on_files_found(self, ctx: RunContext[Any], event: FilesFound) -> None:  # noqa: ARG002
        paths = ", ".join(event.paths)
        out.print(f"[yellow]put back: {paths}. What was there is kept as {event.discarded}.[/yellow]")


async def tell(agent: Agent, words: str | None, history: Sequence[ModelMessage], conversation: str) -> bytes:
    """One turn; what is stored of all messages, also when the program dies in it."""
    out.print(f"\n[bold]user[/bold]: {words or '(goes on)'}")
    with capture_run_messages() as messages:
        try:
            result = await agent.run(words, message_history=history, conversation_id=conversation)
        except PowerCut:
            out.print("[red]The program dies.[/red]")
            return ModelMessagesTypeAdapter.dump_json(messages)
    out.print(f"[bold]agent[/bold]: {result.output}")
    return ModelMessagesTypeAdapter.dump_json(result.all_messages())


def steps(trove: Trove, history: Sequence[ModelMessage]) -> Table:
    """What a conversation did to its files, step by step."""
    table = Table("step", "messages", "changed", "files then")
    found = TroveWorkspace.steps(history)
    for before, step in zip([None, *found], found, strict=False):
        client = trove.client(step.namespace)
        changed = [] if before is None else client.diff(before.reference_id, step.reference_id)
        shown = [f"{each.change} {each.path.removeprefix('workspace/')}" for each in changed[:3]]
        more = f"\nand {len(changed) - 3} more" if len(changed) > 3 else ""
        there = client.list_dir(recursive=True, at=step.reference_id)
        count = sum(not each.is_dir for each in there)
        table.add_row(str(step.index), str(step.messages), "\n".join(shown) + more, str(count))
    return table


async def demo(model: Model | str, sandbox: str | None) -> None:
    with Trove.temporary(sandbox=sandbox) as trove:
        shop = "the shop's chat"
        client = trove.client(namespace_of(shop))
        client.upload_dir(DATA, "data", ignore=["logs", "README.md"])
        workspace = TroveWorkspace(trove, tools=["bash", "read"])
        agent = Agent(model, capabilities=[workspace, Show()])

        stored = await tell(agent, ASK, [], shop)
        out.print(f"tmp.txt has {len(client.read_text('tmp.txt').splitlines())} lines")
        stored = await tell(agent, None, ModelMessagesTypeAdapter.validate_json(stored), shop)
        good = ModelMessagesTypeAdapter.validate_json(stored)
        stored = await tell(agent, CLEAN, good, shop)
        history = ModelMessagesTypeAdapter.validate_json(stored)
        out.print(steps(trove, history))

        out.print("\nA fork, from the end of the first turn.")
        fork = await workspace.fork(good, -1)
        await tell(agent, CAREFUL, fork.messages, fork.conversation_id)
        out.print("\nBoth ways are kept:")
        for name, namespace in (("careless", client.namespace), ("careful", fork.workspace.id)):
            found = trove.client(str(namespace)).list_dir()
            out.print(f"  {name}: {', '.join(each.name for each in found) or 'nothing'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", help="provider:model, as Pydantic AI names them (default: a scripted one)")
    parser.add_argument("--sandbox", help="none runs commands without isolation (default: the best there is)")
    arguments = parser.parse_args()
    model = arguments.model or FunctionModel(scripted, stream_function=streamed)
    asyncio.run(demo(model, arguments.sandbox))


if __name__ == "__main__":
    main()
