"""The step context: which step of an agent's a change is for, as the header ``X-Trove-Step`` says it.

The header is a dictionary of RFC 9651 with strings as values: ``thread="t-1", step="4"``. What is not plain ASCII
is a Display String, ``thread=%"f%c3%bc"``, so any text survives.
"""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

import msgspec

STEP_BYTES: Final = 512
"""Of the whole header."""
_STRING: Final = re.compile(r"[ -~]*")
_TEXT: Final = r'(?:[ !#-\[\]-~]|\\["\\])*'
_DISPLAYED: Final = r"(?:[ !#$&-~]|%[0-9a-f]{2})*"
_MEMBER: Final = re.compile(rf'([a-z*][a-z0-9_.*-]*)=(?:"({_TEXT})"|%"({_DISPLAYED})")')
_NEXT: Final = re.compile(r"[ \t]*,[ \t]*")
_ESCAPED: Final = re.compile(r"\\(.)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNESCAPED: Final = "".join(map(chr, set(range(0x20, 0x7F)) - set(b'%"')))


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place in an agent's work, in the words of its framework. What is not known is None."""

    thread: str | None = None
    """The conversation."""
    run: str | None = None
    """One invocation of the agent."""
    step: str | None = None
    """The step of the run, such as a graph's superstep."""
    call: str | None = None
    """The tool call."""


_ONE: Final = rf'(?:{"|".join(Step.__struct_fields__)})=(?:"{_TEXT}"|%"{_DISPLAYED}")'
PATTERN: Final = f"^(?:{_ONE}(?:, {_ONE})*)?$"
"""A regular expression for the header, but for its length, and that no name stands there twice."""


def to_header(step: Step) -> str:
    """The header's text; empty for a step that says nothing, for which no header is sent.

    Raises:
        ValueError: it would be over 512 bytes, or a value holds a control character or a lone surrogate.
    """
    text = ", ".join(
        f"{name}={_written(name, value)}"
        for name, value in msgspec.structs.asdict(step).items()
        if value is not None
    )
    if len(text) > STEP_BYTES:
        raise ValueError(f"a step is at most {STEP_BYTES} bytes as a header; this one takes {len(text)}")
    return text


@lru_cache(maxsize=256)  # all calls of a step say the same
def from_header(text: str) -> Step:
    """The step that a header names. Stricter than the RFC: every name is known and stands there once, without
    parameters.

    Raises:
        ValueError: it is none; the message says why.
    """
    if len(text) > STEP_BYTES:
        raise ValueError(f"it is over {STEP_BYTES} bytes")
    text = text.strip(" ")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        if at and (separator := _NEXT.match(text, at)):
            at = separator.end()
        elif at:
            raise ValueError(f"character {at + 1} is not what may follow a value")
        if (member := _MEMBER.match(text, at)) is None:
            raise ValueError(f"at character {at + 1} there should be a name, '=' and a string")
        name, string, display = member.groups()
        if name in found or name not in Step.__struct_fields__:
            raise ValueError(f"'{name}' is {'there twice' if name in found else 'no part of a step'}")
        found[name] = _checked(name, _ESCAPED.sub(r"\1", string) if display is None else _decoded(display))
        at = member.end()
    return Step(**found)


def _written(name: str, value: str) -> str:
    if _STRING.fullmatch(_checked(name, value)):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    try:
        escaped = quote(value, safe=_UNESCAPED)
    except UnicodeEncodeError:
        raise ValueError(f"{name} is not Unicode text: it holds lone surrogates") from None
    return '%"' + re.sub("%[0-9A-F]{2}", lambda octet: octet[0].lower(), escaped) + '"'


def _decoded(display: str) -> str:
    try:
        return unquote(display, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("a display string is not UTF-8") from None


def _checked(name: str, value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError(f"{name} holds a control character")
    return value
