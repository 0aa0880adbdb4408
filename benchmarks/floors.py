"""The floors: what the same effect costs when nothing but the bare means is used."""

import os
import shutil
import sqlite3
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import sample


class Sqlite:
    """The driver alone, with the store's durability (WAL, synchronous=FULL) and as many rows as there are files."""

    def __init__(self, folder: Path, files: int) -> None:
        self._raw = connect(folder / "floor.db")
        self._raw.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, k TEXT UNIQUE, b BLOB)")
        self._raw.execute("BEGIN")
        self._raw.executemany(
            "INSERT INTO t(k, b) VALUES (?, ?)", ((name, text.encode()) for name, text in sample.every(files))
        )
        self._raw.execute("COMMIT")
        self._files = files

    def commit(self, turn: int) -> None:
        """One row of 1 KB, in a durable transaction of its own."""
        self._raw.execute("BEGIN IMMEDIATE")
        self._raw.execute("INSERT INTO t(b) VALUES (?)", (sample.content(turn, "floor").encode(),))
        self._raw.execute("COMMIT")

    def read(self, turn: int) -> object:
        return self._raw.execute(
            "SELECT b FROM t WHERE k = ?", (sample.scattered(turn, self._files),)
        ).fetchone()

    def list(self, turn: int) -> object:
        return self._raw.execute(
            "SELECT id, k, 1, 2, 3 FROM t WHERE k >= ? AND k < ? ORDER BY k",
            (sample.LISTED + "/", sample.LISTED + "0"),
        ).fetchall()

    def close(self) -> None:
        self._raw.close()


def connect(file: Path) -> sqlite3.Connection:
    raw = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")
    return raw


class Posix:
    """A plain folder."""

    def __init__(self, folder: Path, files: int) -> None:
        self.root = folder / "posix"
        self._files = files
        made: set[str] = set()
        for name, text in sample.every(files):
            above = name.rpartition("/")[0]
            if above not in made:
                (self.root / above).mkdir(parents=True)
                made.add(above)
            (self.root / name).write_text(text)

    def write(self, turn: int) -> None:
        """A temporary file, synced, then renamed: what a careful program does (the directory is not synced)."""
        target = f"{self.root}/{sample.scattered(turn, self._files)}"
        with open(target + "~", "w") as file:
            file.write(sample.content(turn, "posix"))
            file.flush()
            os.fsync(file.fileno())
        os.rename(target + "~", target)

    def read(self, turn: int) -> str:
        with open(f"{self.root}/{sample.scattered(turn, self._files)}") as file:
            return file.read()

    def list(self, turn: int) -> object:
        with os.scandir(f"{self.root}/{sample.LISTED}") as found:
            return [(entry.name, entry.is_dir(), entry.stat(follow_symlinks=False)) for entry in found]

    def scan(self, turn: int) -> int:
        """scandir and stat of the whole tree: what any look for changes in a folder costs in this language."""
        pending, seen = [str(self.root)], 0
        while pending:
            with os.scandir(pending.pop()) as found:
                for entry in found:
                    entry.stat(follow_symlinks=False)
                    seen += 1
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        return seen

    def change(self, turn: int) -> None:
        """Ten files get other contents."""
        for each in range(10):
            number = turn * 10 + each
            (self.root / sample.scattered(number, self._files)).write_text(sample.content(number, "changed"))


class TarGz:
    """The public service's way: the whole tree into an archive, and back in place of what is there."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._archive = folder / "snapshot.tar.gz"
        self._root = root

    def snapshot(self, turn: int) -> None:
        with tarfile.open(self._archive, "w:gz", compresslevel=6) as archive:
            archive.add(self._root, ".")
        with self._archive.open("rb") as file:
            os.fsync(file.fileno())

    def restore(self, turn: int) -> None:
        fresh = self._root.with_name("fresh")
        with tarfile.open(self._archive, "r:gz") as archive:
            archive.extractall(fresh, filter="fully_trusted")
        shutil.rmtree(self._root)
        fresh.rename(self._root)


class Git:
    """A repository beside the tree. Snapshots and restores after ten changes: git only looks at what changed."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._base = ["git", f"--git-dir={folder / 'snapshots.git'}", f"--work-tree={root}"]
        self._environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "HOME": str(folder)}
        self._call("init", "--quiet")
        self._call("config", "core.autocrlf", "false")
        self._call("config", "gc.auto", "0")
        self._tree = ""

    def snapshot(self, turn: int) -> None:
        self._call("add", "--all", ".")
        self._tree = self._call("write-tree").strip()

    def restore(self, turn: int) -> None:
        self._call("read-tree", "-u", "--reset", self._tree)

    def _call(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._base, *arguments],
            cwd=self._base[2].partition("=")[2],
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout


class Process:
    """One command with the given arguments, from start to exit, its output read."""

    def __init__(self, arguments: Sequence[str], *, cwd: Path | None = None) -> None:
        self._arguments = list(arguments)
        self._cwd = cwd

    def run(self, turn: int) -> None:
        done = subprocess.run(
            self._arguments,
            cwd=self._cwd,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace"))
