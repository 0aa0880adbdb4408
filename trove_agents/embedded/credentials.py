"""The keys of a local state directory: who can read the directory owns what is in it."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from trove_agents.server.keys.service import KeyService
from trove_agents.wire.namespaces import WorkspaceCreated

_FILE = "credentials.json"
_WALLETS = "wallet-key"


def write_private(path: Path, content: bytes) -> None:
    """Writes a file of mode 600 that is never seen half."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def first_workspace(keys: KeyService) -> WorkspaceCreated | None:
    """Makes the workspace of a new state directory; None when there is one already."""
    return keys.create_first_workspace("default")


def local(folder: Path, keys: KeyService) -> WorkspaceCreated:
    """The keys that this directory's embedded clients use, made at the first opening (mode 600 in the directory).

    Revoked or lost ones are replaced: whoever may write the directory could do that anyway.
    """
    path = folder / _FILE
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        kept = msgspec.json.decode(path.read_bytes(), type=WorkspaceCreated)
        if keys.knows(kept.key) and keys.knows(kept.admin_key):
            return kept
    made = first_workspace(keys)
    if made is None:
        workspace = keys.workspaces()[0]
        key = keys.issue(workspace, "local", "workspace")
        admin = keys.issue(workspace, "local admin", "admin")
        made = WorkspaceCreated(workspace, key.api_key, admin.api_key)
    write_private(path, msgspec.json.encode(made))
    return made


def kept_wallet_key(folder: Path) -> str | None:
    """The key of this directory's embedded wallets, if it has one."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return (folder / _WALLETS).read_text("ascii").strip()
    return None


def wallet_key(folder: Path, works: Callable[[str], bool], make: Callable[[], str]) -> str:
    """The key of this directory's embedded wallets (mode 600 in the directory). One that the server does not know
    is replaced: its database is another, and the wallets are gone.

    Processes that come at once wait for one another: two keys would give one agent two budgets.
    """
    path = folder / _WALLETS
    lock = os.open(folder / f".{_WALLETS}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = kept_wallet_key(folder)
        if kept is not None and works(kept):
            return kept
        made = make()
        write_private(path, made.encode())
        return made
    finally:
        os.close(lock)
