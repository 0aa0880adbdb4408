"""From an answer that is no success to the exception that says what a caller can do."""

import time
from collections.abc import Mapping
from decimal import Decimal
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec

from trove_agents.client.transport import Reply
from trove_agents.errors import (
    BudgetExceededError,
    LeaseLost,
    Recovery,
    TroveAuthError,
    TroveConflictError,
    TroveError,
    TroveNotFoundError,
    TrovePreconditionError,
    TroveQuotaError,
    TroveRateLimitError,
    TroveServerError,
    TroveTimeoutError,
    WalletExists,
    WorkspaceLeased,
)

_CLASSES: Final[Mapping[int, type[TroveError]]] = {
    401: TroveAuthError,
    402: BudgetExceededError,
    403: TroveAuthError,
    404: TroveNotFoundError,
    408: TroveTimeoutError,
    409: TroveConflictError,
    412: TrovePreconditionError,
    429: TroveRateLimitError,
    504: TroveTimeoutError,
}

_BY_CODE: Final[Mapping[str, type[TroveError]]] = {
    "lease-lost": LeaseLost,
    "quota-exceeded": TroveQuotaError,
    "wallet-exists": WalletExists,
    "workspace-leased": WorkspaceLeased,
}

_DECODE: Final = msgspec.json.Decoder(float_hook=Decimal).decode
"""Amounts of money never pass through a float."""

_RECOVERY: Final[Mapping[int, Recovery]] = {
    400: "fix-arguments",
    410: "adapt",
    413: "fix-arguments",
    415: "fix-arguments",
    422: "fix-arguments",
    502: "retry",
    503: "retry",
    504: "retry",
}
"""Where the class alone does not say it."""

_SHOWN: Final = 500
"""Characters of a body that is no error body: a proxy's page, for instance."""


def failure(reply: Reply, *, now: float | None = None) -> TroveError:
    """The exception for an answer whose status is not 2xx."""
    status = reply.status
    fields = _fields(reply.body)
    detail = fields.get("detail") or fields.get("message")
    code = fields.get("code")
    errors = fields.get("errors") or detail
    kind = (
        (_BY_CODE.get(code) if isinstance(code, str) else None)
        or (WalletExists if status == HTTPStatus.CONFLICT and "wallet_id" in fields else None)
        or _CLASSES.get(status)
        or (TroveServerError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else TroveError)
    )
    error = kind(
        _message(detail, reply),
        status,
        code=code if isinstance(code, str) else None,
        recovery=None if kind is TroveQuotaError else _RECOVERY.get(status),
        retry_after=_seconds(reply.headers.get("retry-after"), time.time() if now is None else now),
        errors=[error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else (),
    )
    if isinstance(error, WorkspaceLeased) and isinstance(holder := fields.get("holder"), str):
        error.holder = holder
    if (
        isinstance(error, WalletExists | BudgetExceededError)
        and type(found := fields.get("wallet_id")) is int
    ):
        error.wallet_id = found
    if isinstance(error, BudgetExceededError):
        error.remaining_usd = _usd(fields.get("remaining_usd"))
        error.requested_usd = _usd(fields.get("requested_usd"))
        error.limiting_rule = rule if isinstance(rule := fields.get("limiting_rule"), str) else None
    return error


def _fields(body: bytes) -> dict[str, Any]:
    try:
        decoded: object = _DECODE(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _usd(amount: object) -> Decimal | None:
    return Decimal(amount) if isinstance(amount, int | Decimal) and not isinstance(amount, bool) else None


def _message(detail: object, reply: Reply) -> str:
    if isinstance(detail, str) and detail:
        return detail
    if isinstance(detail, list) and detail:
        return "; ".join(map(_line, detail))
    if HTTPStatus.MULTIPLE_CHOICES <= reply.status < HTTPStatus.BAD_REQUEST:
        target = reply.headers.get("location", "elsewhere")
        return f"the server redirects to {target}, which is not followed: correct base_url"
    text = reply.body.decode("utf-8", "replace").strip()
    if not text:
        return f"HTTP {reply.status}, without an explanation"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _line(error: object) -> str:
    """One entry of a list of validation errors: ``body.command: field required``."""
    if isinstance(error, dict) and isinstance(error.get("msg"), str):
        place = error.get("loc")
        where = ".".join(map(str, place)) if isinstance(place, list) else ""
        return f"{where}: {error['msg']}" if where else str(error["msg"])
    return error if isinstance(error, str) else msgspec.json.encode(error).decode()


def _seconds(text: str | None, now: float) -> float | None:
    """``Retry-After`` (RFC 9110, 10.2.3): seconds, or a date."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now
        except ValueError:
            return None
    return max(seconds, 0.0) if seconds < float("inf") else None
