"""Text of callers that meets the database: PostgreSQL takes no NUL, and nothing takes a lone surrogate."""

from trove_agents.server.errors import Unprocessable


def storable(text: str) -> bool:
    """Whether a database can hold it, and so whether one can be asked for it."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check(field: str, text: str | None) -> None:
    """Refuses what cannot be stored.

    Raises:
        Unprocessable: it holds a NUL or a lone surrogate.
    """
    if text is not None and not storable(text):
        message = f"{field} holds a NUL or a lone surrogate"
        raise Unprocessable(message, errors=[{"field": field, "message": message}])
