"""The operations at one size: each a race of ours, its floor and the peers."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import peers
import sandboxed
from floors import Git, Posix, Sqlite, TarGz
from ours import BATCH, Ours
from race import Contender, Step, race
from report import Row, raced


@dataclass(frozen=True, slots=True)
class Turns:
    """How often each is timed."""

    settle: int
    read: int
    write: int
    exec: int
    archive: int


def rows(folder: Path, files: int, turns: Turns, say: Callable[[str], None]) -> tuple[list[Row], list[str]]:
    """The rows of one size, and remarks."""
    section = f"{files:,} files"
    found: list[Row] = []
    notes: list[str] = []

    def take(operation: str, *arguments: object, **options: object) -> None:
        row = raced(section, operation, *arguments, **options)
        found.append(row)
        say(f"{row.operation}: {row.figure}, {row.ratio:.2f}x {row.floor}")

    with contextlib.ExitStack() as stack:
        floor, posix = Sqlite(folder, files), Posix(folder, files)
        stack.callback(floor.close)
        ours = Ours(folder, files)
        stack.callback(ours.close)
        notes.append(
            f"{files:,} files were put by the store in versions of {BATCH:,}: "
            f"{ours.fill_seconds:.1f} s, {files / ours.fill_seconds:,.0f} files/s"
        )
        say(notes[-1])
        others = peers.opened(folder, posix.root, files)
        for other in others:
            stack.callback(other.close)
        names = tuple(other.name for other in others)

        def against(operation: str, **contenders: Step) -> dict[str, Step | Contender]:
            return {**contenders, **{other.name: getattr(other, operation) for other in others}}

        # A write-ahead log that still grows is synced more slowly than one that starts over
        for turn in range(turns.settle):
            floor.commit(turn)
            ours.write(turn)
        commit, select, scan = "SQLite commit", "SQLite SELECT", "SQLite SELECT of 100"
        times = race(
            turns.write,
            {
                commit: floor.commit,
                "the store": ours.store_write,
                **against("write", ours=ours.write, POSIX=posix.write),
            },
        )
        take("write 1 KB over a file", times, floor=commit, at_most=2.0)
        times = race(turns.write, {commit: floor.commit, **against("create", ours=ours.create)})
        take("write 1 KB, a new file", times, floor=commit, at_most=2.0)
        times = race(
            turns.read,
            {
                select: floor.read,
                "the store": ours.store_read,
                **against("read", ours=ours.read, POSIX=posix.read),
            },
        )
        take("read 1 KB", times, floor=select, at_most=5.0, faster_than=names)
        times = race(
            turns.write,
            {
                scan: floor.list,
                "the store": ours.store_list,
                **against("list", ours=ours.list, POSIX=posix.list),
            },
        )
        take("list 100", times, floor=scan, at_most=2.5)

        times = race(turns.write, {commit: floor.commit, "ours": ours.snapshot})
        take("snapshot", times, floor=commit, at_most=1.3)
        times = race(turns.write, {commit: floor.commit, "ours": ours.restore()})
        take("restore", times, floor=commit, at_most=2.5)
        for operation, contender in (
            ("snapshot", ours.store_snapshot),
            ("fork", ours.store_fork),
            ("restore", ours.store_restore()),
        ):
            times = race(turns.write, {commit: floor.commit, "ours": contender})
            take(f"{operation}, in the store", times, floor=commit, at_most=1.2)

        times = race(turns.write, {commit: floor.commit, "ours": ours.fork})
        take("fork", times, floor=commit)
        times = race(turns.write, {commit: floor.commit, "ours": ours.reference()})
        take("step reference", times, floor=commit)
        times = race(turns.read, {scan: floor.list, "ours": ours.diff()})
        take("diff of 10 changes", times, floor=scan)
        times = race(turns.read, {scan: floor.list, "ours": ours.history})
        take("history of a path", times, floor=scan)

        # Before the races of archives, which leave the folder's files elsewhere on the disk
        bare = sandboxed.Bare.here()
        if isinstance(bare, str):
            notes.append(f"exec was not timed: {bare}")
        else:
            shells = {other.name: other.exec for other in others if other.exec is not None}
            times = race(
                turns.exec,
                {"bare bwrap": bare.run, "ours": ours.exec, "scan": posix.scan, **shells},
                warm_up=2,
            )
            overlays = ours.overlays
            plus = None if overlays else "scan"  # a plain folder is looked through after each command
            take("exec of true", times, floor="bare bwrap", at_most=1.3, plus=plus)
            before = ours.copies_bytes()
            times = race(turns.exec, {"bare bwrap": bare.run, "ours": ours.fork_and_exec}, warm_up=2)
            within = 20_000.0 if files <= 10_000 else 35_000.0
            take("fork to first exec", times, floor="bare bwrap", within=within if overlays else None)
            each = (ours.copies_bytes() - before) / (turns.exec + 2)
            notes.append(
                f"{files:,} files, {'overlay' if overlays else 'directory'} form: each fork in which a command ran "
                f"takes {each / 1024:,.0f} KB of disk"
            )
            say(notes[-1])

        archive, git = TarGz(folder, posix.root), Git(folder, posix.root)
        git.snapshot(0)
        times = race(
            turns.archive,
            {
                commit: floor.commit,
                "ours": ours.snapshot,
                "tar.gz": archive.snapshot,
                "git after 10 changes": Contender(git.snapshot, posix.change),
            },
            warm_up=0,
        )
        take("snapshot, beside archives", times, floor=commit)
        times = race(
            turns.archive,
            {
                commit: floor.commit,
                "ours": ours.restore(),
                "tar.gz": archive.restore,
                "git after 10 changes": Contender(git.restore, posix.change),
            },
            warm_up=0,
        )
        take("restore, beside archives", times, floor=commit)
    return found, notes


def flat(found: list[Row], sizes: list[int], within: str = "") -> list[Row]:
    """Whether what should not depend on the size does not: the ratio at the largest against that at the smallest.

    Args:
        found: Rows of all sizes.
        sizes: Which.
        within: What their sections begin with.
    """
    if len(sizes) < 2:
        return []
    sections = [f"{within}{size:,} files" for size in sizes]
    ratios = {(row.section, row.operation): row.ratio for row in found}
    result = []
    for operation in dict.fromkeys(row.operation for row in found if row.section in sections):
        if operation.endswith(("archives", "copies")) or operation.startswith("exec"):
            continue
        each = [ratios.get((section, operation)) for section in sections]
        if any(ratio is None for ratio in each):
            continue
        growth = each[-1] / each[0]
        bounded = operation.startswith(("snapshot", "fork", "restore", "step"))
        result.append(
            Row(
                f"{within}from {sizes[0]:,} to {sizes[-1]:,} files",
                operation,
                " → ".join(f"{ratio:.2f}x" for ratio in each),
                growth,
                "the smallest size",
                growth,
                "flat: ≤ 1.3x" if bounded else "",
                growth <= 1.3 if bounded else None,
            )
        )
    return result
