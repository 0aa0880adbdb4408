"""Text that fits into a model's context."""

from collections.abc import Iterable
from typing import Final

MAX_CHARACTERS: Final = 30_000
"""Of one tool result, unless the caller says otherwise: some 8,000 tokens."""

_NEAR: Final = 200
"""How far from the middle a line's end is looked for, so that no line is torn."""


def cut(text: str, limit: int, hint: str | None = None) -> str:
    """The text, or its beginning and its end with a note between: errors tend to stand at the end.

    The note comes on top of ``limit``. It ends with a hint how to see the rest.
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
    hint = hint or "to see them, write the output to a file and read it in parts"
    note = f"[{end - start:,} of {len(text):,} characters left out here; {hint}]\n"
    return text[:start] + before + note + text[end:]


def listed(lines: Iterable[str], limit: int, *, truncated: bool) -> str:
    """As many whole lines as fit, at least one, with a note when there are others; empty when there are none.

    Args:
        lines: Without their ends.
        limit: Characters; the note comes on top.
        truncated: There were more than these from the start.
    """
    shown: list[str] = []
    for line in lines:
        limit -= len(line) + 1
        if shown and limit < 0:
            truncated = True
            break
        shown.append(line)
    if truncated:
        shown.append("[there are more: ask for less]")
    return "\n".join(shown)
