"""The peers, by their public interfaces, set up as their documentation says. Those that are not installed are left out.

None of them isolates commands, and deepagents' files are not durable: fsync is left to the system.
"""

import asyncio
import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import sample

HELD = 1_000
"""Files that agentfs holds at most: it takes minutes to fill. Fewer than the others only helps it."""


class Peer(Protocol):
    """What can be compared. An operation that a peer does not have is None."""

    name: str
    write: Callable[[int], object]
    create: Callable[[int], object]
    read: Callable[[int], object]
    list: Callable[[int], object]
    exec: Callable[[int], object] | None

    def close(self) -> None: ...


class AgentFs:
    """agentfs-sdk: files in a database file. Async only: each call is run to its end on a loop of its own."""

    name = "agentfs-sdk"
    exec = None

    def __init__(self, folder: Path, files: int) -> None:
        from agentfs_sdk import AgentFS, AgentFSOptions

        self._loop = asyncio.new_event_loop()
        self._files = min(files, HELD)
        self._open = self._run(AgentFS.open(AgentFSOptions(path=str(folder / "agentfs.db"))))
        for name, text in sample.every(self._files):
            self._run(self._open.fs.write_file("/" + name, text))
        assert len(self._run(self._open.fs.readdir("/" + sample.LISTED))) == min(files, 100)
        assert self._run(self._open.fs.read_file("/" + sample.path(0))) == sample.content(0)

    def write(self, turn: int) -> object:
        return self._run(
            self._open.fs.write_file(
                "/" + sample.scattered(turn, self._files), sample.content(turn, "agentfs")
            )
        )

    def create(self, turn: int) -> object:
        return self._run(self._open.fs.write_file(f"/new/f{turn}", sample.content(turn, "agentfs")))

    def read(self, turn: int) -> object:
        return self._run(self._open.fs.read_file("/" + sample.scattered(turn, self._files)))

    def list(self, turn: int) -> object:
        """Names only: it has no listing with sizes and times."""
        return self._run(self._open.fs.readdir("/" + sample.LISTED))

    def close(self) -> None:
        self._run(self._open.close())
        self._loop.close()

    def _run(self, call: Any) -> Any:
        return self._loop.run_until_complete(call)


class DeepAgents:
    """deepagents' LocalShellBackend, which is its FilesystemBackend and a shell, on a plain folder."""

    name = "deepagents"

    def __init__(self, root: Path, files: int) -> None:
        from deepagents.backends import LocalShellBackend

        self._backend = LocalShellBackend(root, virtual_mode=True, inherit_env=True)
        self._files = files
        assert len(self._backend.ls("/" + sample.LISTED).entries) == min(files, 100)
        self.read(0)

    def write(self, turn: int) -> object:
        return self._good(
            self._backend.write("/" + sample.scattered(turn, self._files), sample.content(turn, "deepagents"))
        )

    def create(self, turn: int) -> object:
        return self._good(self._backend.write(f"/new/f{turn}", sample.content(turn, "deepagents")))

    def read(self, turn: int) -> object:
        return self._good(self._backend.read("/" + sample.scattered(turn, self._files)))

    def list(self, turn: int) -> object:
        return self._good(self._backend.ls("/" + sample.LISTED))

    def exec(self, turn: int) -> object:
        done = self._backend.execute("true")
        if done.exit_code != 0:
            raise RuntimeError(done.output)
        return done

    def close(self) -> None:
        return

    def _good(self, result: Any) -> Any:
        if result.error is not None:
            raise RuntimeError(result.error)
        return result


def missing() -> list[str]:
    """Those that are not installed here."""
    modules = {"agentfs-sdk": "agentfs_sdk", "deepagents": "deepagents"}
    return [name for name, module in modules.items() if importlib.util.find_spec(module) is None]


def version(name: str) -> str:
    return importlib.metadata.version(name)


def opened(folder: Path, posix_root: Path, files: int) -> list[Peer]:
    absent = missing()
    found: list[Peer] = []
    if "agentfs-sdk" not in absent:
        found.append(AgentFs(folder, files))
    if "deepagents" not in absent:
        found.append(DeepAgents(posix_root, files))
    return found
