"""Both guards of this package, in ten thousand crashes and two hundred killed processes: lost 0, double 0, overshoot 0.

``TROVE_SOAK=200`` plays all endings and other histories each time; `make faults` does the same with a sheet at the end.
"""

import os
import random

import pytest

from trove_agents.guard.faults import (
    ENDINGS,
    Crashes,
    Sheet,
    Stem,
    jobs,
    killed,
    play_beside,
    scratch,
)
from pathlib import Path

OURS = "trove_agents.guard.faults.ours:"
SOAK = int(os.environ.get("TROVE_SOAK", 0))
SEED = random.randrange(2**32) if SOAK else 20


@pytest.fixture
def folder():
    with scratch() as name:
        yield Path(name)


@pytest.mark.parametrize("bench", ["GuardBench", "AsyncGuardBench"])
def test_five_thousand_crashes(bench, folder):
    if SOAK:
        asked = jobs(SEED, 20 * SOAK)
    else:
        asked = [*jobs(SEED, 300, ("returns",)), Crashes("charges-and-times-out"), Crashes("declines")]
    sheet = Sheet(bench)
    for done in play_beside(OURS + bench, asked, folder, 2):
        sheet.add_all(done)
    print(f"seed {SEED}\n{sheet}")
    assert sheet.sound, sheet.examples[0]
    assert sheet.crashes >= 5000
    assert sheet.took and sheet.spent and sheet.in_doubt


@pytest.mark.parametrize("bench", ["GuardBench", "AsyncGuardBench"])
def test_a_hundred_processes_are_killed(bench, folder):
    sheet = Sheet(bench)
    with Stem(OURS + bench, folder) as stem:
        for run in killed(stem, SEED, max(100, SOAK)):
            sheet.add(run)
    print(f"seed {SEED}\n{sheet}")
    assert sheet.sound, sheet.examples[0]
    assert sheet.crashes >= 100
    assert sheet.took and sheet.spent
