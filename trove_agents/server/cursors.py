"""Cursors: where a listing goes on, as text that callers need not understand."""

import base64
import binascii
from typing import TypeVar

import msgspec

from trove_agents.server.errors import BadRequest

T = TypeVar("T")


def encode(place: object) -> str:
    """The text of a place, which JSON can hold."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def decode(cursor: str, kind: type[T]) -> T:
    """The place of a text.

    Raises:
        BadRequest: ``encode`` did not make it from such a place.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=kind)
    except (ValueError, binascii.Error, RecursionError):  # msgspec's errors are ValueErrors
        raise BadRequest("this cursor is not from this server") from None
