"""What the fuzz of paid runs does, and what must hold of its books. A life is a process of its own, which is killed at a
point that its seed decides, or from outside.

The vendor's books are a file that each charge is appended to and that is on the disk before the vendor answers. They name
calls by their ids, of which a game uses each once: what a call was charged is held against what became of its payment.
"""

import asyncio
import json
import os
import random
import re
import signal
from collections import Counter
from contextlib import closing
from decimal import Decimal

from player import files, told
from pydantic_ai import (
    Agent,
    DeferredToolRequests,
    DeferredToolResults,
    ModelMessagesTypeAdapter,
    ToolDenied,
    capture_run_messages,
)
from pydantic_ai.exceptions import ApprovalRequired, ModelRetry, ToolFailed
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturn
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.usage import UsageLimits

from pydantic_ai_trove import Priced, TroveWallet, TroveWorkspace
from pydantic_ai_trove.records import standing
from trove_agents import Trove
from trove_agents.guard import AsyncGuard, Guard, Metered, NotCharged, SqliteJournal, ask_above

BUDGET = Decimal("1.5")
COSTS = {"a": "0.02", "b": "0.03", "c": "0.05", "d": "0.07", "e": "0.11"}
MOST = Decimal("0.09")
ASKED = "0.08"
"""What costs more waits for a yes."""
ACTS = 3
PAID = ("buy", "meter", "risky", "careful", "rush")
RAN = "ran"
"""Of a paid call: what tells its own results from those that the wallet keeps, or gives in its place."""


class Broken(Exception):
    """The tool's own failure, which ends the run."""


def cost_of(arguments):
    return Decimal(COSTS[arguments["item"]])


PRICES = {
    "buy": Priced(cost_of, vendor="shop"),
    "meter": Priced(Metered(MOST, lambda told: Decimal(told["cost"])), vendor="shop"),
    "risky": Priced(cost_of, vendor="shop", retry_charges=True),
    "careful": Priced(cost_of, vendor="shop"),
    "rush": Priced(cost_of, vendor="shop"),
}


class Misfortune:
    """The end of the process, after so many points that it passes; 0: not by this."""

    def __init__(self, left):
        self.left = left

    def point(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Deadly:
    """A transport on which misfortune strikes, before a call or after it."""

    retries = False

    def __init__(self, below, misfortune):
        self.below, self.misfortune = below, misfortune

    def send(self, request):
        self.misfortune.point()
        reply = self.below.send(request)
        self.misfortune.point()
        return reply

    def close(self):
        self.below.close()


class AsyncDeadly(Deadly):
    async def send(self, request):
        self.misfortune.point()
        reply = await self.below.send(request)
        self.misfortune.point()
        return reply

    async def aclose(self):
        await self.below.aclose()


class Sources:
    """Clients on which misfortune strikes."""

    def __init__(self, trove, misfortune):
        self.trove, self.misfortune = trove, misfortune

    def async_client(self, namespace, *, timeout=60.0):
        client = self.trove.async_client(namespace, timeout=timeout)
        client._transport = AsyncDeadly(client._transport, self.misfortune)
        return client


class Books:
    """What the vendor took: calls and USD."""

    def __init__(self, folder):
        self.path = folder / "books.jsonl"

    def charge(self, call, usd):
        opened = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(opened, json.dumps([call, str(usd)]).encode() + b"\n")
            os.fsync(opened)
        finally:
            os.close(opened)

    def rows(self):
        text = self.path.read_text() if self.path.exists() else ""
        return [(call, Decimal(usd)) for call, usd in map(json.loads, text.splitlines())]


class Stored:
    """What a program has stored of its conversations: every state of each, oldest first."""

    def __init__(self, folder, misfortune=None):
        self.folder = folder / "stored"
        self.folder.mkdir(exist_ok=True)
        self.misfortune = misfortune or Misfortune(0)

    def branches(self):
        """Conversations, and the files with their states."""
        found = {}
        for path in sorted(self.folder.glob("*.json")):
            found.setdefault(json.loads(path.read_bytes())["conversation"], []).append(path)
        return found

    def load(self, path):
        found = json.loads(path.read_bytes())
        return ModelMessagesTypeAdapter.validate_python(found["messages"]), found["approvals"]

    def save(self, conversation, messages, approvals=None):
        self.misfortune.point()
        plain = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")
        name = f"{len(list(self.folder.glob('*.json'))):05}"
        new = self.folder / f"{name}.new"
        new.write_text(json.dumps({"conversation": conversation, "messages": plain, "approvals": approvals}))
        new.replace(self.folder / f"{name}.json")
        self.misfortune.point()


def waits(history, approvals):
    """Whether calls are still to be made, or to be answered, so that no prompt can be given."""
    return (
        bool(approvals or (isinstance(history[-1], ModelResponse) and history[-1].tool_calls))
        if history
        else False
    )


def expected(messages):
    """Which calls wrote to which files, of those that were made and that the model was told the results of. Their order
    cannot be told: one that waited for a yes was made after the others of its response.
    """
    found = {}
    for call, part in told(messages):
        path = call.args_as_dict().get("path")
        if path is not None and ran(call, part):
            found.setdefault(path, []).append(call.tool_call_id)
    return {path: sorted(calls) for path, calls in found.items()}


def ran(call, part):
    """Whether the files of a call are there: of a paid one that was made before they are brought back, or it is said."""
    if call.tool_name not in PAID:
        return part.outcome != "interrupted"
    if part.outcome == "success":
        return "missing_files" not in (part.metadata or {})
    return str(part.content).startswith(RAN)


class Life:
    """One process: a few runs, as its seed decides."""

    def __init__(self, folder, seed, life):
        self.dice = random.Random(f"{seed} {life}")
        self.misfortune = Misfortune(
            self.dice.choice([0, self.dice.randint(1, 200), self.dice.randint(1, 600)])
        )
        self.folder, self.life = folder, life
        self.books, self.stored = Books(folder), Stored(folder, self.misfortune)
        self.decided = self.begun = 0

    async def play(self):
        with Trove.local(self.folder / "state", sandbox="none") as self.trove:
            self.workspace = TroveWorkspace(Sources(self.trove, self.misfortune), tools=["write"])
            with closing(SqliteJournal(self.folder / "payments.db")) as journal:
                options = {"journal": journal, "policy": ask_above(ASKED)}
                if self.dice.random() < 0.5:
                    wallets = self.trove.wallets()
                    wallets._transport = Deadly(wallets._transport, self.misfortune)
                    self.guard = Guard(wallets.wallet("agent", budget_usd=BUDGET), **options)
                    if self.dice.random() < 0.7:
                        await asyncio.to_thread(self.guard.recover)
                    await self.acts()
                else:
                    wallets = self.trove.async_wallets()
                    wallets._transport = AsyncDeadly(wallets._transport, self.misfortune)
                    self.guard = AsyncGuard(await wallets.wallet("agent", budget_usd=BUDGET), **options)
                    if self.dice.random() < 0.7:
                        await self.guard.recover()
                    await self.acts()

    async def acts(self):
        for _ in range(ACTS):
            await self.act()

    async def act(self):
        """Goes on with what was stored: the last of it, or something earlier; maybe twice, or from a step, or in a fork."""
        dice = self.dice
        found = list(self.stored.branches().items())
        conversation, paths = dice.choice(found) if found else ("", [])
        history, approvals = [], None
        if paths:
            history, approvals = self.stored.load(self.one_of(paths))
        if (
            standing(history, conversation) is None
        ):  # it says nothing of files, and would take any as they are
            self.begun += 1
            conversation, history, approvals = f"paid-{self.life}-{self.begun}", [], None
        steps = TroveWorkspace.steps(history)
        how = dice.choice(["go on", "go on", "twice", "rewind", "fork"])
        if how in ("rewind", "fork") and steps:
            step = dice.choice(steps)
            if how == "rewind" and step.namespace == steps[-1].namespace:
                history = (await self.workspace.rewind(history, step)).messages
            else:
                fork = await self.workspace.fork(history, step)
                conversation, history = fork.conversation_id, fork.messages
            approvals = None
            self.check(conversation, history)
            self.stored.save(conversation, history)
        for _ in range(2 if how == "twice" and history else 1):
            await self.run(conversation, history, approvals)

    def one_of(self, paths):
        """Mostly the last one; else another, such as one whose calls were made since and are to be made again."""
        if self.dice.random() < 0.5:
            return paths[-1]
        waiting = [path for path in paths if waits(*self.stored.load(path))]
        return self.dice.choice(waiting or paths)

    async def run(self, conversation, history, approvals):
        results = None if approvals is None else self.answers(approvals)
        silent = waits(history, approvals) or (history and self.dice.random() < 0.5)
        prompt = None if silent else "go on"
        self.conversation = conversation
        with capture_run_messages() as captured:
            try:
                async with self.agent().iter(
                    prompt,
                    message_history=history,
                    deferred_tool_results=results,
                    conversation_id=conversation,
                    usage_limits=UsageLimits(request_limit=None),
                ) as run:
                    async for _ in run:
                        if run.result is None:
                            self.stored.save(conversation, run.all_messages())
            except (Broken, NotCharged):
                if self.dice.random() < 0.5:
                    self.stored.save(conversation, captured)
                return
        messages, output = run.result.all_messages(), run.result.output
        self.check(conversation, messages)
        asked = output.approvals if isinstance(output, DeferredToolRequests) else []
        self.stored.save(conversation, messages, [each.tool_call_id for each in asked] or None)

    def answers(self, approvals):
        yes = {each: True if self.dice.random() < 0.75 else ToolDenied("no") for each in approvals}
        return DeferredToolResults(approvals=yes)

    def check(self, conversation, messages):
        """The files are what the messages say, now and at each step."""
        client = self.trove.client(conversation)
        agrees(client, messages)
        for step in TroveWorkspace.steps(messages):
            agrees(self.trove.client(step.namespace), messages[: step.messages], step.reference_id)

    async def answer(self, messages, info):
        agrees(self.trove.client(self.conversation), messages)
        if self.dice.random() < 0.15:
            return ModelResponse([TextPart("said")])
        return ModelResponse([self.call() for _ in range(self.dice.randint(1, 3))])

    def call(self):
        self.decided += 1
        name = f"{self.life}.{self.decided}"
        path = self.dice.choice(["own/a", "own/b"])
        kind = self.dice.choice([*PAID, "buy", "write", "add"])
        arguments = {
            "write": {"path": f"own/{name}", "content": name},
            "add": {"path": path},
            "rush": {"item": self.dice.choice("abcde")},
        }.get(kind, {"path": path, "item": self.dice.choice("abcde")})
        return ToolCallPart(kind, arguments, name)

    def agent(self):
        capabilities = [self.workspace, TroveWallet(self.guard, PRICES)]
        self.dice.shuffle(capabilities)
        agent = Agent(
            FunctionModel(self.answer),
            output_type=[str, DeferredToolRequests],
            capabilities=capabilities,
            retries=10**6,
        )

        @agent.tool(sequential=True)
        async def add(ctx, path: str) -> str:
            await add_to(ctx, path)
            return "done"

        for name in PAID:
            agent.tool(self.selling(name), name=name, sequential=name != "rush")
        return agent

    def selling(self, name):
        """A paid tool. What it says when it has run tells so, whatever came of it."""

        async def sell(ctx, item: str, path: str | None = None) -> ToolReturn:
            if name == "careful" and not ctx.tool_call_approved:
                raise ApprovalRequired
            way = self.dice.choice(
                ["sells"] * 8 + ["refuses", "refuses", "fails", "fails", "fails", "breaks", "breaks before"]
            )
            if way == "breaks before":
                raise Broken
            if way == "refuses":
                raise self.dice.choice([NotCharged("closed"), ModelRetry("which one?")])
            cost = MOST / self.dice.choice([1, 2, 3]) if name == "meter" else cost_of({"item": item})
            self.misfortune.point()
            self.books.charge(ctx.tool_call_id, cost)
            self.misfortune.point()
            if way == "breaks":
                raise Broken
            if path is not None:
                await add_to(ctx, path)
            if way == "fails":
                raise ModelRetry(f"{RAN}: again") if name == "risky" else ToolFailed(f"{RAN}: no")
            return ToolReturn({"cost": str(cost)}, metadata={RAN: True})

        return sell


async def add_to(ctx, path):
    found = await ctx.workspace.read_text(path) if await ctx.workspace.exists(path) else ""
    await ctx.workspace.write_text(path, f"{found}{ctx.tool_call_id} ")


def agrees(client, messages, at=None):
    """The files are those of the calls that were made, of which the model was told."""
    found = {path: sorted(text.split()) for path, text in files(client, at).items()}
    assert found == expected(messages), (
        f"{client.namespace} at {at or 'its head'}: {found}, not {expected(messages)}"
    )


def live(folder, seed, life):
    """Plays to its end, unless it is killed."""
    asyncio.run(Life(folder, seed, life).play())


# What must hold of the money


class Audit:
    """The books of the vendor, the journal and the wallet side by side, while nothing runs."""

    def __init__(self, folder, trove):
        self.books = Books(folder)
        self.wallet = trove.wallet("agent", budget_usd=BUDGET)
        self.journal = SqliteJournal(folder / "payments.db")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.journal.close()

    def guard(self):
        return Guard(self.wallet, journal=self.journal)

    def entries(self):
        states = ("intended", "running", "waiting", "settling", "captured", "voided", "in_doubt", "denied")
        return self.journal.those(self.wallet.id, states)

    def of_the_moment(self):
        """Whatever was going on: nothing was charged twice, and nothing that was charged is spent again."""
        charged = Counter(call for call, _ in self.books.rows())
        assert not [call for call, times in charged.items() if times > 1], "charged twice"
        may_be = Counter()
        for entry in self.entries():
            if entry.state in ("running", "waiting", "settling", "captured", "in_doubt"):
                may_be[call_of(entry)] += entry.micros if entry.settle_micros is None else entry.settle_micros
        for call, usd in self.books.rows():
            assert micros(usd) <= may_be[call], f"{call} is not covered"
        self.adds_up()

    def when_recovered(self):
        """What is settled is what the vendor took; what is not is held."""
        took = {call: micros(usd) for call, usd in self.books.rows()}
        entries = self.entries()
        for entry in entries:
            charged = took.get(call_of(entry), 0)
            match entry.state:
                case "captured":
                    assert entry.settle_micros == charged, entry
                case "in_doubt":
                    assert charged <= entry.micros, entry
                case "waiting" | "voided" | "denied":
                    assert charged == 0, entry
                case other:
                    raise AssertionError(f"left {other}: {entry}")
        open_ones = [entry.micros for entry in entries if entry.state in ("in_doubt", "waiting")]
        balance = self.adds_up()
        assert micros(balance.total_spent) == sum(e.settle_micros for e in entries if e.state == "captured")
        assert micros(balance.held_usd) + micros(balance.in_doubt_usd) == sum(open_ones)

    def when_resolved(self):
        """The wallet has spent what the vendor took, to the cent, and holds nothing."""
        self.when_recovered()
        balance = self.wallet.balance()
        assert (balance.held_usd, balance.in_doubt_usd) == (0, 0)
        assert balance.total_spent == sum(usd for _, usd in self.books.rows())

    def adds_up(self):
        balance = self.wallet.balance()
        bound = balance.total_spent + balance.held_usd + balance.in_doubt_usd
        assert balance.remaining_budget == BUDGET - bound >= 0
        assert sum(usd for _, usd in self.books.rows()) <= bound
        booked = [each.amount_usd for each in self.wallet.transactions()]
        assert sum(booked, Decimal(0)) == balance.total_spent
        return balance

    def resolve(self):
        """A person reads the vendor's books, and says of each payment that is open what became of it."""
        took = dict(self.books.rows())
        guard = self.guard()
        guard.recover()
        calls = {entry.key: call_of(entry) for entry in self.entries()}
        for receipt in guard.doubts():
            usd = took.get(calls[receipt.key])
            if usd is None:
                guard.resolve(receipt.key, "not-charged")
            else:
                guard.resolve(receipt.key, "charged", charged_usd=usd)


def call_of(entry):
    return re.search(r'call="([^"]*)"', entry.step)[1]


def micros(usd):
    return int(usd * 1_000_000)
