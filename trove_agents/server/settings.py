"""What a server is told at its start."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from trove_agents.server.sandbox import SANDBOXES, Network

_URLS: Final = ("postgresql://", "postgres://")
_BUCKET: Final = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9.-]+(/[^?#@]*)?")
"""No place for secrets: they would show in process lists and logs."""
_NETWORKS: Final[tuple[str, ...]] = get_args(Network)
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Settings:
    """One server on one state directory.

    Raises:
        ValueError: there is no sandbox or no network of that name, the URL is no database's, or a number of days or
            seconds is out of bounds. What this machine can do is seen later, when a command needs it.
    """

    folder: Path
    """Everything it keeps: database, blobs, working copies. Mode 700."""
    database_url: str | None = None
    """A ``postgresql://`` database instead of the one in the folder. Several servers may share it, if they also share
    the blobs."""
    blobs: str | None = None
    """``s3://bucket/prefix`` instead of the folder ``blobs``. Where it is and who asks say the usual ``AWS_*``
    variables."""
    sandbox: str | None = None
    """None: the best of this machine, and no commands where it cannot isolate. ``none`` runs them unprotected."""
    network: Network = "none"
    """What commands may reach: nothing, the internet without the host's own networks, or all that the host can."""
    open_signup: bool = False
    """Whether strangers may make workspaces with ``POST /v1/workspaces``."""
    history_days: int | None = 30
    """For how long a namespace can be read as it was at any time; what snapshots hold is kept beyond. None: for good."""
    snapshot_days: int | None = None
    """After how long snapshots expire that somebody took; None: never. Automatic ones do after 30 days."""
    event_days: int | None = 90
    """After how long events are forgotten; None: never."""
    quota_bytes: int | None = None
    """The sum of the sizes of the files that a namespace may grow to, unless it has a quota of its own; None: no end."""
    quota_files: int | None = None
    """How many files and links a namespace may grow to; as ``quota_bytes``."""
    exec_max_seconds: float = 600.0
    """The longest time that a caller may ask for a command. One that asks for none gets 30 seconds, or this if less."""

    def __post_init__(self) -> None:
        if self.sandbox is not None and self.sandbox not in SANDBOXES:
            raise ValueError(f"there is no sandbox {self.sandbox!r}: it is one of {', '.join(SANDBOXES)}")
        if self.network not in _NETWORKS:
            raise ValueError(f"there is no network {self.network!r}: it is one of {', '.join(_NETWORKS)}")
        if self.database_url is not None and not self.database_url.startswith(_URLS):
            raise ValueError("database_url is a postgresql:// URL")
        if self.blobs is not None and not _BUCKET.fullmatch(self.blobs):
            raise ValueError(
                "blobs is s3://bucket/prefix; credentials and endpoint come from AWS_* variables"
            )
        for name in ("history_days", "snapshot_days", "event_days", "quota_bytes", "quota_files"):
            days = getattr(self, name)
            if days is not None and days < 1:
                raise ValueError(f"{name} is at least 1, or None for no end")
        if not 1 <= self.exec_max_seconds <= _DAY:
            raise ValueError(f"exec_max_seconds is at least 1 and at most {_DAY:,}")
