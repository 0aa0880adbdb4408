"""Which namespace a conversation works in, for frameworks whose conversations have ids of any text."""

import hashlib
import re
from typing import Final

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_HASHED: Final = re.compile(r".*-[0-9a-f]{32}", re.DOTALL)
_OTHERS: Final = re.compile(r"[^A-Za-z0-9_]+")
_KEPT: Final = 128 - 1 - 32


def namespace_of(conversation: str) -> str:
    """The namespace of a conversation, always the same one, and never that of another.

    An id that can be a namespace is its own, such as a UUID. Of others what can stand in a name is kept, for people,
    and a hash of the whole is put behind it; ids that look as if that had happened get one as well.

    Raises:
        ValueError: the id is empty, which is what a forgotten one looks like.
    """
    if not conversation:
        raise ValueError("a conversation without an id has no namespace")
    if _PLAIN.fullmatch(conversation) and not _HASHED.fullmatch(conversation):
        return conversation
    digest = hashlib.sha256(conversation.encode(errors="surrogatepass")).hexdigest()[:32]
    kept = _OTHERS.sub("-", conversation).strip("-")[:_KEPT]
    return f"{kept}-{digest}" if kept else f"c-{digest}"
