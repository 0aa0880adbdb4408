"""Header names of the Files API."""

from typing import Final

NAMESPACE: Final = "X-Namespace"
"""Request: the namespace a runtime call is about. Optional for keys that are locked to one."""

SIZE: Final = "X-Trove-Size"
"""Response of a download: the file's full size in bytes, always sent."""

TRUNCATED: Final = "X-Trove-Truncated"
"""Response of a download: the text ``1``, only when the body was cut."""

STEP: Final = "X-Trove-Step"
"""Request: the step of an agent's that a change is for; see ``steps.py``."""

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
"""Request: what this call is known by, so that it is done once however often it is sent."""

REPLAYED: Final = "Idempotency-Replayed"
"""Response: the text ``true``, only when the answer is that of an earlier call with the same key."""

REFERENCE: Final = "X-Trove-Reference"
"""Request: the text ``1`` with a change of files, to take a step reference to what it leads to."""

LEASE: Final = "X-Trove-Lease"
"""Request: the id of the lease that a change is made under."""

SIGNATURE: Final = "X-Trove-Signature"
EVENT: Final = "X-Trove-Event"
EVENT_ID: Final = "X-Trove-Event-Id"
