"""A command that loses its lock before any of its steps in the database: all of it is kept or nothing, and its caller
knows which.
"""

import itertools

import pytest
from sqlalchemy import update

from trove_agents.server.db.tables import locks
from trove_agents.server.errors import Conflict

from .conftest import Shell

TAKEN = update(locks).values(token=locks.c.token + 1, holder="another", expires_us=2**62)
GONE = update(locks).values(token=locks.c.token + 1, holder="another", expires_us=0)
FREE = update(locks).values(expires_us=0)


@pytest.mark.parametrize("loss", [TAKEN, GONE], ids=["taken", "taken and given back"])
async def test_before_each_step(bench, loss):
    bench.put("f", b"before")
    database, kept = bench.database, []
    read, write = database.read, database.write
    for number in itertools.count(1):
        shell, count = Shell(bench, "none"), itertools.count(1)

        def losing(step):
            def call(*args, **more):
                if next(count) == number:
                    write(lambda tx: tx.run(loss))
                    lost.append(True)
                return step(*args, **more)

            return call

        lost, before, told = [], bench.store(), len(shell.events())
        database.read, database.write = losing(read), losing(write)
        try:
            await shell(f"echo {number} > f; echo {number} > g")
            done = True
        except Conflict:
            done = False
        finally:
            database.read, database.write = read, write
            write(lambda tx: tx.run(FREE))
            shell.close()
        store = bench.store()
        if done:
            assert store["f"][2] == store["g"][2] == f"{number}\n".encode()
            assert len(shell.events()) == told + 1
        else:
            assert store == before
            assert len(shell.events()) == told
        if not lost:
            break
        kept.append(done)
    # Before it was taken, while it was held, when all was committed
    assert [held for held, _ in itertools.groupby(kept)] == [True, False, True]
