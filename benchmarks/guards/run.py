"""The sheet of docs/guard-faults.md: guards of other makes beside ours, under the faults that all of them are given.

python -m venv .venv-guards
.venv-guards/bin/pip install -e '.[server]' -r benchmarks/guards/requirements.txt
.venv-guards/bin/python benchmarks/guards/run.py
"""

import argparse
import time
from pathlib import Path

from trove_agents.guard.faults import ENDINGS, Crashes, Histories, Sheet, markdown, play_beside, scratch

BENCHES = ("Ours", "OursAsync", "Floe", "FloeCareful", "FiGuard", "FiGuardCareful", "Cycles", "CyclesCareful")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--benches", nargs="+", default=BENCHES, choices=BENCHES)
    parser.add_argument("--histories", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    jobs = [
        *(Crashes(ending) for ending in ENDINGS),
        *(Histories(asked.seed, range(first, first + 50)) for first in range(0, asked.histories, 50)),
    ]
    sheets = []
    with scratch() as folder:
        for name in asked.benches:
            began, sheet = time.monotonic(), Sheet(name)
            for done in play_beside(f"benches:{name}", jobs, Path(folder), asked.workers):
                sheet.subject = done.subject
                sheet.add_all(done)
            sheet.seconds = time.monotonic() - began
            sheets.append(sheet)
            print(sheet, flush=True)
            if sheet.examples:
                print(sheet.examples[0], flush=True)
    print(markdown(sheets))


if __name__ == "__main__":
    main()
