"""Many callers at the edge of one budget: what they do, and what must hold when they are done.

As a program it is 16 processes with 4 callers each, of the async client: ``spenders.py KEY WALLET OPERATIONS SEED URL...``
prints seconds and what every caller was told, as JSON.
"""

import asyncio
import contextlib
import json
import multiprocessing
import random
import sys
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from functools import partial

PROCESSES, EACH = 16, 4
PER_CALLER = 400_000
"""Micro-USD of the budget for each caller: less than all would like to have at once."""


@dataclass(frozen=True)
class Refused:
    """There was too little."""

    requested: int
    remaining: int


@dataclass
class Told:
    """What one caller knows."""

    done: list = field(default_factory=list)
    """Kind of movement, id of the hold or transaction, micro-USD."""
    refused: list = field(default_factory=list)
    """Micro-USD that remained, as a refusal said."""
    smallest: int | None = None
    """The smallest payment that was refused when nobody gave anything back any more; micro-USD."""
    calls: int = 0


class Spender:
    """One caller, whatever it calls: ``steps`` yields calls and is sent what came of each."""

    def __init__(self, seed, operations):
        self.chance = random.Random(seed)
        self.left = operations
        self.told = Told()
        self.holds, self.paid, self.doubted = {}, {}, set()

    def steps(self):
        """The first half of a caller's life, in which it takes and gives back."""
        owes = False
        while self.left > 0:
            self.left -= 1
            if owes and (self.holds or self.paid):
                yield from self.give_back()
                owes = False
            elif self.holds and self.chance.random() < 0.4:
                yield from self.settle()
            else:
                # Of all sizes, so that some still fit into what others do not
                amount = self.chance.randint(1, 10 ** self.chance.randint(2, 6))
                owes = not (yield from self.take(amount))

    def rest(self):
        """The second half: all that still can be taken, the largest first."""
        amount = 10_000
        while amount:
            if not (yield from self.take(amount)):
                self.told.smallest = amount
                amount //= 10

    def take(self, amount):
        if self.chance.random() < 0.5:
            came = yield from self.call("purchase", amount)
            owned = self.paid
        else:
            came = yield from self.call("hold", amount)
            owned = self.holds
        if isinstance(came, Refused):
            assert (came.requested, came.remaining < amount) == (amount, True), (amount, came)
            self.told.refused.append(came.remaining)
            return False
        owned[came] = amount
        self.told.done.append(("debit" if owned is self.paid else "hold", came, amount))
        return True

    def settle(self):
        hold = self.chance.choice(list(self.holds))
        amount, way = self.holds[hold], self.chance.random()
        if way < 0.1 and hold not in self.doubted:
            self.doubted.add(hold)
            yield from self.call("doubt", hold)
            self.told.done.append(("in_doubt", hold, amount))
        elif way < 0.5:
            yield from self.void(hold)
        else:
            part = amount if way < 0.75 else self.chance.randint(1, amount)
            del self.holds[hold]
            paid = yield from self.call("capture", hold, part)
            self.paid[paid] = part
            self.told.done.append(("captured", paid, part))

    def give_back(self):
        if self.holds and (not self.paid or self.chance.random() < 0.5):
            yield from self.void(self.chance.choice(list(self.holds)))
        else:
            paid = self.chance.choice(list(self.paid))
            amount = self.paid.pop(paid)
            credit = yield from self.call("refund", paid)
            self.told.done.append(("credit", credit, amount))

    def void(self, hold):
        amount = self.holds.pop(hold)
        yield from self.call("void", hold)
        self.told.done.append(("voided", hold, amount))

    def call(self, *what):
        self.told.calls += 1
        return (yield what)


def drive(steps, call):
    """``call`` does what is yielded."""
    came = None
    try:
        while True:
            came = call(*steps.send(came))
    except StopIteration:
        return


def check(database, wallet, told):
    """The ledger has what the callers were told, each once and nothing else, and kept to the budget all the time."""
    from sqlalchemy import select

    from trove_agents.server.db.tables import wallet_entries, wallets

    e, w = wallet_entries.c, wallets.c
    with database.read() as db:
        rows = [
            dict(zip(e.keys(), row)) for row in db.all(select(*e).where(e.wallet == wallet).order_by(e.seq))
        ]
        [counters] = db.all(select(w.budget, w.spent, w.held, w.in_doubt, w.entries).where(w.id == wallet))
    budget, *after, entries = counters
    assert [row["seq"] for row in rows] == list(range(1, entries + 1))
    sums = dict.fromkeys(("spent", "held", "in_doubt"), 0)
    for row in rows:
        for name in sums:
            sums[name] += row[name]
            assert sums[name] == row[f"{name}_after"] >= 0
        assert sum(sums.values()) <= row["budget_after"] == budget
    assert list(sums.values()) == after
    left = {budget} | {
        budget - row["spent_after"] - row["held_after"] - row["in_doubt_after"] for row in rows
    }
    assert left.issuperset(each for one in told for each in one.refused), "nobody was refused for nothing"

    by_transaction = {"debit", "captured", "credit"}
    found = Counter(
        (row["kind"], row["transaction"] if row["kind"] in by_transaction else row["hold"], _amount(row))
        for row in rows
    )
    assert found == Counter(tuple(each) for one in told for each in one.done)
    assert set(found.values()) == {1}
    remaining = budget - sum(after)
    assert 0 <= remaining < min(one.smallest for one in told)


def summary(told, seconds, seed):
    """For people."""
    calls, refused = sum(each.calls for each in told), sum(len(each.refused) for each in told)
    assert 0 < refused < calls
    return f"seed {seed}: {calls:,} calls, {refused:,} refused, {calls / seconds:,.0f}/s"


def _amount(row):
    return abs(row["spent"] or row["in_doubt"] or row["held"])


# As a program
async def _drive(steps, client, wallet):
    from trove_agents import BudgetExceededError

    async def call(what, *arguments):
        match what:
            case "purchase" | "hold":
                return (await getattr(client, what)(wallet, *map(_usd, arguments))).id
            case "capture":
                return (await client.capture(arguments[0], _usd(arguments[1]))).id
            case _:
                return (await getattr(client, what)(*arguments)).id

    came = None
    try:
        while True:
            wanted = steps.send(came)
            try:
                came = await call(*wanted)
            except BudgetExceededError as refused:
                came = Refused(_micros(refused.requested_usd), _micros(refused.remaining_usd))
    except StopIteration:
        return


def _usd(micros):
    return Decimal(micros).scaleb(-6)


def _micros(usd):
    return int(usd.scaleb(6))


async def _callers(spenders, key, wallet, urls):
    import httpx

    from trove_agents import AsyncWalletClient
    from trove_agents.client.network import AsyncHttpTransport

    # Nothing here is https, and reading the certificates takes longer than most calls
    transports = [AsyncHttpTransport(url, transport=httpx.AsyncHTTPTransport(verify=False)) for url in urls]
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(AsyncWalletClient(key, transport=each)) for each in transports
        ]
        for half in (Spender.steps, Spender.rest):
            barrier.wait()
            await asyncio.gather(
                *(_drive(half(each), client, wallet) for each, client in zip(spenders, clients, strict=True))
            )


def _process(number, key, wallet, operations, seed, urls):
    numbers = range(number * EACH, number * EACH + EACH)
    spenders = [Spender(seed + each, operations // (PROCESSES * EACH)) for each in numbers]
    try:
        asyncio.run(_callers(spenders, key, wallet, [urls[each % len(urls)] for each in numbers]))
    except BaseException:
        traceback.print_exc()
        barrier.abort()  # the others need not wait for this one
        raise
    return [asdict(each.told) for each in spenders]


def main(key, wallet, operations, seed, *urls):
    import httpx  # noqa: F401 - before the processes are made, which then need not

    import trove_agents.client.network  # noqa: F401

    global barrier
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(PROCESSES)
    work = partial(
        _process, key=key, wallet=int(wallet), operations=int(operations), seed=int(seed), urls=urls
    )
    begin = time.monotonic()
    with context.Pool(PROCESSES) as pool:
        told = [each for some in pool.map(work, range(PROCESSES), chunksize=1) for each in some]
    print(json.dumps({"seconds": time.monotonic() - begin, "told": told}))


if __name__ == "__main__":
    main(*sys.argv[1:])
