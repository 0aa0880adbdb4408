"""The file that ``serve --credentials-file`` names: what a program needs to reach the server and its workspace."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from trove_agents.embedded.credentials import write_private
from trove_agents.wire.namespaces import WorkspaceCreated


class Credentials(msgspec.Struct, frozen=True):
    """The file's JSON object."""

    base_url: str
    workspace_id: str
    admin_key: str
    key: str


def check(path: Path) -> None:
    """Whether the file can be written. Asked before a workspace is made: its keys exist only once.

    Raises:
        OSError: it is there already, perhaps with the keys of another server, or its folder cannot be written.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists, and its keys would be lost; remove it or name another file")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise NotADirectoryError(f"{path.parent} is no directory that can be written")


def write(path: Path, base_url: str, made: WorkspaceCreated) -> None:
    """Writes the file with mode 600, at once and never half."""
    content = Credentials(base_url, made.workspace_id, made.admin_key, made.key)
    write_private(path, msgspec.json.encode(content) + b"\n")


def renew(path: Path, base_url: str, knows: Callable[[str], bool]) -> bool:
    """Puts the present address into a file of this server; False when there is none with keys that it knows."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Credentials)
    except (FileNotFoundError, msgspec.DecodeError):
        return False
    if not knows(kept.key):
        return False
    if kept.base_url != base_url:
        write_private(path, msgspec.json.encode(msgspec.structs.replace(kept, base_url=base_url)) + b"\n")
    return True
