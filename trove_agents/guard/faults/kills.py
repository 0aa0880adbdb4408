"""Processes that are really killed: lives of a program that a stem forks, ended by SIGKILL."""

import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from trove_agents.guard.faults.draw import history
from trove_agents.guard.faults.lives import Run
from trove_agents.guard.faults.stem import Ended, Life

_START: Final = "from trove_agents.guard.faults.stem import main; main()"


class Stem:
    """What lives are forked from. Use as a context manager.

    Args:
        bench: ``MODULE:NAME``.
        folder: There; all that the lives keep.
    """

    def __init__(self, bench: str, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-c", _START, bench, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def live(self, life: Life) -> Ended:
        """Lets a process live, and waits for its end.

        Raises:
            RuntimeError: it failed by itself. Why stands on standard error.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(life) + b"\n")
        self._process.stdin.flush()
        if not (answer := self._process.stdout.readline()):
            raise RuntimeError(f"{life.name} failed: {life.scenario}")
        return msgspec.json.decode(answer, type=Ended)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()


def killed(stem: Stem, seed: int, kills: int) -> Iterator[Run]:
    """Histories in which some processes are killed, until there were so many.

    Every other history is killed at planned moments, between two steps of the program; the others at random times,
    which may be anywhere in the kernel.
    """
    chance = random.Random(f"{seed}/times")  # noqa: S311 - spreads the kills, keeps no secret
    longest = 0.1
    done = number = 0
    while done < kills:
        number += 1
        scenario = history(f"{seed}/kill/{number}")
        timed = number % 2 == 0
        if timed:
            scenario = replace(scenario, lives=tuple(plan[:-1] for plan in scenario.lives))
        lives = crashes = 0
        for life in range(len(scenario.lives)):
            after = chance.uniform(0.0, longest) if timed else None
            ended = stem.live(Life(f"kill-{number}", scenario, life, after))
            lives += 1
            crashes += ended.killed
            if not ended.killed:
                longest = (longest + ended.seconds) / 2
                break
        last = stem.live(Life(f"kill-{number}", scenario, len(scenario.lives))).run
        assert last is not None, "the last life is not killed"
        done += crashes
        yield replace(last, crashes=crashes, lives=lives + 1)
