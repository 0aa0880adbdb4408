"""The exec lock: one holder, fencing tokens, takeover of the dead and the expired."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from trove_agents.server.db import CommitFailed, Database
from trove_agents.server.errors import Busy
from trove_agents.server.namespaces import locks
from trove_agents.server.namespaces.locks import ExecLocks


async def hop(function, *args):
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


@pytest.fixture
def database(tmp_path, place):
    database = Database.open(place(tmp_path))
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


async def test_a_killed_server_is_taken_over_at_once(tmp_path):
    database = Database.open(tmp_path)
    code = """
import asyncio, os, sys
from pathlib import Path
from trove_agents.server.db import CommitFailed, Database
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


async def test_a_lock_that_is_got_for_a_caller_who_has_left_goes_back(two, database):
    """Cancelled while the transaction that takes the lock runs on its thread: that cannot be stopped."""
    one, other = two
    reached, go_on = threading.Event(), threading.Event()

    def slowly(function, *args):
        result = function(*args)
        reached.set()
        go_on.wait(20)
        return result

    async def slow_hop(function, *args):
        return await hop(slowly, function, *args)

    async def work():
        async with one.hold(7, seconds=3600, hop=slow_hop):
            raise AssertionError("nobody is there to work")

    task = asyncio.create_task(work())
    await asyncio.to_thread(reached.wait, 20)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with other.hold(7, seconds=5, hop=hop, wait=5):
        pass


async def test_a_holder_cancelled_while_it_gives_back_has_given_back_when_it_ends(two, database):
    one, other = two
    held_up, go_on = threading.Event(), threading.Event()

    def slowly(function, *args):
        held_up.set()
        go_on.wait(20)
        return function(*args)

    async def slow_hop(function, *args):
        name = getattr(function, "__name__", "")
        return await (hop(slowly, function, *args) if name == "give_back" else hop(function, *args))

    async def work():
        async with one.hold(7, seconds=3600, hop=slow_hop):
            pass

    task = asyncio.create_task(work())
    await asyncio.to_thread(held_up.wait, 20)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    with database.read() as db:
        assert other.free(db, 7)


async def test_a_lock_that_cannot_be_given_back_does_not_spoil_the_result_nor_the_next_call(
    two, database, caplog
):
    one, _ = two
    async with one.hold(7, seconds=3600, hop=hop):
        database.write = full
    del database.write
    assert "could not be given back" in caplog.text
    async with one.hold(7, seconds=5, hop=hop, wait=0.05) as lease:
        assert held(database, lease)
        with pytest.raises(Busy):
            async with one.hold(7, seconds=5, hop=hop, wait=0.05):
                pass


def full(function, **more):
    raise CommitFailed("the disk is full")


async def test_waiters_cancelled_at_any_moment_never_keep_their_place(two):
    one, _ = two
    for turns in range(40):
        tasks = [asyncio.create_task(enter(one)) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[1].cancel()
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not tasks[2].cancelled()
        assert tasks[2].exception() is None


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


async def test_what_begins_with_a_lock_ends_before_it_goes_back_off_the_loop(two, database):
    one, other = two
    done = []

    def note(what):
        with database.read() as db:
            done.append((what, other.free(db, 7), threading.current_thread() is threading.main_thread()))

    async with one.hold(7, seconds=5, hop=hop, begin=lambda _: note("begin"), end=lambda: note("end")):
        assert done == [("begin", False, False)]
    assert done[1:] == [("end", False, False)]
    async with one.hold(7, seconds=5, hop=hop, end=lambda: note("early")) as lease:
        await hop(one.give_back, lease)
        assert done[2:] == [("early", False, False)]
        async with other.hold(7, seconds=5, hop=hop, wait=0.05):
            pass
    assert len(done) == 3


async def test_a_lock_goes_back_when_what_begins_with_it_fails(two):
    one, other = two
    ended = []

    def fail(lease):
        raise ValueError(lease.namespace)

    with pytest.raises(ValueError, match="7"):
        async with one.hold(7, seconds=5, hop=hop, begin=fail, end=lambda: ended.append(7)):
            raise AssertionError("nothing has begun")
    assert ended == [7]
    async with other.hold(7, seconds=5, hop=hop, wait=0.05):
        pass


async def test_what_began_for_a_caller_who_has_left_ends_before_the_lock_goes_back(two, database):
    one, other = two
    reached, go_on = threading.Event(), threading.Event()
    ended = []

    def begin(lease):
        reached.set()
        go_on.wait(20)

    def end():
        with database.read() as db:
            ended.append(other.free(db, 7))

    async def work():
        async with one.hold(7, seconds=3600, hop=hop, begin=begin, end=end):
            raise AssertionError("nobody is there to work")

    task = asyncio.create_task(work())
    await asyncio.to_thread(reached.wait, 20)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [False]
    async with other.hold(7, seconds=5, hop=hop, wait=5):
        pass
