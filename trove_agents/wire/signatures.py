"""The signature of webhook deliveries: ``X-Trove-Signature: t=<unix seconds>,v1=<hex>``.

``v1`` is HMAC-SHA256 under the whole signing secret as text, over ``<t>.<raw body>``. ``t`` is the time of the
attempt, so each attempt is signed anew. Clock and key are arguments; nothing here reads either.
"""

import hashlib
import hmac
from typing import Final

TOLERANCE_SECONDS: Final = 300
"""How far the receiver's clock may be from ``t``, either way."""


class BadSignature(ValueError):
    """A signature is malformed, stale, or of another secret or body."""


def sign(secret: str, body: bytes, *, at: int) -> str:
    """The header for a body sent at a time in Unix seconds."""
    return f"t={at},v1={_digest(secret, str(at), body)}"


def verify(
    secret: str, body: bytes, header: str, *, now: float, tolerance: float = TOLERANCE_SECONDS
) -> None:
    """Accepts a delivery, or says why not. Pairs may come in any order, with spaces, among unknown ones.

    Raises:
        BadSignature: do not act on this delivery.
    """
    if not header:
        raise BadSignature("Missing X-Trove-Signature header")
    pairs = [chunk.partition("=") for chunk in header.split(",")]
    fields = {name.strip(): text.strip() for name, equals, text in pairs if equals}
    stamp = fields.get("t", "")
    if not (stamp.isascii() and stamp.removeprefix("-").isdecimal()):
        raise BadSignature("Missing or invalid `t` in X-Trove-Signature")
    if "v1" not in fields:
        raise BadSignature("Missing `v1` in X-Trove-Signature")
    age = abs(int(now) - int(stamp))
    if age > tolerance:
        raise BadSignature(f"Signature timestamp outside tolerance ({age}s > {tolerance}s)")
    expected = _digest(secret, str(int(stamp)), body)
    if not hmac.compare_digest(expected.encode(), fields["v1"].encode("utf-8", "surrogateescape")):
        raise BadSignature("Signature mismatch")


def _digest(secret: str, stamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
