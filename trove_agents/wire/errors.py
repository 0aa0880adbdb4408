"""The body of an error answer."""

from typing import Any

import msgspec


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """``detail`` is for people, ``code`` for programs; a validation error names each field in ``errors``."""

    detail: str
    code: str | None = None
    errors: list[dict[str, Any]] | None = None
