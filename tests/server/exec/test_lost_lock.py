"""A command that loses its lock between any two of its phases: all of it is kept or nothing, and its caller knows."""

import itertools

import pytest
from sqlalchemy import update

from trove_agents.server.db.tables import locks
from trove_agents.server.errors import Conflict
from trove_agents.wire.exec import ExecRequest

from .conftest import Shell, hop

TAKEN = update(locks).values(token=locks.c.token + 1, holder="another", expires_us=2**62)
GONE = update(locks).values(token=locks.c.token + 1, holder="another", expires_us=0)


@pytest.mark.parametrize("loss", [TAKEN, GONE], ids=["taken", "taken and given back"])
async def test_before_each_phase(bench, loss):
    bench.put("f", b"before")
    kept = []
    for number in itertools.count(1):
        shell, calls = Shell(bench, "none"), []

        async def losing(function, *args):
            calls.append(function.__name__)
            if len(calls) == number:
                bench.database.write(lambda tx: tx.run(loss))
            return await hop(function, *args)

        told = len(shell.events())
        try:
            await shell.service.run(
                shell.principal, "main", ExecRequest(f"echo {number} > f; echo {number} > g"), hop=losing
            )
        except Conflict:
            kept.append((calls[number - 1], False))
            assert len(shell.events()) == told
        else:
            if number > len(calls):
                break
            kept.append((calls[number - 1], True))
            assert bench.store()["f"][2] == bench.store()["g"][2] == f"{number}\n".encode()
        finally:
            bench.database.write(lambda tx: tx.run(update(locks).values(expires_us=0)))
            shell.close()
        store = bench.store()
        assert store["f"][2] == store.get("g", (0, 0, b"before"))[2]
    outcomes = dict(kept)
    assert outcomes["_prepare"] is False and outcomes["_finish"] is False
    assert outcomes["_give_back"] is True
    shell = Shell(bench, "none")
    assert (await shell("cat f g")).stdout == f"{number}\n" * 2
    shell.close()
