"""The exec lock: one holder, fencing tokens, takeover of the dead and the expired."""

import asyncio
import os
import subprocess
import sys

import pytest

from trove_agents.server.db import Database
from trove_agents.server.errors import Busy
from trove_agents.server.namespaces import locks
from trove_agents.server.namespaces.locks import ExecLocks


async def hop(function, *args):
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


@pytest.fixture
def database(tmp_path):
    database = Database.open(tmp_path)
    yield database
    database.close()


@pytest.fixture
def two(database, tmp_path):
    """Two servers on one state."""
    pair = ExecLocks(database, tmp_path / "run"), ExecLocks(database, tmp_path / "run")
    yield pair
    for one in pair:
        one.close()


def held(database, lease):
    with database.read() as db:
        return locks.held(db, lease, now_us=database.now_ns() // 1000)


async def test_one_holder_at_a_time_in_order(two, database):
    one, _ = two
    order = []

    async def work(number):
        async with one.hold(7, seconds=5, hop=hop) as lease:
            order.append((number, lease.token))
            await asyncio.sleep(0.01)
            assert held(database, lease)

    await asyncio.gather(*(work(number) for number in range(5)))
    assert [number for number, _ in order] == list(range(5))
    assert [token for _, token in order] == sorted({token for _, token in order})


async def test_another_server_waits_then_is_told_busy(two, database):
    one, other = two
    async with one.hold(7, seconds=5, hop=hop) as lease:
        with pytest.raises(Busy):
            async with other.hold(7, seconds=5, hop=hop, wait=0.05):
                pass
        async with other.hold(8, seconds=5, hop=hop):
            pass
        with pytest.raises(Busy):
            async with one.hold(7, seconds=5, hop=hop, wait=0.05):
                pass
        assert held(database, lease)
    assert not held(database, lease)
    async with other.hold(7, seconds=5, hop=hop) as later:
        assert later.token > lease.token


async def test_an_expired_holder_is_taken_over_and_knows(two, database):
    one, other = two
    async with one.hold(7, seconds=0, hop=hop) as lease:
        async with other.hold(7, seconds=5, hop=hop) as newer:
            assert newer.token > lease.token
            assert not held(database, lease)
        # the former holder's release must not free what a newer one holds
        async with other.hold(7, seconds=5, hop=hop) as newest:
            database.write(lambda tx: locks.release(tx, lease))
            assert held(database, newest)


async def test_a_killed_server_is_taken_over_at_once(database, tmp_path):
    code = """
import asyncio, os, sys
from pathlib import Path
from trove_agents.server.db import Database
from trove_agents.server.namespaces.locks import ExecLocks
async def hop(f, *a): return f(*a)
async def main():
    folder = Path(sys.argv[1])
    async with ExecLocks(Database.open(folder), folder / "run").hold(7, seconds=3600, hop=hop):
        print("held", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    own = ExecLocks(database, tmp_path / "run")
    with pytest.raises(Busy):
        async with own.hold(7, seconds=5, hop=hop, wait=0.05):
            pass
    child.kill()
    child.wait()
    child.stdout.close()
    async with own.hold(7, seconds=5, hop=hop, wait=5):
        pass
    own.close()


async def test_a_cancelled_waiter_leaves_nothing_behind(two):
    one, _ = two
    async with one.hold(7, seconds=5, hop=hop):
        waiter = asyncio.create_task(enter(one))
        await asyncio.sleep(0.02)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
    await asyncio.wait_for(enter(one), 5)


async def enter(one):
    async with one.hold(7, seconds=5, hop=hop):
        pass


async def test_the_holder_may_release_in_its_own_transaction(two, database):
    one, other = two
    async with one.hold(7, seconds=5, hop=hop) as lease:
        database.write(lambda tx: locks.release(tx, lease))
        async with other.hold(7, seconds=5, hop=hop, wait=1):
            pass


def test_no_file_is_left_when_closed(database, tmp_path):
    own = ExecLocks(database, tmp_path / "run")
    assert os.listdir(tmp_path / "run") == [own.holder]
    own.close()
    assert os.listdir(tmp_path / "run") == []
