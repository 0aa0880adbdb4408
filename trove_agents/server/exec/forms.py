"""Which form of working copy a command gets."""

import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from trove_agents.server.exec.copies import DirectoryCopies, WorkingCopies, WorkingCopy
from trove_agents.server.exec.overlay.copies import OverlayCopies
from trove_agents.server.exec.overlay.trial import trial
from trove_agents.server.sandbox import Network, Report, Sandbox, choose
from trove_agents.server.timelines import Namespace

OVERLAY = "overlay"
_log = logging.getLogger("trove_agents.server.exec")


def examined(report: Report, place: Path, network: Network) -> Report:
    """A report on a sandbox that says, too, how commands get their files from below `place`; tried out."""
    if not report.ok or report.sandbox == "none":
        return report
    refused = trial(place, choose(report.sandbox, network=network))
    return msgspec.structs.replace(
        report, working_copies=OVERLAY if refused is None else f"directory: {refused}"
    )


class Copies:
    """Working copies of both forms: overlays where they work and nobody asked for a plain directory."""

    def __init__(self, folder: Path) -> None:
        self._directories: WorkingCopies = DirectoryCopies(folder)
        self._overlays = OverlayCopies(folder / "overlay")
        self._guard = threading.Lock()
        self._tried: dict[str, bool] = {}
        """By the name of the sandbox; tried once in a process."""

    def take(self, namespace: Namespace, sandbox: Sandbox, *, plain: bool) -> WorkingCopy:
        """The namespace's copy, for the caller alone until it is given back."""
        if not plain and self._layered(sandbox):
            return self._overlays.take(namespace)
        return self._directories.take(namespace)

    def prune(self, living: Callable[[], Iterable[str]]) -> None:
        """As ``WorkingCopies.prune``."""
        self._directories.prune(living)
        self._overlays.prune(living)

    def close(self) -> None:
        """Lets go of all of them; what is on disk serves the next process."""
        self._directories.close()
        self._overlays.close()

    def _layered(self, sandbox: Sandbox) -> bool:
        with self._guard:
            if sandbox.name not in self._tried:
                refused = trial(self._overlays.place, sandbox)
                self._tried[sandbox.name] = refused is None
                if refused is not None:
                    _log.info("commands get plain directories, since overlays do not work: %s", refused)
            return self._tried[sandbox.name]
