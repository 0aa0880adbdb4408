"""Text that fits into a model's context."""

from typing import Final

MAX_CHARACTERS: Final = 30_000
"""Of one tool result, unless the caller says otherwise: some 8,000 tokens."""

_NEAR: Final = 200
"""How far from the middle a line's end is looked for, so that no line is torn."""


def cut(text: str, limit: int) -> str:
    """The text, or its beginning and its end with a note between: errors tend to stand at the end.

    The note comes on top of ``limit``.
    """
    if len(text) <= limit:
        return text
    start = limit // 2
    end = len(text) - (limit - start)
    line = text.rfind("\n", max(start - _NEAR, 0), start)
    start = start if line < 0 else line + 1
    line = text.find("\n", end, end + _NEAR)
    end = end if line < 0 else line + 1
    before = "" if not start or text[start - 1] == "\n" else "\n"
    note = (
        f"[{end - start:,} of {len(text):,} characters left out here; "
        "to see them, write the output to a file and read it in parts]\n"
    )
    return text[:start] + before + note + text[end:]
