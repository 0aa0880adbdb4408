"""An agent's program dies in the middle of its work, goes on from the stored messages, buys what it needs, and is taken back.

It looks into a shop's orders. After its second command the program is gone; what was stored of its messages does not know
how that command ended, so the files are put back to where they know them, and the agent does it again. Then it buys: what
is cheap by itself, what is dear after a person's yes, and what is left in the budget does not pay for not at all. Asked to
clean up, it deletes what it should not have; a fork of the conversation goes on from before that, with files of its own.
At last the first way is taken back to before it bought anything: its files go back, its money does not.

    python examples/06_pydantic_ai.py                         a scripted model, offline
    python examples/06_pydantic_ai.py --model provider:model  your own
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeAlias

from pydantic_ai import (
    Agent,
    DeferredToolRequests,
    DeferredToolResults,
    ModelMessagesTypeAdapter,
    RunContext,
    capture_run_messages,
)
from pydantic_ai.capabilities import (
    AbstractCapability,
    ValidatedToolArgs,
    WrapToolExecuteHandler,
    on_event,
)
from pydantic_ai.messages import (
    FunctionToolCallEvent,
    FunctionToolResultEvent,
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

from pydantic_ai_trove import FilesFound, Priced, Spent, TroveWallet, TroveWorkspace, WorkspaceStep
from trove_agents import Trove, Wallet
from trove_agents.guard import Guard, ask_above
from trove_agents.tools import namespace_of

DATA: Final = Path(__file__).resolve().parent / "data"
BUDGET: Final = Decimal("2.00")
ALONE: Final = Decimal("0.50")
"""What a call may cost that nobody is asked about."""
PRICES: Final = {
    "exchange_rate": Priced("0.02", vendor="rates"),
    "market_study": Priced("1.50", vendor="studies"),
    "forecast": Priced("0.50", vendor="studies"),
}

ASK: Final = "Which region sold most? Write the sums of all regions to report.md."
BUY: Final = "Add what the market is worth in each region, in euros, and a forecast if it can be had."
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

Line: TypeAlias = str | dict[str, Any]
"""A command, or a paid tool with its arguments."""
SCRIPT: Final[dict[str, tuple[Line, ...]]] = {
    ASK: (
        "head -3 data/orders.csv; wc -l data/*.csv",
        SUMS,
        "(echo '# Sales'; sed 's/^/- /' tmp.txt) > report.md; cat report.md",
    ),
    BUY: (
        {"exchange_rate": {"currency": "EUR"}},
        {"market_study": {"kind": "size by region"}},
        "(echo; echo '# Market, EUR'; awk '{print \"- \" $1 * 0.92, $2}' market.txt) >> report.md; tail -5 report.md",
        {"forecast": {"region": "West"}},
    ),
    CLEAN: ("rm -rf *", "ls"),
    CAREFUL: ("rm tmp.txt market.txt; ls",),
}
"""What is done by what the user said; after it the agent says that it is done."""

out = Console(highlight=False, soft_wrap=True)


def scripted(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
    """What comes next depends on the messages alone: the same again when a run goes on, or goes another way."""
    asked, done = ASK, 0
    for message in messages:
        for part in message.parts if isinstance(message, ModelRequest) else ():
            if isinstance(part, Prompt) and str(part.content) in SCRIPT:
                asked, done = str(part.content), 0
            elif isinstance(part, ToolReturnPart) and part.outcome != "interrupted":
                done += 1
    if done == len(SCRIPT[asked]):
        return ModelResponse([TextPart("Done.")])
    line = SCRIPT[asked][done]
    [(name, arguments)] = {"bash": {"command": line}}.items() if isinstance(line, str) else line.items()
    return ModelResponse([ToolCallPart(name, arguments)])


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


# What the agent can buy, from vendors that are made up


async def exchange_rate(currency: str) -> str:
    """How much of a currency a US dollar is worth."""
    return f"1 USD = 0.92 {currency}"


async def market_study(ctx: RunContext[Any], kind: str) -> str:
    """A study of the market. It is put into the workspace, as market.txt: USD and region of each line."""
    await ctx.workspace.write_text("market.txt", "9800000 West\n7100000 North\n8300000 South\n4400000 East\n")
    return f"market.txt has the {kind}"


async def forecast(region: str) -> str:
    """What a region will buy next month."""
    return f"{region} will buy a little more."


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
        result = await handler(args)
        self.commands_left -= 1
        if self.commands_left == 0:
            raise PowerCut
        return result

    @on_event(FunctionToolCallEvent)
    async def on_call(self, ctx: RunContext[Any], event: FunctionToolCallEvent) -> None:  # noqa: ARG002
        arguments = event.part.args_as_dict()
        told = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        shown = f"$ {arguments['command']}" if "command" in arguments else f"{event.part.tool_name}({told})"
        out.print(shown, style="green", markup=False)

    @on_event(FunctionToolResultEvent)
    async def on_result(self, ctx: RunContext[Any], event: FunctionToolResultEvent) -> None:  # noqa: ARG002
        failed = event.part.outcome == "failed"
        out.print(str(event.part.content), style="red" if failed else "dim", markup=False)

    @on_event(Spent)
    async def on_spent(self, ctx: RunContext[Any], event: Spent) -> None:  # noqa: ARG002
        charged = Decimal(event.receipt["charged_usd"])
        out.print(f"[cyan]paid ${charged:.2f} to {event.receipt['vendor']}[/cyan]")

    @on_event(FilesFound)
    async def on_files_found(self, ctx: RunContext[Any], event: FilesFound) -> None:  # noqa: ARG002
        paths = ", ".join(event.paths)
        out.print(f"[yellow]put back: {paths}. What was there is kept as {event.discarded}.[/yellow]")


async def tell(agent: Agent[None, Any], words: str | None, history: bytes, conversation: str) -> bytes:
    """One turn; what is stored of all messages, also when the program dies in it."""
    out.print(f"\n[bold]user[/bold]: {words or '(starts the program again)'}")
    answers: DeferredToolResults | None = None
    while True:
        with capture_run_messages() as messages:
            try:
                result = await agent.run(
                    words,
                    message_history=load(history),
                    deferred_tool_results=answers,
                    conversation_id=conversation,
                )
            except PowerCut:
                out.print("[red]The program dies.[/red]")
                return ModelMessagesTypeAdapter.dump_json(messages)
        history = ModelMessagesTypeAdapter.dump_json(result.all_messages())
        if not isinstance(result.output, DeferredToolRequests):
            out.print(f"[bold]agent[/bold]: {result.output}")
            return history
        words, answers = None, ask(result.output)


def ask(requests: DeferredToolRequests) -> DeferredToolResults:
    """Where your program shows what waits for a yes, with its price. It may come days later: the messages can be stored."""
    for call in requests.approvals:
        waits = requests.metadata[call.tool_call_id]
        price = Decimal(waits["price_usd"])
        out.print(f"[yellow]May {call.tool_name} cost ${price:.2f}, paid to {waits['vendor']}?[/yellow]")
        out.print("[bold]user[/bold]: yes")
    return requests.build_results(approve_all=True)


def load(stored: bytes) -> list[ModelMessage]:
    return ModelMessagesTypeAdapter.validate_json(stored)


def spent(messages: Sequence[ModelMessage]) -> Decimal:
    """What the receipts say that stand beside the results of tools."""
    receipts = [
        part.metadata["receipt"]
        for message in messages
        for part in message.parts
        if isinstance(part, ToolReturnPart) and "receipt" in (part.metadata or {})
    ]
    return sum((Decimal(receipt["charged_usd"]) for receipt in receipts), Decimal(0))


def steps(trove: Trove, history: Sequence[ModelMessage]) -> Table:
    """What a conversation did to its files and its money, step by step."""
    table = Table("step", "called", "changed", "files", "spent", "balance")
    table.caption = (
        "Nobody can go back to the middle of a step: the one in which the program died is left out."
    )
    found = TroveWorkspace.steps(history)
    for before, step in zip([None, *found], found, strict=False):
        client = trove.client(step.namespace)
        changed = [] if before is None else client.diff(before.reference_id, step.reference_id)
        told = [f"{each.change} {each.path.removeprefix('workspace/')}" for each in changed[:3]]
        more = f"\nand {len(changed) - 3} more" if len(changed) > 3 else ""
        there = client.list_dir(recursive=True, at=step.reference_id)
        until = spent(history[: step.messages])
        here = until - (spent(history[: before.messages]) if before else 0)
        table.add_row(
            str(step.index),
            ", ".join(step.tools),
            "\n".join(told) + more,
            str(sum(not each.is_dir for each in there)),
            f"${here:.2f}" if here else "",
            f"${BUDGET - until:.2f}",
        )
    return table


def before_buying(history: Sequence[ModelMessage]) -> WorkspaceStep:
    """The last step at which nothing was spent yet."""
    return [each for each in TroveWorkspace.steps(history) if not spent(history[: each.messages])][-1]


def listed(trove: Trove, namespace: str, wallet: Wallet) -> str:
    names = ", ".join(each.name for each in trove.client(namespace).list_dir()) or "nothing"
    return f"{names}; ${wallet.balance().remaining_budget:.2f} of ${BUDGET} remain"


async def demo(model: Model | str, sandbox: str | None, folder: Path) -> None:
    with Trove.local(folder / "state", sandbox=sandbox) as trove:
        shop = "the shop's chat"
        client = trove.client(namespace_of(shop))
        client.upload_dir(DATA, "data", ignore=["logs", "README.md"])
        wallet = trove.wallet("shop", budget_usd=BUDGET)
        with Guard(wallet, journal=folder / "payments.db", policy=ask_above(ALONE)) as guard:
            workspace = TroveWorkspace(trove, tools=["bash", "read"])
            agent = Agent(
                model,
                output_type=[str, DeferredToolRequests],
                tools=[exchange_rate, market_study, forecast],
                capabilities=[workspace, TroveWallet(guard, PRICES), Show()],
            )
            out.print(f"The agent has ${BUDGET}. What costs more than ${ALONE} needs your yes.")
            stored = await tell(agent, ASK, b"[]", shop)
            out.print(f"tmp.txt has {len(client.read_text('tmp.txt').splitlines())} lines")
            stored = await tell(agent, None, stored, shop)
            good = await tell(agent, BUY, stored, shop)
            stored = await tell(agent, CLEAN, good, shop)
            out.print(steps(trove, load(stored)))

            out.print("\nA fork, from before the clean-up.")
            fork = await workspace.fork(load(good), -1)
            forked = ModelMessagesTypeAdapter.dump_json(fork.messages)
            await tell(agent, CAREFUL, forked, fork.conversation_id)
            place = str(client.namespace)
            out.print("\nBoth ways are kept:")
            out.print(f"  careless: {listed(trove, place, wallet)}")
            out.print(f"  careful: {listed(trove, fork.workspace.id, wallet)}")

            step = before_buying(load(stored))
            await workspace.rewind(load(stored), step)
            out.print(f"\nThe careless one is taken back to step {step.index}, before it bought anything.")
            out.print("Its files go back, its money does not:")
            out.print(f"  careless: {listed(trove, place, wallet)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", help="provider:model, as Pydantic AI names them (default: a scripted one)")
    parser.add_argument("--sandbox", help="none runs commands without isolation (default: the best there is)")
    arguments = parser.parse_args()
    model = arguments.model or FunctionModel(scripted, stream_function=streamed)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(demo(model, arguments.sandbox, Path(folder)))


if __name__ == "__main__":
    main()
