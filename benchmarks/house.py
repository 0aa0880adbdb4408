"""What the house itself costs: importing it, opening a state directory, a server that does nothing."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from race import clock
from report import Row

MB = 1024 * 1024
_IMPORT = """
import time
wall, processor = time.perf_counter(), time.process_time()
import trove_agents
trove_agents.HttpTransport
print(time.perf_counter() - wall, time.process_time() - processor)
"""
_OPEN = """
import sys, time
from trove_agents.embedded import Trove
Trove.temporary().close()
taken = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    trove = Trove.local(sys.argv[1])
    trove.client("bench").list_dir()
    taken.append(time.perf_counter() - start)
    trove.close()
print(sorted(taken)[len(taken) // 2])
"""


def rows(folder: Path, *, rounds: int) -> list[Row]:
    _seconds(_IMPORT, folder)  # compiles
    imports = zip(*(_seconds(_IMPORT, folder) for _ in range(rounds)), strict=True)
    imported, processor = (statistics.median(taken) * 1e3 for taken in imports)
    (opened,) = (taken * 1e3 for taken in _seconds(_OPEN, folder, str(folder / "state"), str(rounds)))
    idle = _idle(folder) / MB
    return [
        _row("import trove_agents and httpx", imported, "ms", below=150, processor=processor),
        _row("open a local state, list it", opened, "ms", below=100),
        _row("memory of an idle server", idle, "MB", below=120),
    ]


def _row(operation: str, value: float, unit: str, *, below: float, processor: float | None = None) -> Row:
    """``processor``: milliseconds of processor time in it; the rest is waiting, for other programs too."""
    return Row(
        "the house",
        operation,
        f"{value:.0f} {unit}",
        value,
        aim=f"< {below:g} {unit}",
        met=value < below,
        others={} if processor is None else {"processor time": processor * 1e3},
    )


def _seconds(code: str, folder: Path, *arguments: str) -> list[float]:
    """What a fresh interpreter printed. It keeps compiled modules, as it does wherever it may write."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    return [float(number) for number in done.stdout.split()]


def _idle(folder: Path) -> int:
    """Resident bytes of ``trove-agents serve``, after it has answered one call."""
    import psutil

    with serving(folder / "served") as (process, made):
        call = urllib.request.Request(
            made["base_url"] + "/v1/files",
            headers={"authorization": f"Bearer {made['key']}", "x-namespace": "bench"},
        )
        urllib.request.urlopen(call).read()
        time.sleep(0.5)
        return psutil.Process(process).memory_info().rss


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[int, dict[str, str]]]:
    """``trove-agents serve`` with its state in ``state`` of a folder, until the block ends: its process, and what its
    credentials file holds.
    """
    folder.mkdir()
    file = folder / "credentials.json"
    server = subprocess.Popen(
        [
            *(sys.executable, "-c", "from trove_agents.cli import main; main()", "serve", "--port", "0"),
            *("--data", str(folder / "state"), "--credentials-file", str(file), *options),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = clock() + 60
        while True:
            with contextlib.suppress(OSError, ValueError):
                made = json.loads(file.read_bytes())
                urllib.request.urlopen(made["base_url"] + "/healthz").read()
                break
            if clock() > deadline or server.poll() is not None:
                raise RuntimeError("the server did not start")
            time.sleep(0.05)
        yield server.pid, made
    finally:
        server.terminate()
        server.wait()
