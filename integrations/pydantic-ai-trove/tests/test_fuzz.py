"""Runs that die anywhere, and go on from whatever was stored of their messages: at each request the files are what the
model has been told that it did. What some of their calls cost is in the vendor's books once, and in the wallet.

``TROVE_FUZZ=200`` (or ``TROVE_SOAK``) plays 5,000 games, and kills the processes of 200 more and of 200 that pay, other ones
each time. The seed of what fails is in its name: ``TROVE_FUZZ_SEED`` plays that one again.
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic_ai import Agent, ModelMessagesTypeAdapter, capture_run_messages
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

from pydantic_ai_trove import ForeignChanges, TroveWorkspace
from pydantic_ai_trove.records import standing
from trove_agents import Trove

sys.path.insert(0, str(Path(__file__).parent))
import payer
import player
import stem as stem_program

ROUNDS = int(os.environ.get("TROVE_FUZZ") or os.environ.get("TROVE_SOAK") or 0)
SEED = int(os.environ.get("TROVE_FUZZ_SEED", 0))
LONG = bool(ROUNDS or SEED)
FIRST = SEED or (random.SystemRandom().randrange(10**9) if ROUNDS else 0)
GAMES, KILLS, PAID = (1, 1, 1) if SEED else (25 * ROUNDS, ROUNDS, ROUNDS) if ROUNDS else (24, 2, 2)
LIVES = 6 if LONG else 3


class Died(Exception):
    """The process is gone."""


class Failing:
    """A transport that dies at its call of a number, before the call or after it."""

    retries = False

    def __init__(self, below, fate):
        self.below, self.fate = below, fate

    async def send(self, request):
        self.fate.calls -= 1
        if self.fate.calls == 0 and not self.fate.after:
            raise Died
        reply = await self.below.send(request)
        if self.fate.calls == 0:
            raise Died
        return reply

    async def aclose(self):
        await self.below.aclose()


@dataclass
class Fate:
    """When a run dies."""

    calls: int = 0
    after: bool = False


@dataclass
class Mortal:
    """Makes clients that die as fate has it."""

    trove: Trove
    fate: Fate

    def async_client(self, namespace, *, timeout=60.0):
        client = self.trove.async_client(namespace, timeout=timeout)
        client._transport = Failing(client._transport, self.fate)
        return client


@dataclass
class Saver(AbstractCapability):
    """What a program stores while a run goes on."""

    stored: list = field(default_factory=list)

    async def after_node_run(self, ctx, *, node, result):
        self.stored.append(dump(ctx.messages))
        return result


def dump(messages):
    return ModelMessagesTypeAdapter.dump_json(list(messages))


def load(stored):
    return ModelMessagesTypeAdapter.validate_json(stored)


def waits(history):
    """Whether calls are still to be made, so that no prompt can be given."""
    return bool(history) and isinstance(history[-1], ModelResponse) and bool(history[-1].tool_calls)


class Game:
    """One conversation, its forks, and what happens to them."""

    def __init__(self, seed, trove):
        self.dice = random.Random(seed)
        self.trove = trove
        self.fate = Fate()
        self.saver = Saver()
        self.source = Mortal(trove, self.fate)
        self.seed = seed
        self.branches = [("", dump([]))]
        self.runs = self.deaths = self.foreign = self.begun = 0
        self.theirs = []

    def agent(self, policy):
        workspace = TroveWorkspace(self.source, tools=["write"], on_foreign_change=policy)
        capabilities = [workspace, self.saver]
        self.dice.shuffle(capabilities)
        model = FunctionModel(self.answer, stream_function=self.stream)
        agent = Agent(model, capabilities=capabilities, retries=9)
        player.tools(agent, lambda: self.dice.random() < 0.15, Died)
        return agent, workspace

    async def answer(self, messages, info):
        player.check(self.trove.client(self.conversation), messages)
        if self.dice.random() < 0.2:
            return ModelResponse([TextPart("said")])
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        calls = [player.call(self.dice, f"{self.runs}-{turn}-{n}") for n in range(self.dice.randint(1, 3))]
        words = [TextPart("said beside")] if self.dice.random() < 0.2 else []
        return ModelResponse([*words, *calls])

    async def stream(self, messages, info):
        for n, part in enumerate((await self.answer(messages, info)).parts):
            if isinstance(part, TextPart):
                yield part.content
            else:
                yield {
                    n: DeltaToolCall(part.tool_name, part.args_as_json_str(), tool_call_id=part.tool_call_id)
                }

    async def driven(self, agent, *arguments, **options):
        """The messages of a run, driven in one of the ways there are."""
        way = self.dice.choice(["run", "iter", "stream"])
        if way == "run":
            return (await agent.run(*arguments, **options)).all_messages()
        if way == "iter":
            async with agent.iter(*arguments, **options) as run:
                async for _ in run:
                    pass
            return run.result.all_messages()
        async with agent.run_stream(*arguments, **options) as streamed:
            await streamed.get_output()
        return streamed.all_messages()

    async def play(self, rounds):
        for _ in range(rounds):
            await self.round()
        self.nothing_is_lost()

    async def round(self):
        dice = self.dice
        at = dice.randrange(len(self.branches))
        conversation, stored = self.branches[at]
        history = load(stored)
        if (
            standing(history, conversation) is None
        ):  # it says nothing of files, and would take any as they are
            self.begun += 1
            conversation, history = f"game-{FIRST}-{self.seed}-{self.begun}", []
        policy = dice.choice(["keep", "keep", "restore", "refuse"])
        agent, workspace = self.agent(policy)
        self.fate.calls = 0
        if dice.random() < 0.25 and (steps := TroveWorkspace.steps(history)):
            step = dice.choice(steps)
            if dice.random() < 0.5 and step.namespace == conversation:
                history = (await workspace.rewind(history, step)).messages
            else:
                fork = await workspace.fork(history, step)
                self.branches.append((fork.conversation_id, dump(fork.messages)))
                at, conversation, history = len(self.branches) - 1, fork.conversation_id, fork.messages
        if dice.random() < 0.5:
            self.foreign += 1
            change = (conversation, f"theirs/{self.foreign}", str(self.foreign))
            self.trove.client(conversation).write(*change[1:])
            self.theirs.append(change)
        self.branches[at] = (conversation, await self.run(agent, conversation, history, policy))

    async def run(self, agent, conversation, history, policy):
        """A run, to its end or its death; what is stored of its messages."""
        self.runs += 1
        self.conversation = conversation
        self.fate.calls = self.dice.choice([0, *[self.dice.randint(1, 40)] * 3])
        self.fate.after = self.dice.random() < 0.5
        self.saver.stored = [dump(history)]
        prompt = None if waits(history) or (history and self.dice.random() < 0.5) else "go on"
        with capture_run_messages() as messages:
            try:
                result = await self.driven(
                    agent, prompt, message_history=load(dump(history)), conversation_id=conversation
                )
            except Died:
                self.deaths += 1
                first, last = self.saver.stored[0], self.saver.stored[-1]
                return self.dice.choice([dump(messages), first, self.dice.choice(self.saver.stored), last])
            except ForeignChanges:
                assert policy == "refuse"
                return dump(history)
        player.check(self.trove.client(conversation), result)
        return self.dice.choice([*[dump(result)] * 3, self.dice.choice(self.saver.stored)])

    def nothing_is_lost(self):
        """What others wrote is there, or in a reference that was taken before it was put back."""
        for conversation, path, content in self.theirs:
            client = self.trove.client(conversation)
            states = [
                None,
                *(each for each in client.references() if (each.step or "").startswith("before ")),
            ]
            assert any(player.files(client, at).get(path) == content for at in states), (conversation, path)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    with Trove.local(tmp_path_factory.mktemp("fuzz"), sandbox="none") as trove:
        yield trove


@pytest.mark.parametrize("seed", range(FIRST, FIRST + GAMES))
async def test_runs_that_die_and_go_on(board, seed):
    game = Game(seed, board)
    await game.play(rounds=6)


class Stem:
    """Starts processes that have everything imported, one after another."""

    def __init__(self, process):
        self.process = process

    def start(self, *arguments):
        """Its number."""
        self.process.stdin.write(" ".join(map(str, arguments)) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self):
        """How the last one ended, once it has."""
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def stem():
    command = [sys.executable, stem_program.__file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Stem(process)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + KILLS))
async def test_processes_that_are_killed(stem, tmp_path, seed):
    dice = random.Random(seed)
    stored = tmp_path / "messages.json"
    for life in range(2):
        wanted = dice.randrange(12_000) + (stored.stat().st_size if stored.exists() else 0)
        process = stem.start("plays", tmp_path, seed, life)
        try:
            deadline = time.monotonic() + 60
            while not stored.exists() or stored.stat().st_size < wanted:
                assert time.monotonic() < deadline, "it stores nothing"
                time.sleep(0.001)
            time.sleep(dice.random() * 0.02)
        finally:
            os.kill(process, signal.SIGKILL)
        assert stem.end() == -signal.SIGKILL
        with Trove.local(tmp_path / "state", sandbox="none") as trove:
            seen = []

            def answer(messages, info):
                player.check(trove.client("killed"), messages)
                seen.append(messages)
                return ModelResponse([TextPart("said")])

            agent = Agent(FunctionModel(answer), capabilities=[TroveWorkspace(trove, tools=["write"])])
            player.tools(agent, lambda: False, Died)
            history = load(stored.read_bytes())
            result = await agent.run(None if waits(history) else "go on", message_history=history)
            assert len(seen) == 1
            player.check(trove.client("killed"), result.all_messages())
            stored.write_bytes(dump(result.all_messages()))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + PAID))
def test_processes_that_are_killed_while_they_pay(stem, tmp_path, seed):
    """Killed at a point of their own, or from outside; whatever the next one goes on from, the books match."""
    dice = random.Random(seed)
    for life in range(LIVES):
        process = stem.start("pays", tmp_path, seed, life)
        if dice.random() < 0.3:
            time.sleep(dice.random() * 0.5)
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        assert stem.end() in (0, -signal.SIGKILL)
        with Trove.local(tmp_path / "state", sandbox="none") as trove, payer.Audit(tmp_path, trove) as audit:
            audit.of_the_moment()
            if dice.random() < 0.5 or life == LIVES - 1:
                audit.guard().recover()
                audit.when_recovered()
            if dice.random() < 0.3 or life == LIVES - 1:
                audit.resolve()
                audit.when_resolved()
