"""The public limits of the Files API. 1 MB is 1,048,576 bytes."""

import re
from typing import Final

MB: Final = 1024 * 1024

EXEC_SECONDS: Final = 30.0
EXEC_STDIN_BYTES: Final = MB
EXEC_OUTPUT_BYTES: Final = MB
"""Of each stream; the rest is drained and dropped."""
EXEC_HEARTBEAT_SECONDS: Final = 15.0
"""The longest silence of a stream."""
EXEC_COMMAND_BYTES: Final = MB
EXEC_ENV_NAMES: Final = 128
EXEC_ENV_BYTES: Final = 64 * 1024
"""Of all names and values together."""
ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""For ``fullmatch``, as ``NAMESPACE``."""

WRITE_BYTES: Final = 10 * MB
UPLOAD_BYTES: Final = 100 * MB
DOWNLOAD_BYTES: Final = 100 * MB
TREE_BYTES: Final = 1_024 * MB
"""Of a whole archive that is put."""
TREE_ENTRIES: Final = 100_000
"""In it, with the directories that only its names imply."""
TREE_PATHS_BYTES: Final = 32 * MB
"""Of their paths together: those of a deep tree are longer, all together, than the archive."""
TEXT_BYTES: Final = MB
"""What one text read returns at most."""

LIST_ENTRIES: Final = 1_000
LIST_LEVELS: Final = 20
LIST_PAGE: Final = 1_000
SNAPSHOTS_LISTED: Final = 200
SNAPSHOT_LABEL_CHARACTERS: Final = 128
EVENTS_PAGE: Final = 200
NAMESPACES_PAGE: Final = 200
DIFF_PAGE: Final = 1_000
HISTORY_PAGE: Final = 200
LEASE_SECONDS: Final = 3_600
"""The longest time until a lease ends by itself."""
REFERENCES_PAGE: Final = 200
REFERENCES_DELETED: Final = 1_000
"""In one call."""
REFERENCE_NAME_BYTES: Final = 512
"""Of a reference's thread, and of its step."""

PATH_BYTES: Final = 4_096
SEGMENT_BYTES: Final = 255

NAMESPACE: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""For ``fullmatch``: ``$`` alone would let a trailing newline through."""
