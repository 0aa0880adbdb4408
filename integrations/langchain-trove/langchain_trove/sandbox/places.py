"""Where the paths of Deep Agents lead in a workspace."""

import posixpath
from typing import Final

ROOT: Final = "/workspace"
"""Where commands see the files of the workspace, and Deep Agents gives their paths."""
ARTIFACTS: Final = ("blobs", "conversation_history", "large_tool_results")
"""What Deep Agents keeps for itself, at the root of all unless told otherwise."""
KEPT: Final = f"{ROOT}/.trove/deepagents"
"""Where that goes; it is read and searched under both names."""
OUTSIDE: Final = f"only what is below {ROOT} is kept from one command to the next"


def relative(path: str) -> str | None:
    """The path in the workspace; None: it is nothing of ours."""
    place = place_of(path)
    if place == ROOT:
        return f"{ROOT[1:]}/"
    return place[1:] if place.startswith(f"{ROOT}/") else None


def place_of(path: str) -> str:
    """Where it is for commands."""
    if not path.startswith("/"):
        return path
    place = posixpath.normpath(f"/{path.lstrip('/')}")
    return f"{KEPT}{place}" if place.split("/")[1] in ARTIFACTS else place


def refusal(path: str) -> str:
    """Why nothing can be kept there, by Deep Agents' name for it."""
    return "permission_denied" if path.startswith("/") else "invalid_path"
