"""How contenders are timed: all of them in turn, in random order, so that a noisy machine is noisy for everybody.

The figures are medians. Only ratios within one race mean anything; the race itself says nothing about other machines.
"""

import random
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

clock = time.perf_counter
Step = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of doing it. ``prepare`` is not timed and is run before each turn."""

    run: Step
    prepare: Step | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds."""

    median: float
    p99: float
    turns: int
    processor: float | None = None
    """Median of what all threads of this process computed meanwhile: what other programs take is not in it."""


def race(turns: int, contenders: Mapping[str, Step | Contender], *, warm_up: int = 5) -> dict[str, Timing]:
    """Times each contender ``turns`` times. A contender is told its turn's number, which never repeats."""
    drivers = {
        name: each if isinstance(each, Contender) else Contender(each) for name, each in contenders.items()
    }
    times: dict[str, list[float]] = {name: [] for name in drivers}
    processor: dict[str, list[float]] = {name: [] for name in drivers}
    order = list(drivers)
    for turn in range(-warm_up, turns):
        random.shuffle(order)
        for name in order:
            contender = drivers[name]
            if contender.prepare is not None:
                contender.prepare(turn + warm_up)
            computed = time.process_time()
            start = clock()
            contender.run(turn + warm_up)
            elapsed = clock() - start
            computed = time.process_time() - computed
            if turn >= 0:
                times[name].append(elapsed * 1e6)
                processor[name].append(computed * 1e6)
    return {name: timing(taken, processor[name]) for name, taken in times.items()}


def timing(taken: list[float], processor: list[float] | None = None) -> Timing:
    ordered = sorted(taken)
    computed = None if processor is None else statistics.median(processor)
    return Timing(statistics.median(ordered), ordered[int(len(ordered) * 0.99)], len(ordered), computed)


def throughput(work: Callable[[int, int], object], *, writers: int, seconds: float) -> tuple[float, Timing]:
    """Calls of ``work(writer, turn)`` per second by that many threads at once, and how long each call took."""
    rate, taken = together(work, writers=writers, seconds=seconds)
    return rate, timing(taken)


def together(
    work: Callable[[int, int], object], *, writers: int, seconds: float
) -> tuple[float, list[float]]:
    """``throughput`` with the microseconds of every call."""
    taken: list[list[float]] = [[] for _ in range(writers)]
    begin, stop = threading.Event(), threading.Event()

    def one(writer: int) -> None:
        begin.wait()
        turn = 0
        while not stop.is_set():
            start = clock()
            work(writer, turn)
            taken[writer].append((clock() - start) * 1e6)
            turn += 1

    threads = [threading.Thread(target=one, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    start = clock()
    begin.set()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    elapsed = clock() - start
    every = [each for own in taken for each in own]
    return len(every) / elapsed, every
