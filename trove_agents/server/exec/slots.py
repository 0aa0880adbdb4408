"""A folder of working copies for one process: taken by a file lock, which the system gives up with the process."""

import fcntl
import hashlib
import itertools
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from trove_agents.server.exec.shell import plain
from trove_agents.server.exec.tree import Tree

_SECRET_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Slot:
    """The first free one of a folder's numbered slots, so that a lone server finds its copies again."""

    folder: Path
    process: int
    lock: int
    secret: bytes
    temporary: bool = False
    """The copies go with the slot."""

    @classmethod
    def take(cls, folder: Path) -> Self:
        """Takes a slot below ``folder``. Where that path would need quoting in a command, the copies are laid in the
        system's temporary folder: without a mount a command is given paths of the host.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = folder.resolve()
        for number in itertools.count():
            lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            secret = os.read(lock, _SECRET_BYTES)
            if len(secret) != _SECRET_BYTES:
                secret = secrets.token_bytes(_SECRET_BYTES)
                os.pwrite(lock, secret, 0)
            if plain(str(folder)):
                own = folder / str(number)
                own.mkdir(mode=0o700, exist_ok=True)
                return cls(own, os.getpid(), lock, secret)
            own = Path(tempfile.mkdtemp(prefix="trove-")).resolve()
            return cls(own, os.getpid(), lock, secret, temporary=True)
        raise AssertionError("slots are without number")

    def name(self, text: str) -> str:
        """A name for a copy that says nothing about what is in it: commands can see the host's path of theirs in
        ``/proc/self/mountinfo``. The same at every call, so that no table is needed.
        """
        return hashlib.blake2b(os.fsencode(text), key=self.secret, digest_size=12).hexdigest()

    def copies(self) -> list[str]:
        """The names of the copies that a former process left, the least recently used one first."""
        found = [
            (_used(entry.path), entry.name) for entry in os.scandir(self.folder) if "." not in entry.name
        ]
        return [name for _, name in sorted(found)]

    def forget(self) -> None:
        """For a process that inherited it: lets go of what would keep it locked after its owner's end."""
        os.close(self.lock)

    def release(self) -> None:
        """For the process that took it."""
        if self.temporary:
            with Tree(self.folder) as tree:
                tree.clear()
            self.folder.rmdir()
        os.close(self.lock)


def _used(path: str) -> float:
    try:
        return Path(f"{path}.state").stat().st_mtime
    except FileNotFoundError:
        return 0.0
