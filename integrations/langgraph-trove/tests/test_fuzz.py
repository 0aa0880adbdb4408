"""A bounded number of random cases, always the same; ``make fuzz`` runs as many others as it is told."""

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from .fuzz import Case
from .purse import BUDGET, Purse

CASES = int(os.environ.get("TROVE_FUZZ", "0"))
SEED = int(os.environ.get("TROVE_FUZZ_SEED", "0"))


def seeds(few):
    """The seeds of this run: printed, so that a failure can be run again alone."""
    if SEED:
        return [SEED]
    return [random.SystemRandom().getrandbits(40) for _ in range(CASES)] if CASES else range(1, few + 1)


def name(client, seed):
    return client.for_namespace(f"fuzz-{os.urandom(6).hex()}-{seed}")


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["threads", "asyncio"])
def test_whatever_happens_the_files_are_what_the_log_says_and_the_books_the_ledger(
    trove, client, async_client, tmp_path, durability, asynchronous
):
    for seed in seeds(75):
        print("TROVE_FUZZ_SEED=", seed, sep="")
        space = name(client, seed)
        wallet = trove.wallet(space.namespace, budget_usd=BUDGET)
        folder = tmp_path / str(seed)
        folder.mkdir()
        if not asynchronous:
            other, purse = None, Purse(folder, wallet)
        else:
            other = async_client.for_namespace(space.namespace)
            wallets = trove.async_wallets()
            purse = Purse(folder, wallet, asyncio.run(wallets.wallet(wallet.agent_id, budget_usd=BUDGET)))
        Case(seed, InMemorySaver(), space, purse, other, durability=durability).run(5)


def test_whenever_a_process_is_killed_the_next_goes_on(tmp_path):
    """E20, at random: killed in a step, before or after anything is stored, in all three durability modes."""
    killing = Path(__file__).with_name("killing.py")
    done = subprocess.run(
        [sys.executable, killing, tmp_path, *map(str, seeds(15))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
