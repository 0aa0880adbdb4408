"""Whether overlays work here: tried out, since kernel, file system or policy may refuse any part of it."""

import os
import tempfile
from pathlib import Path
from typing import Final

from trove_agents.server.exec.overlay.marks import is_opaque, is_whiteout, make_opaque, make_whiteout
from trove_agents.server.exec.tree import ROOT_MODE, Tree
from trove_agents.server.sandbox import Overlay, Sandbox

_SCRIPT: Final = (
    "cd /workspace && [ -e kept ] && [ ! -e gone ] && [ ! -e replaced/old ] && [ -e replaced/new ] && "
    "echo more >>kept && rm removed && rm -r emptied && mkdir emptied && echo made >made"
)


def trial(place: Path, sandbox: Sandbox) -> str | None:
    """Why overlays cannot be used for commands of a sandbox with files below `place`; None if they can."""
    if not hasattr(os, "setxattr"):
        return "overlays are Linux's"
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".trial-") as folder:
            return _trial(Path(folder).resolve(), sandbox)
    except OSError as error:
        return str(error.strerror or error)


def _trial(place: Path, sandbox: Sandbox) -> str | None:
    lower, own, upper, work = (place / name for name in ("lower", "own", "upper", "work"))
    for folder in (lower / "emptied", lower / "replaced", own / "replaced", upper, work):
        folder.mkdir(parents=True)
    for file in ("kept", "gone", "removed", "emptied/old", "replaced/old"):
        (lower / file).write_bytes(b"old\n")
    (own / "replaced" / "new").touch()
    with Tree(own) as tree:
        make_whiteout(tree, "gone")
        make_opaque(tree, "replaced")
    said = sandbox.layered(upper, Overlay((own, lower), work), _SCRIPT)
    if said is not None:
        return said
    with Tree(work) as tree:  # closed by the kernel, and not every clean-up opens it again
        tree.clear()
    with Tree(upper) as tree:
        understood = (
            is_whiteout(tree.lstat("removed"))
            and is_opaque(tree, "emptied")
            and (upper / "kept").read_bytes() == b"old\nmore\n"
            and (upper / "made").read_bytes() == b"made\n"
        )
    upper.chmod(ROOT_MODE)
    return None if understood else "what a command changes is not found where it should be"
