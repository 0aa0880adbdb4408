"""Both guards on the real wallet service, called in one way."""

import asyncio
from contextlib import contextmanager

import pytest
from agent_fixtures import numbers  # noqa: F401 - a fixture

from trove_agents import AsyncWalletClient, TroveConnectionError, WalletClient
from trove_agents.embedded import Trove
from trove_agents.guard import AsyncGuard, Guard, SqliteJournal


@pytest.fixture(scope="module")
def trove():
    with Trove.temporary() as opened:
        yield opened


@pytest.fixture(scope="module")
def wallets(trove):
    return trove.wallets()


@pytest.fixture
def wallet(wallets, request):
    return wallets.wallet(request.node.name[:250], budget_usd=1)


@pytest.fixture
def journal(tmp_path):
    opened = SqliteJournal(tmp_path / "journal.db")
    yield opened
    opened.close()


class Road:
    """What happens to calls on their way: ``lose(path)`` loses the answer of the next one, done or not."""

    def __init__(self):
        self.lost = {}
        self.before = {}

    def lose(self, name, *, done):
        self.lost[name] = done

    def meet(self, name, happens):
        self.before[name] = happens

    def carry(self, request):
        name = request.path.rsplit("/", 1)[-1]
        self.before.pop(name, lambda: None)()
        return self.lost.pop(name, None)


def gone():
    return TroveConnectionError("the answer was lost", may_have_committed=True)


class Through:
    """A transport that takes that road."""

    def __init__(self, inner, road):
        self.inner, self.road, self.retries = inner, road, False

    def send(self, request):
        lost = self.road.carry(request)
        answer = None if lost is False else self.inner.send(request)
        if lost is not None:
            raise gone()
        return answer

    def close(self):
        pass


class AsyncThrough(Through):
    async def send(self, request):
        lost = self.road.carry(request)
        answer = None if lost is False else await self.inner.send(request)
        if lost is not None:
            raise gone()
        return answer

    async def aclose(self):
        pass


class Blocking:
    """An ``AsyncGuard`` for tests that are written once."""

    def __init__(self, guard, runner):
        self.guard, self.runner = guard, runner

    def pay(self, tool_call, price, **named):
        async def atool():
            return tool_call()

        return self.runner.run(self.guard.pay(atool, price, **named))

    @contextmanager
    def authorize(self, price, **named):
        block = self.guard.authorize(price, **named)
        payment = self.runner.run(block.__aenter__())
        try:
            yield payment
        except BaseException as error:
            if not self.runner.run(block.__aexit__(type(error), error, error.__traceback__)):
                raise
        else:
            self.runner.run(block.__aexit__(None, None, None))

    def __getattr__(self, name):
        method = getattr(self.guard, name)
        return lambda *args, **named: self.runner.run(method(*args, **named))


@pytest.fixture
def road():
    return Road()


@pytest.fixture(params=["threads", "asyncio"])
def guarding(request, trove, wallets, wallet, journal, road):
    """Makes guards of the test's wallet and journal."""
    key = dict(wallets._headers)["x-trove-key"]
    if request.param == "threads":
        client = WalletClient(key, transport=Through(wallets._transport, road))
        handle = client.wallet(wallet.agent_id, budget_usd=1)
        yield lambda **named: Guard(handle, **{"journal": journal} | named)
        return
    with asyncio.Runner() as runner:
        inner = trove.async_wallets()
        client = AsyncWalletClient(key, transport=AsyncThrough(inner._transport, road))
        handle = runner.run(client.wallet(wallet.agent_id, budget_usd=1))
        yield lambda **named: Blocking(AsyncGuard(handle, **{"journal": journal} | named), runner)
        runner.run(inner.aclose())


@pytest.fixture
def guard(guarding):
    return guarding()


@pytest.fixture
def state(journal, wallet):
    return lambda key="k": journal.find(wallet.id, key).state
