"""The kit at work: many scenarios in this process and others, and processes that are really killed."""

import importlib
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Final, TypeAlias, cast

from trove_agents.guard.faults.draw import Job
from trove_agents.guard.faults.lives import played
from trove_agents.guard.faults.sheet import Sheet
from trove_agents.guard.faults.subject import Bench

BenchMaker: TypeAlias = Callable[[Path], Bench]
"""Makes a bench that keeps what it needs in a folder, which is made if it is not there."""

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - folders of our own are made in it


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A folder for it all, in memory if there is such: only processes end here, and what they wrote stays."""
    place = MEMORY if MEMORY.is_dir() else None
    return tempfile.TemporaryDirectory(prefix="faults-", dir=place)


def maker(name: str) -> BenchMaker:
    """The bench that ``MODULE:NAME`` names.

    Raises:
        ValueError: there is none.
    """
    module, _, attribute = name.partition(":")
    try:
        return cast("BenchMaker", getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no bench {name!r}: {error}") from error


def play(bench: Bench, jobs: Iterable[Job], folder: Path) -> Sheet:
    """All runs of some jobs, in this process.

    Args:
        bench: What is tried.
        jobs: The scenarios.
        folder: There, with a name that no other has; each case makes a folder in it.
    """
    began = time.monotonic()
    sheet = Sheet(bench.name)
    numbers = count(1)
    for job in jobs:
        for run in job.runs(
            lambda scenario: played(bench, scenario, folder, f"{folder.name}-{next(numbers)}")
        ):
            sheet.add(run)
    sheet.seconds = time.monotonic() - began
    return sheet


def play_beside(name: str, jobs: Sequence[Job], folder: Path, workers: int) -> Iterator[Sheet]:
    """The same in several processes, each with a bench of its own: a sheet for each job, as they end.

    Args:
        name: ``MODULE:NAME`` of the bench.
        jobs: The scenarios.
        folder: There.
        workers: How many processes.
    """
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin, (name, folder)) as pool:
        for done in as_completed([pool.submit(_play, number, job) for number, job in enumerate(jobs)]):
            yield done.result()


_here: list[tuple[Bench, Path]] = []


def _begin(name: str, folder: Path) -> None:
    """In a new process: its bench."""
    logging.disable()  # thousands of guards would say the same; what they warn of, the sheet counts
    warnings.simplefilter("ignore")
    own = Path(tempfile.mkdtemp(dir=folder))
    _here.append((maker(name)(own / "bench"), own))


def _play(number: int, job: Job) -> Sheet:
    [(bench, folder)] = _here
    cases = folder / f"job-{number}"
    cases.mkdir()
    return play(bench, [job], cases)
