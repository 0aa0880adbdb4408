"""``python -m trove_agents.guard.faults``: plays scenarios against a guard, kills processes of it, and prints the sheet."""

import argparse
import os
import secrets
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from trove_agents.guard.faults import draw, kit
from trove_agents.guard.faults.kills import Stem, killed
from trove_agents.guard.faults.lives import played
from trove_agents.guard.faults.scenario import ENDINGS, Scenario
from trove_agents.guard.faults.sheet import Sheet, markdown, table

OURS: Final = ("trove_agents.guard.faults.ours:GuardBench", "trove_agents.guard.faults.ours:AsyncGuardBench")


def main(arguments: list[str] | None = None) -> int:
    """0: every run was sound."""
    asked = _parser().parse_args(arguments)
    benches = asked.bench or OURS
    with ExitStack() as opened:
        folder = asked.folder or Path(opened.enter_context(kit.scratch()))
        if asked.replay is not None:
            return _replay(benches[0], Scenario.of(asked.replay), folder)
        _say(f"seed {asked.seed}, in {folder}")
        sheets = [_sheet(name, asked, folder) for name in benches]
    _say()
    _say(markdown(sheets) if asked.markdown else table(sheets))
    for sheet in sheets:
        for run in sheet.examples:
            _say(f"{sheet.subject}: {run}")
    return 0 if all(sheet.sound for sheet in sheets) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trove_agents.guard.faults",
        description="Injects faults into payments, and compares what the vendor took with what the ledger says.",
    )
    parser.add_argument(
        "--bench",
        action="append",
        metavar="MODULE:NAME",
        help="what is tried; by default both guards of this package",
    )
    parser.add_argument("--histories", type=int, default=2000, metavar="N", help="drawn at random (2,000)")
    parser.add_argument(
        "--endings",
        nargs="*",
        choices=ENDINGS,
        default=ENDINGS,
        help="of a tool, for which every moment is tried; by default all, none for histories alone",
    )
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="processes to kill -9 (200)")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(10**9), metavar="N", help="draws the same again"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes beside one another"
    )
    parser.add_argument(
        "--folder", type=Path, help="a folder that is there; by default one in memory, which is removed"
    )
    parser.add_argument("--markdown", action="store_true", help="the sheet as a table of Markdown")
    parser.add_argument(
        "--replay", metavar="SCENARIO", help="plays one that was printed, and says what struck when"
    )
    return parser


def _sheet(name: str, asked: argparse.Namespace, folder: Path) -> Sheet:
    began = time.monotonic()
    sheet = Sheet(name)
    jobs = draw.jobs(asked.seed, asked.histories, asked.endings)
    for done in kit.play_beside(name, jobs, folder, asked.workers):
        sheet.subject = done.subject
        sheet.add_all(done)
        _progress(f"{name}: {sheet.runs:,} runs, {sheet.crashes:,} crashes, {sheet.unsound:,} unsound")
    if asked.kills:
        home = folder / f"kills of {name.rpartition(':')[2]}"
        home.mkdir()
        with Stem(name, home) as stem:
            kills = 0
            for run in killed(stem, asked.seed, asked.kills):
                sheet.add(run)
                kills += run.crashes
                _progress(f"{name}: {kills:,} processes killed, {sheet.unsound:,} unsound")
    sheet.seconds = time.monotonic() - began
    _progress("")
    return sheet


def _replay(name: str, scenario: Scenario, folder: Path) -> int:
    bench = kit.maker(name)(folder / "bench")
    try:
        run = played(bench, scenario, folder, "replay")
    finally:
        bench.close()
    for fault, moment in run.struck:
        _say(f"{fault.what:16} {moment}")
    _say(str(run))
    return 0 if run.sound else 1


def _say(line: str = "") -> None:
    print(line, flush=True)  # noqa: T201 - it is a command


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
