"""Commands as plain processes of this machine: no isolation at all, and only for those who ask for it by name."""

import contextlib
import logging
import tempfile
from pathlib import Path

from trove_agents.server.sandbox.plain import start
from trove_agents.server.sandbox.port import Command, Limits, Network, Outcome, Overlay
from trove_agents.server.sandbox.supervise import Streams, supervise
from trove_agents.server.sandbox.watch import Watcher

WARNING = (
    "Commands run without a sandbox: they can read and change whatever this user can, reach the network, and "
    "leave processes behind."
)
_log = logging.getLogger(__name__)


class Unisolated:
    """Runs each command as a process group of the server's own user."""

    name = "none"
    inner_root = None
    network: Network = "host"

    def __init__(self, *, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        _log.warning(WARNING)

    def layered(self, root: Path, overlay: Overlay, script: str) -> str:  # noqa: ARG002 - of the port
        """See `Sandbox.layered`."""
        return "without a sandbox nothing is mounted"

    async def run(self, command: Command) -> Outcome:
        """See `Sandbox.run`; only processes that keep their group or their environment are sure to be killed."""
        with contextlib.ExitStack() as stack:
            streams = Streams.open(command)
            stack.callback(streams.close)
            tree = start(command, streams, tempfile.gettempdir())
            stack.callback(tree.close)
            watch = Watcher(command.root, self.limits)
            return await supervise(command, tree, streams, watch)
