"""Errors as callers of the wallet service read them. What a request says wrongly is 400 here, and names the field."""

import re
from http import HTTPStatus
from typing import Any, Final

import msgspec

from trove_agents.server import errors
from trove_agents.server.wallets.refusals import (
    AgentTaken,
    InsufficientFunds,
    LimitReached,
    OverCapture,
    OverRefund,
)
from trove_agents.wire.money import from_micros
from trove_agents.wire.wallets import Problem

MEDIA_TYPE: Final = b"application/problem+json"
_MISSING: Final = re.compile(r"missing required field `(.+?)`")


def encode(error: errors.ServiceError) -> tuple[int, bytes]:
    """Status and body."""
    status = 400 if type(error) is errors.Unprocessable else errors.status(error)
    field = _field(error)
    message = error.detail if field is None or field in error.detail else f"{field}: {error.detail}"
    code = "bad-request" if type(error) is errors.Unprocessable else error.code
    problem = Problem(
        success=False,
        message=message,
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=message,
        code=code,
        field=field,
        **_facts(error),
    )
    return status, msgspec.json.encode(problem)


def _field(error: errors.ServiceError) -> str | None:
    if not error.errors:
        return None
    named = str(error.errors[0].get("field", "$"))
    if (missing := _MISSING.search(error.detail)) and named == "$":
        return missing[1]
    return None if named == "$" else named


def _facts(error: errors.ServiceError) -> dict[str, Any]:
    if isinstance(error, InsufficientFunds | OverCapture | OverRefund):
        rule = {"limiting_rule": error.rule} if isinstance(error, InsufficientFunds) else {}
        return {
            "requested_usd": from_micros(error.requested),
            "requested_micros": error.requested,
            "remaining_usd": from_micros(error.remaining),
            "remaining_micros": error.remaining,
            **rule,
            **({"wallet_id": error.wallet_id} if isinstance(error, LimitReached) else {}),
        }
    if isinstance(error, AgentTaken):
        return {"wallet_id": error.wallet_id}
    return {}
