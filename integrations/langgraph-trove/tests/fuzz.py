"""Random graphs under random misfortune, held against two rules: a checkpoint's files are what its log says, and the
vendor's books are the ledger.

Every step writes an event of its own to the state's log, to a log file, and turns a file of its own on or off. Whatever
happens to a run (failures, interrupts, kills, time travel, forks, changes of others, new input), each checkpoint must say
of the files what it says of the log, and after a run that ended well the workspace must be what its last checkpoint says.

In half of the graphs some steps buy something, some of them instead of working on files and some besides. Each purchase
is charged once at most, every charge is captured or has its money held, and nothing else is; see ``purse.py``. Whatever
was charged was decided in a state that is stored.
"""

import asyncio
import os
import random
import signal
import warnings
from collections import Counter
from contextlib import suppress
from typing import Annotated

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import get_runtime
from langgraph.types import Command, RetryPolicy, interrupt

from langgraph_trove import (
    ForeignChangeWarning,
    NotDurable,
    PaidNode,
    WorkspaceState,
    bind,
    workspace_node,
)
from trove_agents import TroveNotFoundError, WorkspaceLeased
from trove_agents.guard import AlreadyPaid, NotCharged, PaymentDenied, PaymentInDoubt

LOG = "log.txt"
RETRY = RetryPolicy(
    initial_interval=0.001,
    backoff_factor=1,
    jitter=False,
    max_attempts=3,
    retry_on=(ConnectionError, NotCharged),
)
REFUSED = (AlreadyPaid, PaymentDenied, PaymentInDoubt)
"""What a paid step says that was not made; the person who runs the graph looks into it."""


class Crash(Exception):
    pass


def union(old, new):
    """A graph inside another is given the log and gives it back."""
    return [*old, *(event for event in new if event not in old)]


class State(WorkspaceState, total=False):
    log: Annotated[list[str], union]
    bought: Annotated[list[str], union]
    turn: str


class Misfortune:
    """What befalls a run: after so many points that it passes, a failure or the end of the process."""

    def __init__(self):
        self.left, self.deadly = 0, False

    def strike(self, points, *, deadly=False):
        self.left, self.deadly = points, deadly

    def point(self):
        self.left -= 1
        if self.left == 0:
            if self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Crash


class Graph:
    """A random graph. The same seed makes the same."""

    def __init__(self, seed, misfortune, purse, *, asynchronous):
        self.random = random.Random(seed)
        self.misfortune = misfortune
        self.purse = purse
        self.asynchronous = asynchronous
        self.pays = self.random.random() < 0.5
        self.buyers = []
        self.labels = []
        self.share = 0.8  # of what is made for asyncio, where the graph is
        builder = StateGraph(State)
        ends = [START]
        for _ in range(self.random.randint(2, 4)):
            ends = self.block(
                builder, ends, self.random.choice(["one", "one", "wide", "sub", "called", "held"])
            )
        self.join(builder, ends, END)
        self.builder = builder

    def join(self, builder, before, after):
        builder.add_edge(before[0] if len(before) == 1 else before, after)

    def block(self, builder, before, kind):
        width = self.random.randint(2, 3) if kind == "wide" else 1
        made = []
        for _ in range(width):
            name = f"n{len(self.labels)}"
            if kind in ("sub", "called", "held"):
                self.labels.append(name)
                inner, ends = StateGraph(State), [START]
                self.share = 1 if kind == "held" else 0.8  # under a lease there is one client
                for _ in range(self.random.randint(1, 3)):
                    ends = self.block(inner, ends, "one")
                self.share = 0.8
                self.join(inner, ends, END)
                graph = inner.compile()
                builder.add_node(name, graph if kind == "sub" else self.calling(graph, held=kind == "held"))
            else:
                flaky = self.random.random() < 0.15
                made_as = self.paid if self.pays and self.random.random() < 0.4 else self.node
                builder.add_node(name, made_as(name, flaky), retry_policy=RETRY if flaky else None)
            self.join(builder, before, name)
            made.append(name)
        return made

    def calling(self, graph, *, held):
        if self.asynchronous:

            async def call(state: State):
                return {
                    key: each for key, each in (await graph.ainvoke(state)).items() if key != "__interrupt__"
                }
        else:

            def call(state: State):
                return {key: each for key, each in graph.invoke(state).items() if key != "__interrupt__"}

        return workspace_node(self.with_workspace(call)) if held else call

    def with_workspace(self, call):
        """The call of a graph as a step of its own."""
        if self.asynchronous:

            async def step(state: State, workspace):
                return await call(state)
        else:

            def step(state: State, workspace):
                return call(state)

        return step

    def node(self, name, flaky):
        self.labels.append(name)
        asks, tries, misfortune = self.random.random() < 0.15, [0], self.misfortune

        def then(event):
            misfortune.point()
            tries[0] += 1
            if flaky and tries[0] % 2:
                raise ConnectionError
            if asks:
                interrupt(name)
            misfortune.point()
            return {"log": [event]}

        def work(state: State, workspace):
            misfortune.point()
            event = f"{name}.{os.urandom(4).hex()}"
            workspace.write(LOG, f"{_read(workspace, LOG)}{event}\n")
            misfortune.point()
            self.turn(workspace, name)
            return then(event)

        async def awork(state: State, workspace):
            misfortune.point()
            event = f"{name}.{os.urandom(4).hex()}"
            await workspace.write(LOG, f"{await _aread(workspace, LOG)}{event}\n")
            misfortune.point()
            await self.aturn(workspace, name)
            return then(event)

        return workspace_node(awork if self.asynchronous and self.random.random() < self.share else work)

    def paid(self, name, flaky):
        """A step that buys something, and maybe works on files too."""
        works = self.random.random() < 0.4
        asks, tries, misfortune, purse = self.random.random() < 0.1, [0], self.misfortune, self.purse
        anew = self.random.random() < 0.2
        refused = (lambda error: {"bought": []}) if self.random.random() < 0.5 else None
        self.labels.append(name)
        self.buyers.append(name)

        def before(state):
            assert anew or not purse.in_doubt(purse.purchase(name, state)), "run again while it is in doubt"
            misfortune.point()
            tries[0] += 1
            if flaky and tries[0] % 2:
                raise NotCharged
            if asks:
                interrupt(name)

        def buy(state):
            checkpoint = get_runtime().execution_info.checkpoint_id if anew else None
            receipt = purse.charge(purse.purchase(name, state), checkpoint)
            misfortune.point()
            return {"bought": [receipt]}

        def pay(state: State):
            before(state)
            return buy(state)

        async def apay(state: State):
            await asyncio.to_thread(before, state)
            return buy(state)

        def work(state: State, workspace):
            before(state)
            event = f"{name}.{os.urandom(4).hex()}"
            workspace.write(LOG, f"{_read(workspace, LOG)}{event}\n")
            update = buy(state)
            self.turn(workspace, name)
            return {**update, "log": [event]}

        async def awork(state: State, workspace):
            await asyncio.to_thread(before, state)
            event = f"{name}.{os.urandom(4).hex()}"
            await workspace.write(LOG, f"{await _aread(workspace, LOG)}{event}\n")
            update = buy(state)
            await self.aturn(workspace, name)
            return {**update, "log": [event]}

        is_async = self.asynchronous and self.random.random() < self.share
        function = workspace_node(awork if is_async else work) if works else apay if is_async else pay
        guards = {"guard": purse.guard}
        if is_async and self.random.random() < 0.5:
            guards = {"async_guard": purse.async_guard}
        return PaidNode(
            function,
            purse.price,
            **guards,
            arguments=lambda state: purse.purchase(name, state),
            tool=name,
            vendor="acme",
            refused=refused,
            on_replay="charge_again" if anew else "reuse_receipt",
        )

    def turn(self, workspace, name):
        if _read(workspace, name):
            workspace.delete(name)
        else:
            workspace.write(name, "on")

    async def aturn(self, workspace, name):
        if await _aread(workspace, name):
            await workspace.delete(name)
        else:
            await workspace.write(name, "on")


class Case:
    """A graph and what happens to it, decided by a seed."""

    def __init__(
        self, seed, saver, client, purse, async_client=None, *, durability, misfortune=None, graph=None
    ):
        self.random = random.Random(f"case {seed}")
        self.misfortune = misfortune or Misfortune()
        purse.journal.misfortune = self.misfortune
        self.client = client
        self.purse = purse
        self.durability = durability
        self.asynchronous = async_client is not None
        graph = Graph(
            seed if graph is None else graph, self.misfortune, purse, asynchronous=self.asynchronous
        )
        self.app = bind(
            graph.builder.compile(checkpointer=saver), client, async_client=async_client, lease_ttl=20
        )
        self.saver = saver
        self.labels, self.buyers = graph.labels, graph.buyers
        self.config = {"configurable": {"thread_id": "t"}}
        self.checked = set()
        self.uploads = 0
        self.refused = self.forgetful = False
        self.acts = []

    def run(self, acts):
        for _ in range(acts):
            self.act(deadly=False)
        self.settle()
        self.purse.close()

    def act(self, *, deadly):
        """Something happens."""
        if self.random.random() < 0.2:
            self.uploads += 1
            with suppress(WorkspaceLeased):  # by a process that was killed
                self.client_now().write(f"upload-{self.uploads}", "x")
                self.acts.append("upload")
        if self.buyers and self.random.random() < 0.3:
            self.purse.resolve()
            self.acts.append("resolve")
        states = list(self.app.get_state_history(self.config))
        given, config, options = self.choose(states)
        if self.random.random() < 0.5:
            self.misfortune.strike(self.random.randint(1, 14), deadly=deadly)
        self.acts.append((given if given is None or isinstance(given, Command) else "input", config, options))
        self.invoke(given, config, **options)
        self.check()

    def choose(self, states):
        """Goes on, begins a turn, or goes back: maybe in a fork."""
        roll = self.random.random()
        if not states or roll < 0.3:
            return self.input(), self.config, {}
        places = [state for state in states if state.next]
        if roll < 0.7 or not places:
            return self.going_on(states[0], self.random.random() < 0.9), self.config, {}
        place = self.random.choice(places)
        return None, place.config, {"keep_both": True} if self.random.random() < 0.3 else {}

    def input(self):
        """That of another turn."""
        return {"log": [], "bought": [], "turn": os.urandom(4).hex()}

    def going_on(self, state, answer=True):
        live = self.app.get_state(self.config)
        asked = [each.id for each in live.interrupts]
        if asked:
            return Command(resume=dict.fromkeys(asked, answer))
        return None if state.next else self.input()

    def invoke(self, given, config, **options):
        """Whether the run ended well."""
        # A run that goes back and stores nothing until its end leaves no trace of that, and later ones would pay again
        back = self.buyers and "checkpoint_id" in config["configurable"]
        durability = "sync" if self.forgetful or back else self.durability
        self.refused = self.forgetful = False
        books = self.purse.vendor.charges()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ForeignChangeWarning)
            try:
                if self.asynchronous:
                    asyncio.run(self.app.ainvoke(given, config, durability=durability, **options))
                else:
                    self.app.invoke(given, config, durability=durability, **options)
            except Crash:
                return False
            except REFUSED:
                self.refused = True
                return False
            except NotDurable:
                self.forgetful = True
                assert durability == "exit"
                return False
            finally:
                self.misfortune.left = 0
                assert durability != "exit" or self.purse.vendor.charges() == books
        self.check_now()
        return True

    def settle(self):
        """Goes on until the graph has come to its end."""
        for _ in range(40):
            if self.buyers:
                self.purse.guard.recover()
                self.purse.resolve()
            states = list(self.app.get_state_history(self.config))
            if states and not states[0].next:
                break
            gives_up = self.refused or not states
            self.invoke(self.input() if gives_up else self.going_on(states[0]), self.config)
        else:
            raise AssertionError("the graph does not come to its end")
        self.check()

    def client_now(self):
        ref = self.app.get_state(self.config).values.get("workspace")
        return self.client if ref is None else self.client.for_namespace(ref["namespace"])

    def check(self):
        if self.buyers:
            self.purse.check()
            states = [each.checkpoint["channel_values"] for each in self.saver.list(self.config)]
            decided = {
                self.purse.receipt(self.purse.purchase(name, state))
                for name in self.buyers
                for state in states
            }
            assert self.purse.receipts() <= decided, "what was bought is in no state"
        for state in self.app.get_state_history(self.config):
            identity = state.config["configurable"]["checkpoint_id"]
            if identity not in self.checked:
                ref = state.values["workspace"]
                self.agrees(
                    self.client.for_namespace(ref["namespace"]), ref["reference"], state.values.get("log", [])
                )
                assert {*state.values.get("bought", [])} <= self.purse.receipts()
                self.checked.add(identity)

    def check_now(self):
        state = self.app.get_state(self.config)
        if state.next:  # interrupted: finished steps beside it, and graphs inside, may have gone further
            return
        ref, client = state.values["workspace"], self.client_now()
        assert client.diff(ref["reference"]) == [], self.acts
        self.agrees(client, None, state.values["log"])

    def agrees(self, client, at, log):
        found = _read(client, LOG, at).split()
        assert sorted(found) == sorted(log), (
            f"the log {sorted(log)}, the files {sorted(found)}, after {self.acts}"
        )
        times = Counter(event.split(".")[0] for event in log)
        listed = {each.path.removeprefix("workspace/") for each in client.list_dir(at=at)}
        on = {label for label, count in times.items() if count % 2}
        assert {each for each in listed if each in self.labels} == on, self.acts


def _read(client, path, at=None):
    try:
        return client.read_text(path, at=at)
    except TroveNotFoundError:
        return ""


async def _aread(client, path):
    try:
        return await client.read_text(path)
    except TroveNotFoundError:
        return ""
