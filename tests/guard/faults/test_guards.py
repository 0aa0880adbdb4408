"""Both guards of this package, in ten thousand crashes and two hundred killed processes: lost 0, double 0, overshoot 0.

``TROVE_SOAK=200`` plays all endings and other histories each time; `make faults` does the same with a sheet at the end.
"""

import os
import random
from pathlib import Path

import pytest

from trove_agents.guard.faults import (
    Crashes,
    Pairs,
    Sheet,
    Stem,
    jobs,
    killed,
    play_beside,
    scratch,
)

OURS = "trove_agents.guard.faults.ours:"
SOAK = int(os.environ.get("TROVE_SOAK", 0))
SEED = random.randrange(2**32) if SOAK else 20


@pytest.fixture
def folder():
    with scratch() as name:
        yield Path(name)


ENOUGH = {"one fault": 2900, "crashes": 1800, "histories": 350}
"""Crashes of each part: together more than 10,000 of both guards."""


def part(name):
    if SOAK:
        return {"one fault": jobs(SEED, 0), "crashes": [], "histories": jobs(SEED, 20 * SOAK, ())}[name]
    return {
        "one fault": jobs(SEED, 0, ("returns",)),
        "crashes": [Crashes("charges-and-times-out"), Crashes("declines")],
        "histories": jobs(SEED, 330, ()),
    }[name]


@pytest.mark.parametrize("name", ENOUGH)
@pytest.mark.parametrize("bench", ["GuardBench", "AsyncGuardBench"])
def test_ten_thousand_crashes(bench, name, folder):
    sheet = Sheet(bench)
    for done in play_beside(OURS + bench, part(name), folder, 2):
        sheet.add_all(done)
    print(f"seed {SEED}\n{sheet}")
    assert sheet.sound, sheet.examples[0]
    if not SOAK:
        assert sheet.crashes >= ENOUGH[name]
        assert sheet.took and sheet.spent and sheet.in_doubt


def test_payments_in_advance(folder):
    asked = [
        *jobs(SEED, 20 * SOAK or 150, ()),
        *(Pairs("returns", what) for what in ("lost", "twice", "garbled", "rival-pays")),
    ]
    sheet = Sheet("PrepaidGuardBench")
    for done in play_beside(OURS + "PrepaidGuardBench", asked, folder, 2):
        sheet.add_all(done)
    print(f"seed {SEED}\n{sheet}")
    assert sheet.sound, sheet.examples[0]
    assert sheet.took and sheet.spent and sheet.in_doubt


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("bench", ["GuardBench", "AsyncGuardBench"])
def test_two_hundred_processes_are_killed(bench, half, folder):
    sheet = Sheet(bench)
    with Stem(OURS + bench, folder) as stem:
        for run in killed(stem, SEED + half, max(50, SOAK)):
            sheet.add(run)
    print(f"seed {SEED + half}\n{sheet}")
    assert sheet.sound, sheet.examples[0]
    assert sheet.crashes >= 50
    assert sheet.took and sheet.spent
