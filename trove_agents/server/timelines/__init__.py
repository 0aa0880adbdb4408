"""The tree: copy-on-write timelines in SQL. Store only: functions over a connection, nothing begins a transaction.

A **timeline** is a branch: its own rows lie over those of its base at a fixed version. A **version** is the
namespace's clock in nanoseconds. A snapshot is a row, a fork and a restore are a new timeline over a state: none
copies anything. The database is the tree; there is nothing else to keep in step with it.

Knows nothing of HTTP, quotas, rights or events: services call this inside their transactions.
"""

from trove_agents.server.timelines.chain import unchanged
from trove_agents.server.timelines.change import Change
from trove_agents.server.timelines.collection import Collection
from trove_agents.server.timelines.comparison import ancestry, differences, history, some
from trove_agents.server.timelines.contents import (
    INLINE_BYTES,
    digests,
    payload,
    payload_of,
    read_content,
    read_contents,
)
from trove_agents.server.timelines.errors import (
    AlreadyExists,
    BadPath,
    Conflict,
    IsADirectory,
    Missing,
    NotADirectory,
    NotFound,
    TimelineError,
)
from trove_agents.server.timelines.fast import read_head
from trove_agents.server.timelines.flattening import Flattening, depth, flatten
from trove_agents.server.timelines.namespaces import (
    at_version,
    create_namespace,
    head,
    log_rows,
    namespace,
    totals,
)
from trove_agents.server.timelines.reads import children, find
from trove_agents.server.timelines.referring import delete_references, refer, reference, references
from trove_agents.server.timelines.retention import Retention, kept
from trove_agents.server.timelines.rewinding import (
    FORGOTTEN,
    delete_snapshot,
    forget,
    living,
    restore,
    snapshot,
    snapshot_by_id,
    snapshots,
)
from trove_agents.server.timelines.values import (
    At,
    Difference,
    Entry,
    Kind,
    LogRow,
    Namespace,
    Payload,
    ReferenceRow,
    SnapshotRow,
)
from trove_agents.server.timelines.walking import Place, walk

__all__ = [
    "FORGOTTEN",
    "INLINE_BYTES",
    "AlreadyExists",
    "At",
    "BadPath",
    "Change",
    "Collection",
    "Conflict",
    "Difference",
    "Entry",
    "Flattening",
    "IsADirectory",
    "Kind",
    "LogRow",
    "Missing",
    "Namespace",
    "NotADirectory",
    "NotFound",
    "Payload",
    "Place",
    "ReferenceRow",
    "Retention",
    "SnapshotRow",
    "TimelineError",
    "ancestry",
    "at_version",
    "children",
    "create_namespace",
    "delete_references",
    "delete_snapshot",
    "depth",
    "differences",
    "digests",
    "find",
    "flatten",
    "forget",
    "head",
    "history",
    "kept",
    "living",
    "log_rows",
    "namespace",
    "payload",
    "payload_of",
    "read_content",
    "read_contents",
    "read_head",
    "refer",
    "reference",
    "references",
    "restore",
    "snapshot",
    "snapshot_by_id",
    "snapshots",
    "some",
    "totals",
    "unchanged",
    "walk",
]
