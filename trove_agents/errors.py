"""Every exception a user can catch.

    TroveError                          any failure of a call; ``except TroveError`` catches them all
    ├── TroveAuthError                  401, 403: key missing, revoked, or not allowed here
    ├── TroveNotFoundError              404: file, snapshot, key or webhook unknown
    ├── TroveConflictError              409: the present state forbids it
    │   ├── TrovePreconditionError          412: not as if_match or if_none_match said
    │   ├── WorkspaceLeased                 ... another holds a lease on the namespace
    │   ├── LeaseLost                       ... your lease ran out, or was given back
    │   └── WalletExists                    ... the agent has a wallet already
    ├── BudgetExceededError             402: a payment is more than what remains of a budget
    ├── TroveQuotaError                 413: the namespace, or a command, would be larger than it may be
    ├── TroveTimeoutError               408, 504: a command or a server took too long
    ├── TroveRateLimitError             429: too many requests
    ├── TroveServerError                other 5xx, or an answer that makes no sense
    ├── TroveConnectionError            no answer came: refused, reset, cut off
    │   └── TroveConnectionTimeoutError     ... within the client's time limit (a TroveTimeoutError, too)
    ├── TroveExecError                  a command ran and exited non-zero
    ├── NotSupported                    this server lacks the feature
    └── WebhookSignatureError           a webhook delivery is not authentic

Two attributes are for programs: ``code`` names the reason, ``recovery`` says what a caller can do about it.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

Recovery = Literal["fix-arguments", "adapt", "retry", "operator"]
"""What a caller can do: repeat with other arguments; take another way, since repeating will not help; repeat
the same later; or nothing but tell the person who runs the program (credentials, set-up, bugs)."""


class TroveError(Exception):
    """A call failed.

    Args:
        message: What happened, for people.
        status_code: The HTTP status; None when no answer came or the failure is local.
        code: The stable name of the reason, as the server sends it; each class has one of its own.
        recovery: What a caller can do, when it differs from what the class says.
        retry_after: Seconds after which the server wants to be asked again, on 429, 503 and some 409.
        errors: One mapping for each field that failed validation.
    """

    code: str = "error"
    recovery: Recovery = "operator"

    def __init__(
        self,
        message: str,
        status_code: int | None = None,
        *,
        code: str | None = None,
        recovery: Recovery | None = None,
        retry_after: float | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.retry_after = retry_after
        self.errors = tuple(errors)
        if code is not None:
            self.code = code
        if recovery is not None:
            self.recovery = recovery

    def __reduce__(self) -> tuple[Any, ...]:
        """Frameworks pickle errors; the default would call the class with the message alone."""
        return _unpickled, (type(self), self.args), self.__dict__


def _unpickled(kind: type[TroveError], args: tuple[Any, ...]) -> TroveError:
    return kind.__new__(kind, *args)


class TroveAuthError(TroveError):
    """401 or 403: the key is missing, unknown, revoked, or not allowed to do this."""

    code = "not-allowed"


class TroveNotFoundError(TroveError):
    """404: there is no such file, snapshot, key or webhook."""

    code = "not-found"
    recovery: Recovery = "fix-arguments"


class TroveConflictError(TroveError):
    """409: the present state forbids it, such as a write where a directory is."""

    code = "conflict"
    recovery: Recovery = "adapt"


class TrovePreconditionError(TroveConflictError):
    """412: the file is not as ``if_match`` or ``if_none_match`` said, and nothing was done: read it again."""

    code = "precondition-failed"


class WorkspaceLeased(TroveConflictError):
    """409: another holds a lease on the namespace, and nothing was done; ``retry_after`` says when to try again.

    ``holder`` is what it calls itself, where the server says so.
    """

    code = "workspace-leased"
    recovery: Recovery = "retry"
    holder: str | None = None


class LeaseLost(TroveConflictError):
    """409: the lease that the call was made under is not held any more, and nothing was done.

    Others may have changed the namespace since: look at it before going on.
    """

    code = "lease-lost"


class WalletExists(TroveConflictError):
    """409: this key has a wallet for the agent already, and none was made. ``wallet_id`` is its id, where the server says so."""

    code = "wallet-exists"
    wallet_id: int | None = None


class BudgetExceededError(TroveError):
    """402: the payment is more than what remains, and nothing was taken.

    Where the server says so: ``remaining_usd``, ``requested_usd``, and in ``limiting_rule`` what it was that
    stood in the way: ``budget``, ``parent_budget``, ``frozen``, or a limit (``per_day``, ``approval_above``, ...),
    then with ``wallet_id``, the wallet whose limit it is.
    """

    code = "insufficient-funds"
    recovery: Recovery = "adapt"
    remaining_usd: Decimal | None = None
    requested_usd: Decimal | None = None
    limiting_rule: str | None = None
    wallet_id: int | None = None


class TroveQuotaError(TroveError):
    """413: the namespace would be larger than it may be, or a command used more than it may. Nothing was kept.

    Of a namespace ``errors`` says which ``quota`` (``files`` or ``bytes``), its ``limit``, what is ``used`` and what would be
    ``needed``. Deleting works, and makes room.
    """

    code = "quota-exceeded"
    recovery: Recovery = "adapt"


class TroveTimeoutError(TroveError):
    """408: a command ran past its limit and was stopped; 504: a server behind the server took too long.

    Files that a stopped command had written are kept: write progress to files, so that a repetition resumes.
    """

    code = "timeout"
    recovery: Recovery = "adapt"


class TroveRateLimitError(TroveError):
    """429: too many requests; ``retry_after`` says when to come back, if the server did."""

    code = "rate-limited"
    recovery: Recovery = "retry"


class TroveServerError(TroveError):
    """5xx, or an answer that is not what this API says."""

    code = "server-error"


class TroveConnectionError(TroveError):
    """No answer came. ``may_have_committed``: the request may have reached the server and taken effect."""

    code = "connection"
    recovery: Recovery = "retry"

    def __init__(
        self, message: str, status_code: int | None = None, *, may_have_committed: bool = False
    ) -> None:
        super().__init__(message, status_code, recovery="adapt" if may_have_committed else None)
        self.may_have_committed = may_have_committed


class TroveConnectionTimeoutError(TroveConnectionError, TroveTimeoutError):
    """No answer came within the client's own time limit."""

    code = "connection-timeout"


class TroveExecError(TroveError):
    """A command ran and exited non-zero. The request itself succeeded, so ``status_code`` is None."""

    code = "command-failed"
    recovery: Recovery = "adapt"

    def __init__(self, command: str, exit_code: int, stdout: str, stderr: str) -> None:
        shown = stderr.strip() or stdout.strip() or "<no output>"
        if len(shown) > _SHOWN:
            shown = shown[:_SHOWN] + "…"
        super().__init__(f"command failed (exit {exit_code}): {shown}")
        self.command = command
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr


class NotSupported(TroveError):
    """The server does not name this feature in its capabilities."""

    code = "not-supported"


class WebhookSignatureError(TroveError):
    """A webhook delivery is malformed, stale, or signed with another secret: do not act on it."""

    code = "webhook-signature"


class TruncatedWarning(UserWarning):
    """What was returned is only the beginning of a file, or of a command's output: the server's limit was reached.

    Issued where a result has no room to say so (``read``, ``read_text``, ``read_bytes``, ``exec``), or where it is
    easily overlooked (``download``). ``read_file``, ``read_bytes_full`` and ``exec_detailed`` only return the flag.
    """


class WalletBudgetWarning(UserWarning):
    """The agent has a wallet with another budget than the one that was asked for. It was left as it is."""


_SHOWN = 200
"""Characters of output in the message of a ``TroveExecError``."""
