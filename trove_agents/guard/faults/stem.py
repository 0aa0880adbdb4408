"""A process that has imported everything and forks one for each life of a program: a start costs no imports.

Run with ``MODULE:NAME`` of a bench and a folder. Each line that it reads is a :class:`Life`, as JSON; it answers each
with an :class:`Ended`.
"""

import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

import msgspec

from trove_agents.guard.faults.kit import BenchMaker, maker
from trove_agents.guard.faults.lives import Play, Run
from trove_agents.guard.faults.moments import ENDS, Moments, What
from trove_agents.guard.faults.scenario import Scenario
from trove_agents.guard.faults.subject import Place

_STARTED = b"."


class Life(msgspec.Struct, frozen=True):
    """One process of a program that plays a scenario."""

    name: str
    """Of the place."""
    scenario: Scenario
    number: int
    """From 0. The one after all that the scenario plans is the last, in which nothing goes wrong."""
    kill_after: float | None = None
    """Seconds after its start; None: it is left alone, but for what the scenario plans."""


class Ended(msgspec.Struct, frozen=True):
    """How it ended."""

    killed: bool
    """By SIGKILL."""
    seconds: float
    """From its start."""
    run: Run | None = None
    """Of the last one."""


def main() -> None:
    """Reads lines until there are no more."""
    make, folder = maker(sys.argv[1]), Path(sys.argv[2])
    lives = msgspec.json.Decoder(Life)
    for line in sys.stdin:
        print(msgspec.json.encode(_forked(make, folder, lives.decode(line))).decode(), flush=True)  # noqa: T201


def _forked(make: BenchMaker, folder: Path, life: Life) -> Ended:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(make, folder, life, writer)
    os.close(writer)
    with open(reader, "rb") as told:  # noqa: PTH123 - a descriptor
        started = told.read(1)
        began = time.monotonic()
        if life.kill_after is not None and started:
            time.sleep(life.kill_after)
            os.kill(child, signal.SIGKILL)
        rest = told.read()
    _, status = os.waitpid(child, 0)
    if status not in (0, signal.SIGKILL):
        raise RuntimeError(f"{life.name} failed by itself: {status}")
    run = msgspec.json.decode(rest, type=Run) if rest and status == 0 else None
    return Ended(status == signal.SIGKILL, time.monotonic() - began, run)


def _child(make: BenchMaker, folder: Path, life: Life, told: int) -> NoReturn:
    status = 1
    try:
        os.close(0)
        os.open(os.devnull, os.O_RDONLY)
        scenario = life.scenario
        place = Place(life.name, folder / life.name, scenario.budget_usd, scenario.resends)
        place.folder.mkdir(exist_ok=True)
        bench = make(folder / "bench")
        playing = Play(bench, scenario, place)
        os.write(told, _STARTED)
        if life.number < len(scenario.lives):
            plan = playing.plan(life.number)
            playing.live(Moments(plan, lambda what: _kill(playing, what)), again=life.number > 0)
        else:
            run = playing.end(struck=(), lives=life.number + 1, crashes=0, complete=True)
            os.write(told, msgspec.json.encode(run))
        bench.close()
        status = 0
    except BaseException:  # noqa: BLE001 - a fork must not go on with what its parent does
        traceback.print_exc()
    finally:
        os._exit(status)


def _kill(playing: Play, what: What) -> None:
    if what in ENDS:
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()  # it takes a moment to arrive
    playing.happens(what)


if __name__ == "__main__":
    main()
