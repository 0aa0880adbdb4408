"""The canonical form of a path (wire 1.5): relative to the root, without ``workspace``, ``""`` for the root itself."""

import re
from typing import Final

from trove_agents.server.errors import BadRequest
from trove_agents.wire import limits, names
from trove_agents.wire.files import shown as _shown

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
"""Of ASCII, and those that Unicode has beside them, which terminals obey as well."""
_SEPARATORS: Final = re.compile(r"[/\\]")
_NAMED: Final = 200
ROOT: Final = "workspace"


def canonical(text: str) -> str:
    """The path that a caller means, in ``surrogateescape`` form.

    Empty and ``.`` segments go, and every leading ``workspace``: public clients strip one themselves, so only
    stripping all of them gives one name one meaning.

    Raises:
        BadRequest: a ``..`` segment (a backslash counts as a separator here, since some callers' systems take it
            for one), a control character, a segment over 255 bytes, or a path over 4,096.
    """
    if _CONTROL.search(text):
        raise BadRequest("a path cannot hold control characters")
    if ".." in text and ".." in _SEPARATORS.split(text):
        raise BadRequest("a path cannot hold '..'")
    segments = [segment for segment in names.from_wire(text).split("/") if segment not in {"", "."}]
    start = 0
    while start < len(segments) and segments[start] == ROOT:
        start += 1
    path = "/".join(segments[start:])
    _check_lengths(path)
    return path


def inside(directory: str, name: str) -> str:
    """The path of what an archive names, below a canonical one.

    Raises:
        BadRequest: a control character, or a path over 4,096 bytes.
    """
    path = f"{directory}/{name}" if directory else name
    if _CONTROL.search(path):
        raise BadRequest(f"{names.to_wire(name)[:_NAMED]!r} holds control characters, which a path cannot")
    _check_lengths(path)
    return path


def check(path: str) -> None:
    """Refuses a path that came about inside, from a link's target, if no file could have it.

    Raises:
        BadRequest: a ``..`` segment, a segment over 255 bytes, or a path over 4,096.
    """
    if ".." in path.split("/"):
        raise BadRequest("a link in the path leads through a directory that does not exist")
    _check_lengths(path)


def _check_lengths(path: str) -> None:
    try:
        encoded = names.to_bytes(path)
    except UnicodeEncodeError:
        raise BadRequest("a path is UTF-8 text") from None
    if len(encoded) > limits.PATH_BYTES:
        raise BadRequest(f"a path is at most {limits.PATH_BYTES:,} bytes")
    if len(encoded) > limits.SEGMENT_BYTES and any(
        len(segment) > limits.SEGMENT_BYTES for segment in encoded.split(b"/")
    ):
        raise BadRequest(f"a name is at most {limits.SEGMENT_BYTES} bytes")


def below_root(text: str) -> str:
    """``canonical`` for calls that are about one file or directory.

    Raises:
        BadRequest: also for the root: ``rm workspace`` must not wipe a namespace.
    """
    path = canonical(text)
    if not path:
        raise BadRequest("this call needs a path below workspace/")
    return path


def shown(path: str) -> str:
    """A path as callers see it: ``workspace/...``, in the wire's form."""
    return _shown(names.to_wire(path))
