"""What a service may answer instead of a result, and which HTTP status each one is.

Services raise these and know nothing of HTTP; the edge turns them into the error body of the wire.
The texts reach callers: they name paths as ``workspace/...`` and nothing of the host.
"""

from typing import Any, ClassVar, Final

from trove_agents.server.blobs import Expired, Unreachable
from trove_agents.server.db import failures
from trove_agents.wire.errors import ErrorBody
from trove_agents.wire.leases import LeasedBody


class ServiceError(Exception):
    """The call was refused or could not be done; nothing was changed unless the class says so."""

    code: ClassVar[str] = "error"

    def __init__(self, detail: str, *, errors: list[dict[str, Any]] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors

    @property
    def body(self) -> ErrorBody:
        return ErrorBody(self.detail, self.code, self.errors)


class BadRequest(ServiceError):
    """A bad path, namespace or cursor."""

    code = "bad-request"


class Unauthorized(ServiceError):
    """No key, or one that is unknown or revoked."""

    code = "unauthorized"


class PaymentRequired(ServiceError):
    """A payment is over what may be spent; nothing was taken or held."""

    code = "insufficient-funds"


class Forbidden(ServiceError):
    """The key is good, but not for this."""

    code = "forbidden"


class NotFound(ServiceError):
    """No such file, snapshot or key."""

    code = "not-found"


class CommandTimeout(ServiceError):
    """A command ran past its limit and was killed; the files it had written are kept."""

    code = "command-timeout"


class Conflict(ServiceError):
    """The state of the namespace does not allow it."""

    code = "conflict"


class WorkspaceLeased(Conflict):
    """Another holds a lease on the namespace; ask again in ``retry_after`` seconds."""

    code = "workspace-leased"

    def __init__(
        self,
        detail: str,
        *,
        holder: str | None = None,
        expires_at: str | None = None,
        retry_after: int = 1,
    ) -> None:
        super().__init__(detail)
        self.holder = holder
        self.expires_at = expires_at
        self.retry_after = retry_after

    @property
    def body(self) -> ErrorBody:
        return LeasedBody(self.detail, self.code, holder=self.holder, expires_at=self.expires_at)


class LeaseLost(Conflict):
    """The lease that the call was to be made under is not held any more."""

    code = "lease-lost"


class InFlight(Conflict):
    """The call of this ``Idempotency-Key`` is still being done; ask again in ``retry_after`` seconds."""

    code = "idempotency-in-flight"
    retry_after = 1


class AnswerNotKept(Conflict):
    """The call of this ``Idempotency-Key`` was done, and its answer is gone."""

    code = "idempotency-answer-not-kept"


class Gone(ServiceError):
    """What the call is about has ended."""

    code = "gone"


class PreconditionFailed(ServiceError):
    """``If-Match`` or ``If-None-Match`` does not hold; nothing was done."""

    code = "precondition-failed"


class RangeNotSatisfiable(ServiceError):
    """A download asks for bytes after the end of the file."""

    code = "range-not-satisfiable"

    def __init__(self, detail: str, *, size: int = 0) -> None:
        super().__init__(detail)
        self.size = size


class TooLarge(ServiceError):
    """A body over its limit."""

    code = "too-large"


class QuotaExceeded(ServiceError):
    """A change would make a namespace larger than it may be, or a command went over a limit of its sandbox."""

    code = "quota-exceeded"


class Unprocessable(ServiceError):
    """The body or the query is not of the call's form; ``errors`` names the fields."""

    code = "unprocessable"


class KeyReused(Unprocessable):
    """An ``Idempotency-Key`` that belongs to another request."""

    code = "idempotency-mismatch"


class Busy(ServiceError):
    """Another command holds the namespace; try again in ``retry_after`` seconds."""

    code = "busy"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Unavailable(Busy):
    """The server is shutting down, or another process kept its database for too long."""

    code = "unavailable"


class StorageFull(ServiceError):
    """The server has no room left. Reads and deletions may still work, repeating the call does not help."""

    code = "storage-full"


class StorageFailed(ServiceError):
    """The server's disk or database failed; whether the change was kept is not known before its next start."""

    code = "storage-failed"


class Internal(ServiceError):
    """A bug; the log has it."""

    code = "internal"


class SandboxMissing(ServiceError):
    """This server cannot isolate commands, so it runs none."""

    code = "sandbox-unavailable"


class Replayed(Exception):
    """No error: the call was done before, and this is the answer that it got then."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


STATUS: Final[dict[type[ServiceError], int]] = {
    BadRequest: 400,
    Unauthorized: 401,
    PaymentRequired: 402,
    Forbidden: 403,
    NotFound: 404,
    CommandTimeout: 408,
    Conflict: 409,
    Gone: 410,
    PreconditionFailed: 412,
    TooLarge: 413,
    QuotaExceeded: 413,
    RangeNotSatisfiable: 416,
    Unprocessable: 422,
    StorageFailed: 500,
    SandboxMissing: 501,
    Busy: 503,
    StorageFull: 507,
}


def status(error: ServiceError) -> int:
    """The HTTP status of an error, found by walking the ancestry of its class."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def of_storage(error: Exception) -> ServiceError | None:
    """What to tell of a failure of the database, the disk or the object store; None for any other exception, which is
    a bug.
    """
    if isinstance(error, Unreachable):
        return Unavailable("the server's object store does not answer; nothing was kept, try again shortly")
    if isinstance(error, Expired):
        return Unavailable("this took so long that nothing was kept; send it again")
    match failures.reason(error):
        case "closed":
            return Unavailable("the server is shutting down; nothing was kept")
        case "full":
            return StorageFull("the server has no room left on its disk; nothing was kept")
        case "busy":
            return Unavailable("the server's database is busy; nothing was kept, try again shortly")
        case "long":
            return BadRequest("a path is longer than the server's database takes; nothing was kept")
        case "failed":
            return StorageFailed("the server's storage failed; whether anything was kept is not certain")
        case None:
            return None
