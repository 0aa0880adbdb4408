"""Many payments of one wallet without holds at once, at random: step by step, with lost and late answers and crashes.

The flows of several guards with one journal's file are taken forward one step at a time, so every interleaving of their calls can
happen. What must hold after each step is that the wallet has spent at least what the vendor took, and at the end that all adds up.
``TROVE_SOAK=200`` makes that many rounds, other ones each time.
"""

import os
import random
import time
import warnings
from collections import Counter
from contextlib import closing

import pytest

from trove_agents import TroveConnectionError, TroveError, Wallet, WalletClient
from trove_agents.guard import Guard, NotCharged, SqliteJournal, driving
from trove_agents.guard.driving import Ask
from trove_agents.guard.guard import _Wanted

from .plain import Plain, adds_up, micros

SOAK = int(os.environ.get("TROVE_SOAK", "0"))
ROUNDS = random.sample(range(10**9), SOAK) if SOAK else range(25)
QUIET, KEYS, PROCESSES = 100.0, 12, 3


class World:
    def __init__(self, seed, path, clock):
        self.random, self.path, self.clock = random.Random(seed), path, clock
        self.plain, self.took = Plain(), Counter()
        self.prices = {f"k{n}": self.random.randint(1, 50_000) for n in range(KEYS)}
        self.late = []
        self.processes = [None] * PROCESSES
        self.latest = self.random.choice([0.9, 5.0]) * QUIET
        """Also longer than the guards were told: then something may be bought twice, and is credit."""

    def process(self, n):
        if self.processes[n] is None:
            client = WalletClient("tvpk_1", transport=self.plain, retries=None)
            journal = SqliteJournal(self.path)
            handle = Wallet(client, self.plain.wallet["id"], "bot")
            self.processes[n] = (Guard(handle, journal=journal, quiet_seconds=QUIET), journal, client, [])
        return self.processes[n]

    def paying(self, guard, key):
        price = self.prices[key]
        wanted = _Wanted(key, "tool", None, None, None, approved=True)
        payment = yield from guard._begin(f"{price / 1e6:.6f}", wanted)
        ended, error = self.random.choice(["returns", "costs less", "raises", "not charged"]), None
        yield driving.Pause()
        if ended in ("returns", "costs less", "raises"):
            cost = price if ended != "costs less" else self.random.randint(1, price)
            self.took[key] += cost
            assert self.took[key] <= price, f"{key} was charged twice"
            if ended == "costs less":
                payment.capture(f"{cost / 1e6:.6f}")
        yield driving.Pause()
        if ended in ("raises", "not charged"):
            error = TimeoutError() if ended == "raises" else NotCharged()
        yield from guard._end(payment, error, None)

    def resolving(self, guard):
        """A person who looks at the vendor's books."""
        for receipt in (yield from guard._doubts()):
            if not any(
                name == receipt.key for *_, flows in filter(None, self.processes) for name, _, _ in flows
            ):
                taken = self.took[receipt.key]
                outcome = ("charged", taken) if taken else ("not-charged", None)
                yield from guard._payments.resolve(receipt.key, *outcome)

    def begin(self, n):
        guard, *_, flows = self.process(n)
        key = self.random.choice(list(self.prices))
        what = self.random.random()
        if what < 0.6:
            flows.append([key, self.paying(guard, key), None])
        elif what < 0.8:
            flows.append(["", guard._recover(0.0), None])
        else:
            flows.append(["", self.resolving(guard), None])

    def step(self):
        self.clock.now += self.random.random() / 5
        for due, request in list(self.late):
            if due <= self.clock.now:
                self.late.remove((due, request))
                self.plain.send(request)
        n = self.random.randrange(PROCESSES)
        *_, flows = self.process(n)
        what = self.random.random()
        if what < 0.01:
            self.crash(n)
        elif what < 0.03:  # the machine is off for a while
            self.crash(*range(PROCESSES))
            self.clock.now += 1.2 * QUIET * self.random.random()
        elif len(flows) < 3 and what < 0.3:
            self.begin(n)
        elif flows:
            self.forward(self.process(n), self.random.choice(flows))
        with closing(SqliteJournal(self.path)) as journal:
            pool = journal.pool(self.plain.wallet["id"])
        assert sum(self.took.values()) <= micros(self.plain.spent) - pool.credit
        assert pool.credit >= 0

    def forward(self, process, flow):
        _, _, client, flows = process
        _name, steps, result = flow
        try:
            wanted = steps.throw(result) if isinstance(result, BaseException) else steps.send(result)
        except StopIteration:
            flows.remove(flow)
        except (TroveError, NotCharged, TimeoutError, ValueError):
            flows.remove(flow)
        else:
            flow[2] = self.done(client, wanted)

    def done(self, client, wanted):
        try:
            if isinstance(wanted, Ask) and getattr(wanted.call, "method", "GET") == "POST":
                return self.bought(client, wanted)
            if isinstance(wanted, Ask) and self.random.random() < 0.05:
                raise TroveConnectionError("lost", may_have_committed=True)
            return driving._done(client, wanted)
        except TroveError as error:
            return error

    def bought(self, client, wanted):
        what = self.random.random()
        if what < 0.1:
            raise TroveConnectionError("refused")
        if what < 0.2:
            raise TroveConnectionError("lost", may_have_committed=True)
        if what < 0.4:
            request = wanted.call.outgoing(client._headers, 1.0, wanted.call.body)
            self.late.append((self.clock.now + self.random.random() * self.latest, request))
            raise TroveConnectionError("late", may_have_committed=True)
        answer = driving._done(client, wanted)
        if what < 0.6:
            raise TroveConnectionError("lost", may_have_committed=True)
        return answer

    def crash(self, *numbers):
        for n in numbers:
            if self.processes[n] is not None:
                _, journal, _, flows = self.processes[n]
                for _, steps, _ in flows:
                    steps.close()
                journal.close()
                self.processes[n] = None

    def end(self):
        """All stop; what was on its way arrives; the wallet can be reached, and somebody sorts it out."""
        self.crash(*range(PROCESSES))
        for _, request in self.late:
            self.plain.send(request)
        guard, journal, *_ = self.process(0)
        for _ in range(2):
            self.clock.now += 2 * QUIET
            guard.recover()
        assert guard.recover() == []
        guard._run(self.resolving(guard))
        adds_up(journal, self.plain)
        number = self.plain.wallet["id"]
        left = journal.those(number, ("intended", "running", "settling", "waiting", "in_doubt"))
        assert left == []
        for entry in journal.those(number, ("captured",)):
            assert self.took[entry.key] == entry.settle_micros == entry.drawn
        assert sum(self.took.values()) == micros(self.plain.spent) - journal.pool(number).credit
        if self.latest < QUIET:
            assert len({each["description"] for each in self.plain.bought}) == len(self.plain.bought)
        self.crash(0)


class Clock:
    now = 1_000_000.0


@pytest.mark.parametrize("seed", ROUNDS)
def test_whatever_happens_nothing_is_lost_or_bought_for_nothing(seed, tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "time", lambda: clock.now)
    world = World(seed, tmp_path / "journal.db", clock)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what came late
        for _ in range(600):
            world.step()
        world.end()
