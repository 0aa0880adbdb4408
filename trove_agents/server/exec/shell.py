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
    text, _ = codecs.utf_8_decode(output, "replace", not cut)
    if root in text:
        text = _root(root).sub("workspace", text)
    return text.replace(f"{_INIT_FD}: ", f"workspace/{INIT}: ") if init else text


@functools.lru_cache(maxsize=256)
def _root(root: str) -> re.Pattern[str]:
    """The root's path where it is a path of its own.

    A short constant path may be the tail of another one (``https://host/workspace/y``), so it must start a word; the
    path of a folder on the host never is, and hiding it everywhere keeps the host's layout out of answers.
    """
    start = r"(?<![\w./~}-])" if root.count("/") == 1 else ""
    return re.compile(start + re.escape(root) + _END)


def prefix(text: str, size: int) -> str:
    """The start of a text, at most ``size`` bytes of UTF-8 and never half a character."""
    if len(text) * 4 <= size:
        return text
    return codecs.utf_8_decode(text[:size].encode()[:size], "strict", False)[0]
