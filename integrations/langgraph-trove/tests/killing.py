"""Cases of the fuzz whose process is killed at random points, and gone on with by another.

    python killing.py FOLDER SEED...

Run as a program, so that it is one thread that forks: each child begins warm, does a few acts on what the ones before it
left on the disk, and dies in the middle of one or not. The last one goes on to the graph's end.
"""

import os
import random
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from pathlib import Path

from langgraph.checkpoint.sqlite import SqliteSaver

from trove_agents import Trove

sys.path.insert(0, str(Path(__file__).parent))
from fuzz import Case, Misfortune
from purse import BUDGET, Purse

CHILDREN = 4


class DyingSaver(SqliteSaver):
    """Misfortune also strikes before and after what is stored."""

    misfortune = None
    slow = None

    def put(self, *arguments):
        self.pass_point()
        stored = super().put(*arguments)
        self.pass_point()
        return stored

    def put_writes(self, config, writes, task_id, task_path=""):
        if self.slow.random() < 0.3:
            time.sleep(0.05)  # savers are called from several threads: what came later may be stored before
        self.pass_point()
        super().put_writes(config, writes, task_id, task_path)
        self.pass_point()

    def pass_point(self):
        if self.misfortune.deadly:
            self.misfortune.point()


def live(folder, seed, child, *, last):
    misfortune = Misfortune()
    saver = DyingSaver(sqlite3.connect(folder / "checkpoints.db", check_same_thread=False))
    saver.misfortune, saver.slow = misfortune, random.Random(child)
    with Trove.local(folder / "state") as trove:
        durability = ("sync", "async", "exit")[seed % 3]
        options = {"durability": durability, "misfortune": misfortune, "graph": seed}
        purse = Purse(folder, trove.wallet("w", budget_usd=BUDGET))
        case = Case(f"{seed} {child}", saver, trove.client("w"), purse, **options)
        purse.check(recovered=False)
        purse.guard.recover()
        case.check()
        for _ in range(0 if last else 3):
            case.act(deadly=case.random.random() < 0.6)
        if last:
            case.settle()
        purse.close() if last else purse.journal.close()


def run(folder, seed):
    """Whether all went as it should."""
    for child in range(CHILDREN):
        process = os.fork()
        if process == 0:
            try:
                live(folder, seed, child, last=child == CHILDREN - 1)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            continue
        if status:
            return False
    return True


def main():
    folder = Path(sys.argv[1])
    failed = []
    for seed in map(int, sys.argv[2:]):
        case = folder / str(seed)
        case.mkdir()
        if not run(case, seed):
            print(f"TROVE_FUZZ_SEED={seed} failed", file=sys.stderr)
            failed.append(seed)
        shutil.rmtree(case)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
