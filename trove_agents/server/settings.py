"""What a server is told at its start."""

from dataclasses import dataclass
from pathlib import Path

from trove_agents.server.sandbox import Network


@dataclass(frozen=True, slots=True)
class Settings:
    """One server on one state directory."""

    folder: Path
    """Everything it keeps: database, blobs, working copies. Mode 700."""
    sandbox: str | None = None
    """None: the best of this machine, and no commands where it cannot isolate. ``none`` runs them unprotected."""
    network: Network = "none"
    """What commands may reach: nothing, the internet without the host's own networks, or all that the host can."""
    open_signup: bool = False
    """Whether strangers may make workspaces with ``POST /v1/workspaces``."""
