"""100 MB in and out through the in-process client, against a plain copy that is synced. In a process of its own, so
that its memory is only what the transfer takes.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
from pathlib import Path

from race import clock
from report import Row

MB = 1024 * 1024


def rows(folder: Path, *, megabytes: int, rounds: int) -> list[Row]:
    done = subprocess.run(
        [sys.executable, __file__, str(folder), str(megabytes), str(rounds)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = json.loads(done.stdout)
    result = []
    for name in ("put", "get"):
        speed = megabytes / found[name]["seconds"]
        plain = megabytes / found["copy"]["seconds"]
        result.append(
            Row(
                "large files",
                f"{name} {megabytes} MB",
                f"{speed:,.0f} MB/s",
                speed,
                f"copy + fsync {plain:,.0f} MB/s",
                speed / plain,
                "≥ 0.5x",
                speed / plain >= 0.5,
            )
        )
        grown = found[name]["grown"] / MB
        result.append(
            Row("large files", f"memory of {name}", f"{grown:.1f} MB", grown, aim="≤ 32 MB", met=grown <= 32)
        )
    return result


class Peak:
    """The most resident memory while it is open, above what there was before; looked at every 2 ms."""

    def __enter__(self) -> "Peak":
        import psutil

        self._process = psutil.Process()
        self._before = self._most = self._process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def grown(self) -> int:
        return self._most - self._before

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            self._most = max(self._most, self._process.memory_info().rss)


def copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as written:
        while piece := read.read(MB):
            written.write(piece)
        written.flush()
        os.fsync(written.fileno())


def _fill(source: Path, megabytes: int) -> None:
    """Never the same bytes: nothing is saved by having them already."""
    with source.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(MB))
        os.fsync(file.fileno())


def _level(folder: Path, megabytes: int) -> None:
    """The same start for everybody: nothing waits to be written, and the memory that the next file takes was in use
    before, since a virtual machine's is slow when it is touched for the first time.
    """
    spare = folder / "spare"
    with spare.open("wb") as file:
        for _ in range(megabytes):
            file.write(bytes(MB))
    os.sync()
    spare.unlink()
    os.sync()


def _child(folder: Path, megabytes: int, rounds: int) -> None:
    from trove_agents.embedded import Trove

    source, target = folder / "source", folder / "target"
    seconds: dict[str, list[float]] = {"copy": [], "put": [], "get": []}
    grown = dict.fromkeys(seconds, 0)
    with Trove.local(folder / "state") as trove, trove.client("bench") as client:

        def get() -> None:
            client.download("large", target)

        steps = {
            "copy": lambda: copy(source, target),
            "put": lambda: client.upload("large", source),
            "get": get,
        }
        source.write_bytes(os.urandom(MB))
        for step in ("copy", "put", "get"):
            steps[step]()
        for turn in range(rounds):
            _fill(source, megabytes)
            for name in (("copy", "put", "get"), ("put", "get", "copy"))[turn % 2]:
                target.unlink(missing_ok=True)
                _level(folder, megabytes)
                start = clock()
                steps[name]()
                seconds[name].append(clock() - start)
        # Apart from the times: the watching thread would slow them down
        _fill(source, megabytes)
        for name in ("put", "get"):
            with Peak() as peak:
                steps[name]()
            grown[name] = peak.grown
        assert target.stat().st_size == megabytes * MB
    result = {
        name: {"seconds": statistics.median(taken), "grown": grown[name]} for name, taken in seconds.items()
    }
    print(json.dumps(result))


if __name__ == "__main__":
    _child(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
