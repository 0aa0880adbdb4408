"""How large a namespace may grow: docs/wire.md, "Quotas"."""

from dataclasses import dataclass
from typing import Final

from trove_agents.server.errors import QuotaExceeded
from trove_agents.server.timelines import Namespace


@dataclass(frozen=True, slots=True)
class Quotas:
    """What holds for namespaces that have no quota of their own; None: they may grow without end."""

    files: int | None = None
    bytes: int | None = None

    def of(self, space: Namespace) -> "Quotas":
        """What holds for one namespace."""
        return Quotas(
            self.files if space.quota_files is None else space.quota_files,
            self.bytes if space.quota_bytes is None else space.quota_bytes,
        )

    def check(self, before: Namespace, after: Namespace) -> None:
        """Refuses a change that makes a namespace larger than it may be, in the transaction of the change.

        What a change does not make larger may be over: its owner can always tidy up, and a state of its own past may
        be larger. The totals come with the namespace, so this costs no statement.

        Raises:
            QuotaExceeded: ``after`` is over, in what has grown.
        """
        own = self.of(before)
        _check("bytes", own.bytes, before.bytes, after.bytes)
        _check("files", own.files, before.files, after.files)

    def check_room(self, space: Namespace, more: int) -> None:
        """Refuses bytes that are still to come. Errors as ``check``."""
        _check("bytes", self.of(space).bytes, space.bytes, space.bytes + more)


NO_QUOTAS: Final = Quotas()


def _check(what: str, limit: int | None, used: int, needed: int) -> None:
    if limit is None or needed <= max(limit, used):
        return
    raise QuotaExceeded(
        f"the namespace may hold {limit:,} {what}; it holds {used:,}, and this would make it {needed:,}. Nothing was "
        "kept",
        errors=[{"quota": what, "limit": limit, "used": used, "needed": needed}],
    )
