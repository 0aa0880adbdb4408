"""A program of one durable run that pays, and is killed: ``paying.py KIND MOMENT PHASE``.

``KIND`` of the tool: ``plain``, which a recovery would run again; ``files``, which writes some in the run's workspace beside
that; ``step`` and ``dynamic``, which the engine records.
``MOMENT`` of the kill. ``PHASE``: ``first``, or ``recover``, where the engine goes on with the run. What the vendor sold is
in its books, ``sold``, on the disk before it answers.
"""

import asyncio
import json
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from dbos import DBOS, SetWorkflowID
from pydantic_ai import Agent, DeferredToolRequests, FunctionToolset, ModelMessagesTypeAdapter, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.durable_exec.dbos import DBOSDurability
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.toolsets import DynamicToolset
from pydantic_ai.usage import RequestUsage

from pydantic_ai_trove import Priced, TroveWallet, TroveWorkspace
from trove_agents import Trove
from trove_agents.guard import Approve, Guard, Metered, SqliteJournal, ask_above

KIND, MOMENT, PHASE = sys.argv[1:]
BOOKS = Path("sold")
SEEN = Path("seen")
"""What the model was told in the last request, each time that it was made."""
STORED = Path("asked.json")


def die(moment):
    if PHASE == "first" and moment == MOMENT:
        os.kill(os.getpid(), signal.SIGKILL)


class Dying(Guard):
    """Is killed when the wallet has the money."""

    @asynccontextmanager
    async def aauthorize(self, price, **named):
        async with super().aauthorize(price, **named) as payment:
            yield payment
        if named["tool"] == "buy":
            die("captured")


class Noting(SqliteJournal):
    """Is killed when it is written down what is wanted, and nothing is held."""

    def add(self, entry):
        added = super().add(entry)
        die("intended")
        return added


class Between(AbstractCapability):
    """Is killed when the money is held, and the tool has not begun."""

    async def before_tool_execute(self, ctx, *, call, tool_def, args):
        die("held")
        return args


def asked(proposal):
    die("asked")
    return ask_above("0.1")(proposal) if MOMENT == "approved" else Approve()


def metered(result):
    die("returned")
    return Decimal("0.3")


async def buy(sku: str) -> str:
    """Buys."""
    with BOOKS.open("a") as books:
        books.write(f"{sku}\n")
        books.flush()
        os.fsync(books.fileno())
    die("charged")
    return f"one {sku}"


async def buy_file(ctx: RunContext[None], sku: str) -> str:
    """Buys."""
    await ctx.workspace.write_text(sku, "bought")
    return await buy(sku)


if KIND == "step":
    buy = DBOS.step(name="buy")(buy)
shop = FunctionToolset(id=None if KIND == "dynamic" else "shop")
shop.add_function(buy_file if KIND == "files" else buy, name="buy")
toolset = DynamicToolset(lambda _: shop, id="shops") if KIND == "dynamic" else shop


def answer(messages, info):
    """Says what to buy, and writes down what it is told of that and of the budget."""
    usage = RequestUsage(cost=Decimal("0.01"))
    if not any(isinstance(message, ModelResponse) for message in messages):
        return ModelResponse([ToolCallPart("buy", {"sku": "a"}, "c1")], usage=usage)
    told = [part.content for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
    told += re.findall(r"\$\S+ of \$2.00 remain[^.]*", str(messages))
    with SEEN.open("a") as seen:
        seen.write(f"{json.dumps(told)}\n")
    die("recorded")
    return ModelResponse([TextPart("done")], usage=usage)


trove = Trove.local("state", sandbox="none")
wallet = trove.wallet("payer", budget_usd=2)
journal = Noting("payments.db")
guard = Dying(wallet, journal=journal, policy=asked)
workspace = TroveWorkspace(trove, tools=())
models = "0.05" if MOMENT == "recorded" else None
agent = Agent(
    FunctionModel(answer, model_name="scripted"),
    name="paying",
    toolsets=[toolset],
    capabilities=[
        DBOSDurability(),
        TroveWallet(guard, {"buy": Priced(Metered("0.5", metered), vendor="acme")}, models=models),
        Between(),
        *([workspace] if KIND == "files" else []),
    ],
    output_type=[str, DeferredToolRequests],
)


@DBOS.workflow(name="paying")
async def paying() -> str:
    result = await agent.run("go")
    if isinstance(result.output, DeferredToolRequests):
        return result.all_messages_json().decode()
    return said(result)


@DBOS.workflow(name="resumed")
async def resumed(history: str) -> str:
    messages = ModelMessagesTypeAdapter.validate_json(history)
    results = DeferredToolRequests(approvals=messages[-1].tool_calls).build_results(approve_all=True)
    return said(await agent.run(message_history=messages, deferred_tool_results=results))


def said(result):
    parts = [part for message in result.all_messages() for part in message.parts]
    (receipt,) = [
        part.metadata and part.metadata["receipt"]["state"]
        for part in parts
        if isinstance(part, ToolReturnPart)
    ]
    steps = workspace.steps(result.all_messages())
    client = trove.client(steps[0].namespace if steps else "none")
    files = [[each.path for each in client.list_dir(at=step.reference_id)] for step in steps]
    return json.dumps({"output": result.output, "receipt": receipt, "files": files})


async def main():
    url = "sqlite:///dbos.sqlite"
    DBOS(
        config={
            "name": "paying",
            "system_database_url": url,
            "application_version": "1",
            "executor_id": "x",
            "log_level": "ERROR",
        }
    )
    guard.recover()
    DBOS.launch()
    if PHASE == "first" and MOMENT == "approved":
        with SetWorkflowID("run-1"):
            STORED.write_text(await paying())
    elif PHASE == "first":
        with SetWorkflowID("run-1"):
            await paying()
    elif MOMENT == "approved":
        with SetWorkflowID(PHASE):
            done = await resumed(STORED.read_text())
    else:
        done = await (await DBOS.retrieve_workflow_async("run-1")).get_result()
    if PHASE != "first":
        left = wallet.balance()
        ledger = [str(each) for each in (left.total_spent, left.held_usd, left.in_doubt_usd)]
        sold = BOOKS.read_text().split() if BOOKS.exists() else []
        seen = [json.loads(line) for line in SEEN.read_text().splitlines()]
        print(json.dumps({**json.loads(done), "ledger": ledger, "sold": sold, "seen": seen}))
    DBOS.destroy()
    journal.close()
    trove.close()


asyncio.run(main())
