"""Which sandbox this machine gets, and the report that says why."""

import functools
import sys

from trove_agents.server.sandbox import binary
from trove_agents.server.sandbox.bubblewrap import Bubblewrap
from trove_agents.server.sandbox.none import WARNING, Unisolated
from trove_agents.server.sandbox.port import Limits, Network, Sandbox, SandboxUnavailable
from trove_agents.server.sandbox.report import Report


def choose(name: str | None, *, network: Network = "none", limits: Limits | None = None) -> Sandbox:
    """The sandbox `name`, or the best of this machine.

    Raises:
        SandboxUnavailable: files, network or processes cannot be isolated as asked.
        ValueError: there is no sandbox of that name.
    """
    if name not in {None, "bubblewrap", "none"}:
        raise ValueError(f"There is no sandbox {name!r}; there are bubblewrap and none.")
    if name == "none":
        return Unisolated(limits=limits)
    sandbox, report = _bubblewrap(network, limits or Limits())
    if sandbox is None:
        raise SandboxUnavailable(report)
    return sandbox


def probe(name: str | None = None, *, network: Network = "none", limits: Limits | None = None) -> Report:
    """What `choose` finds with the same arguments, in full; it never raises for want of isolation."""
    if name == "none":
        return Report(sandbox="none", network="host", problems=[WARNING])
    return _bubblewrap(network, limits or Limits())[1]


@functools.cache
def _bubblewrap(network: Network, limits: Limits) -> tuple[Bubblewrap | None, Report]:
    bwrap = binary.find() if sys.platform == "linux" else None
    if bwrap is None:
        report = Report(sandbox="bubblewrap", network=network, ok=False, problems=["There is no bubblewrap."])
        return None, report
    sandbox = Bubblewrap(bwrap, network=network, limits=limits)
    problem = sandbox.check()
    if problem:
        return None, Report(sandbox="bubblewrap", network=network, ok=False, problems=[problem])
    return sandbox, Report(
        sandbox="bubblewrap",
        network=network,
        version=bwrap.version_text,
        executable=bwrap.path,
        isolated={"files": True, "network": network == "none", "processes": True},
    )
