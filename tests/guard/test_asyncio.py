"""What only an event loop does: a cancellation may come at any moment, and many payments run at once."""

import asyncio
from decimal import Decimal

import pytest

from trove_agents import BudgetExceededError, Step
from trove_agents.guard import AsyncGuard, Guard, SqliteJournal


class Slow:
    """A journal that stops before and after each call until it is let on."""

    def __init__(self, inner, moments):
        self.inner, self.moments = inner, moments

    def __getattr__(self, name):
        inner = getattr(self.inner, name)
        if not callable(inner):
            return inner

        def call(*args, **named):
            self.moments(f"before {name}")
            answer = inner(*args, **named)
            self.moments(f"after {name}")
            return answer

        return call


@pytest.fixture
async def handle(trove, request):
    client = trove.async_wallets()
    yield await client.wallet(request.node.name, budget_usd=1)
    await client.aclose()


@pytest.fixture(params=["AsyncGuard", "Guard"])
def either(handle, trove, request):
    """Makes a guard of that wallet, which coroutines use in one way whichever it is."""

    async def made(**named):
        if request.param == "AsyncGuard":
            return AsyncGuard(handle, **named)
        return Guard(await asyncio.to_thread(trove.wallet, handle.agent_id, budget_usd=1), **named)

    return made


async def counted(handle):
    found = await handle.balance()
    return found.total_spent, found.held_usd, found.in_doubt_usd


async def test_what_a_cancellation_kept_from_the_wallet_the_next_payment_tells_it(handle, journal):
    loop, written, paying = asyncio.get_running_loop(), [], []

    def moments(name):
        written.append(name)
        if written.count("after replace") == 2 and name == "after replace":  # running, and now settling
            loop.call_soon_threadsafe(paying[0].cancel)

    async def tool():
        return "a page"

    guard = AsyncGuard(handle, journal=Slow(journal, moments))
    paying.append(asyncio.create_task(guard.pay(tool, "0.3", key="a")))
    with pytest.raises(asyncio.CancelledError):
        await paying[0]
    assert await counted(handle) == (0, Decimal("0.3"), 0)
    await guard.pay(tool, "0.2", key="b")
    assert await counted(handle) == (Decimal("0.5"), 0, 0)


@pytest.mark.parametrize("moment", range(1, 11))
async def test_a_cancellation_at_any_moment_of_the_journal_loses_nothing(handle, journal, moment):
    loop, here = asyncio.get_running_loop(), []

    def moments(name):
        here.append(name)
        if len(here) == moment:
            loop.call_soon_threadsafe(paying.cancel)

    ran = []

    async def tool():
        await asyncio.sleep(0)
        ran.append(1)
        return 1

    guard = AsyncGuard(handle, journal=Slow(journal, moments))
    paying = asyncio.create_task(guard.pay(tool, "0.3", key="k", tool="search"))
    _done, _ = await asyncio.wait({paying})
    assert len(here) >= moment
    guard = AsyncGuard(handle, journal=journal)
    await guard.recover()
    spent, held, in_doubt = await counted(handle)
    assert held == 0
    assert spent + in_doubt == (Decimal("0.3") if ran else 0) or (not ran and in_doubt == Decimal("0.3"))
    entry = journal.find(handle.id, "k")
    if entry is not None:
        assert (entry.state == "in_doubt") == (in_doubt > 0)
        assert (entry.state == "captured") == (spent > 0)


async def test_of_many_at_once_just_what_fits_is_paid(handle, journal):
    guard = AsyncGuard(handle, journal=journal)

    async def tool():
        await asyncio.sleep(0.001)
        return 1

    paying = [guard.pay(tool, "0.03", key=str(n)) for n in range(50)]
    ended = await asyncio.gather(*paying, return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in ended) == 33
    assert {type(each) for each in ended if isinstance(each, BaseException)} == {BudgetExceededError}
    assert await counted(handle) == (Decimal("0.99"), 0, 0)


async def test_a_guard_opens_and_closes_the_journal_it_was_told_of(handle, tmp_path):
    async def tool():
        return [1]

    for repeated in (False, True):
        async with AsyncGuard(handle, journal=tmp_path / "own.db") as guard:
            paid = await guard.pay(tool, "0.3", key="k")
            assert (paid.result, paid.repeated) == ([1], repeated)
    SqliteJournal(tmp_path / "own.db").close()


class Stopped(BaseException):
    """As the interrupt of a framework."""


async def test_a_tool_that_is_called_off_before_it_goes_on_waits_as_before(handle, either, journal):
    """It may have been charged when it ran before it waited: its money is not given back."""
    loop, goes_on = asyncio.get_running_loop(), []

    def moments(name):
        if name == "after replace" and goes_on:
            loop.call_soon_threadsafe(goes_on.pop().cancel)

    authorize = (await either(journal=Slow(journal, moments), signals=(Stopped,))).aauthorize

    async def paying(then):
        async with authorize("0.3", key="k"):
            then()

    def stops():
        raise Stopped

    with pytest.raises(Stopped):
        await paying(stops)
    goes_on.append(asyncio.create_task(paying(lambda: pytest.fail("ran"))))
    await asyncio.wait({*goes_on})
    assert (journal.find(handle.id, "k").state, await counted(handle)) == (
        "waiting",
        (0, Decimal("0.3"), 0),
    )
    await paying(lambda: None)
    assert await counted(handle) == (Decimal("0.3"), 0, 0)


async def test_a_cancellation_is_not_lost_in_a_refusal(handle, either, journal):
    loop, paying = asyncio.get_running_loop(), []

    def moments(name):
        if name == "after find" and paying:
            loop.call_soon_threadsafe(paying[0].cancel)

    authorize = (await either(journal=Slow(journal, moments))).aauthorize

    async def pay():
        async with authorize("0.3", key="k"):
            pass

    await pay()
    paying.append(asyncio.create_task(pay()))
    await asyncio.wait(paying)
    assert paying[0].cancelled()
    assert await counted(handle) == (Decimal("0.3"), 0, 0)


async def test_coroutines_use_either_guard_in_one_way(either, journal):
    guard = await either(journal=journal)
    async with guard.aauthorize("0.3", key="k") as payment:
        payment.capture("0.1")
    assert (await guard.abalance()).remaining_budget == Decimal("0.9")


async def test_either_guard_finds_what_was_paid_for_the_same(either, journal):
    guard = await either(journal=journal)
    for key, query in (("k-1", "a"), ("k-2", "b"), ("k-3", "a")):
        async with guard.aauthorize(
            "0.1", key=key, tool="search", vendor="acme", arguments={"query": query}, step=Step(thread="t")
        ) as payment:
            if key == "k-3":
                payment.void()
    found = await guard.aalike(tool="search", vendor="acme", arguments={"query": "a"})
    assert [(each.key, each.state) for each in found] == [("k-1", "captured"), ("k-3", "voided")]
    assert [each.key for each in await guard.areceipts(thread="t")] == ["k-1", "k-2", "k-3"]
    assert await guard.aalike(tool="search", arguments={"query": "a"}) == []
