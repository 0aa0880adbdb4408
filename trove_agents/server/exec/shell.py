"""The text handed to bash, and the text that comes back (wire 6.1 to 6.3). Pure.

A command names the root ``workspace/``; inside, the root has an absolute path of its own and is also the working
directory. So the name is rewritten to that path on the way in, and back on the way out. Neither stdin nor files are
ever rewritten.
"""

import codecs
import functools
import re
from typing import Final

INIT: Final = ".trove/init.sh"
"""Sourced before every command, if it is a regular file."""

_INIT_FD: Final = "/dev/fd/61"
_INIT_SAID: Final = f"{_INIT_FD}: "
_INIT_SHOWN: Final = f"workspace/{INIT}: "
_NAME: Final = re.compile(
    # word-initial: at the start, after white space, or after one of the characters that wire 6.1 lists;
    # `${workspace}` is a variable and no path
    r"""(?<![^\s'"`=:,(){<>|&;@])(?<!\$\{)workspace"""
    # then a slash, or the end of the word: `workspace=1` and `workspace.txt` are other words
    r"""(?=[/\s'"`:,)}<>|&;\\]|\Z)""",
    re.ASCII,
)
_QUOTED: Final = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": None})
_END: Final = r"(?![\w-]|\.[\w.-])"
"""After a path: no more of its last name. A full stop that ends a sentence is none."""
_LOOKED_AT: Final = 2
"""Characters that this needs."""


def compose(command: str, init: str | None, root: str, *, directory: str = "") -> str:
    """The script for ``bash -c``: init.sh, then the command in the same shell.

    init.sh is sourced, so ``return`` works in it and what it sets up holds for the command; from a descriptor, since
    its rewritten text is in no file. It reads ``/dev/null``, its own errors go to stderr, and ``|| true`` keeps a
    ``set -e`` in it from ending the shell at its first failing line. The command follows as plain text to the end of
    the script: it has nothing to break out of, and its syntax errors are bash's own.

    Args:
        command: As the caller wrote it.
        init: The text of init.sh.
        root: The inner path of the root; only characters that bash leaves alone (see ``plain``).
        directory: Where the command begins, relative to the root and without links, whatever init.sh did. Where it
            may not be entered, the command does not begin.
    """
    text = rewrite(command, root)
    if directory:
        text = f"cd $'{root}/{directory.translate(_QUOTED)}' || exit 126\n{text}"
    if init is None:
        return text
    quoted = rewrite(init, root).translate(_QUOTED)
    return f"source {_INIT_FD} 61<<<$'{quoted}' </dev/null || true\n{text}"


def rewrite(text: str, root: str) -> str:
    """Shell text in which a word-initial ``workspace/``, or ``workspace`` as a whole word, is the root's path."""
    return _NAME.sub(root, text) if "workspace" in text else text


def plain(root: str) -> bool:
    """Whether a path means itself wherever it stands in shell text, and in the replacement of ``rewrite``."""
    return re.fullmatch(r"[\w/.+@-]+", root, re.ASCII) is not None


def shown(output: bytes, root: str, *, cut: bool = False, init: bool = False) -> str:
    """Output as text in which the root is called ``workspace`` again.

    Args:
        output: One stream. What is not UTF-8 in it becomes U+FFFD.
        root: The inner path of the root.
        cut: The end is missing, so an incomplete last character is dropped.
        init: It may hold messages about init.sh, which bash knows by its descriptor.
    """
    whole = Shown(root, init=init)
    return whole.feed(output) + whole.end(cut=cut)


class Shown:
    """``shown`` of output that comes in pieces: what it gives for them is, put together, what ``shown`` gives for all.

    Whatever may yet become part of a path is held back, which is never more than a path's length.
    """

    def __init__(self, root: str, *, init: bool = False) -> None:
        self._pattern = _paths(root, init=init)
        self._signs = (root, _INIT_SAID) if init else (root,)
        self._reach = max(map(len, self._signs)) + _LOOKED_AT
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._given = 0
        """Of ``_text``: one character, which what follows is looked at behind, or none."""

    def feed(self, piece: bytes) -> str:
        """What can be shown now."""
        self._text += self._decoder.decode(piece)
        return self._show(self._settled())

    def end(self, *, cut: bool) -> str:
        """The rest."""
        if not cut:
            self._text += self._decoder.decode(b"", final=True)
        return self._show(len(self._text))

    def _settled(self) -> int:
        """Up to where no path can begin whose end, and what follows that, is still to come. None has white space."""
        text = self._text
        near = max(len(text) - self._reach, self._given)
        start = text.find("/", max(near, *(text.rfind(white, near) + 1 for white in " \t\n\r")))
        return len(text) if start < 0 else start

    def _show(self, end: int) -> str:
        text, at = self._text, self._given
        parts: list[str] = []
        for found in self._pattern.finditer(text, at) if any(sign in text for sign in self._signs) else ():
            if found.start() >= end:
                break
            parts += [text[at : found.start()], "workspace" if found["root"] else _INIT_SHOWN]
            at = found.end()
        parts.append(text[at:end])
        at = max(at, end)
        self._given = min(at, 1)
        self._text = text[at - self._given :]
        return "".join(parts)


@functools.lru_cache(maxsize=256)
def _paths(root: str, *, init: bool) -> re.Pattern[str]:
    """The root's path where it is a path of its own, and the name that bash has for init.sh.

    A short constant path may be the tail of another one (``https://host/workspace/y``), so it must start a word; the
    path of a folder on the host never is, and hiding it everywhere keeps the host's layout out of answers.
    """
    start = r"(?<![\w./~}-])" if root.count("/") == 1 else ""
    pattern = f"(?P<root>{start}{re.escape(root)}{_END})"
    return re.compile(f"{pattern}|{re.escape(_INIT_SAID)}" if init else pattern)


def prefix(text: str, size: int) -> str:
    """The start of a text, at most ``size`` bytes of UTF-8 and never half a character."""
    if len(text) * 4 <= size:
        return text
    return codecs.utf_8_decode(text[:size].encode()[:size], "strict", False)[0]
