"""The threads beside an event loop."""

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from trove_agents.guard import AsyncGuard
from trove_agents.guard.threads import Threads, whole

ASKED = ContextVar("asked", default=0)


async def test_a_payment_does_not_wait_for_the_tools_that_fill_the_pool(trove, journal, request):
    client = trove.async_wallets()
    guard = AsyncGuard(await client.wallet(request.node.name, budget_usd=1), journal=journal)
    paid = threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    waits = asyncio.create_task(asyncio.to_thread(paid.wait))
    await asyncio.sleep(0)

    async def tool():
        return 1

    assert (await guard.pay(tool, "0.3", key="k")).result == 1
    paid.set()
    assert await waits
    await client.aclose()


async def test_what_is_handed_to_them_is_done_in_the_context_of_who_handed_it():
    threads, done = Threads(2), []

    async def ask(number):
        ASKED.set(number)
        await whole(lambda: done.append((ASKED.get(), threading.current_thread())), threads.hand)

    await asyncio.gather(*map(ask, range(20)))
    assert sorted(number for number, _ in done) == list(range(20))
    assert threading.current_thread() not in {one for _, one in done}


@pytest.mark.parametrize("hand", [None, Threads(1).hand], ids=["pool", "own"])
@pytest.mark.parametrize("fails", [False, True])
async def test_no_cancellation_cuts_it_short(hand, fails):
    goes_on, ended = threading.Event(), []

    def action():
        goes_on.wait()
        ended.append(1)
        if fails:
            raise ValueError("it fails")
        return 1

    task = asyncio.create_task(whole(action, hand))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    goes_on.set()
    if fails:
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        assert isinstance(cancelled.value.__cause__, ValueError)
    else:
        assert await task == (1, True)
    assert ended == [1]


async def test_a_cancellation_that_came_before_its_end_is_told_though_it_was_quicker_than_the_loop():
    loop = asyncio.get_running_loop()

    def at_once(work):
        loop.call_soon(task.cancel)
        work()

    task = asyncio.create_task(whole(lambda: 1, at_once))
    assert await task == (1, True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_that_was_forked_off_has_threads_of_its_own():
    code = """
import asyncio, os, sys
from trove_agents.guard.threads import Threads, whole

threads = Threads(2)
ask = lambda: asyncio.run(whole(lambda: 1, threads.hand))
assert ask() == (1, False)
sys.stdout.flush()
child = os.fork()
if not child:
    os._exit(ask() != (1, False))
os._exit(os.waitpid(child, 0)[1])
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
