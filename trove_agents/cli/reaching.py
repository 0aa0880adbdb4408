"""Where the commands of ``trove-agents wallet`` find wallets and journals; what cannot be reached ends them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trove_agents.cli import options
from trove_agents.config import DEFAULT_BASE_URL, Settings
from trove_agents.errors import TroveError
from trove_agents.guard import SqliteJournal

if TYPE_CHECKING:
    from trove_agents.client.clients import WalletClient


@contextmanager
def wallets(base_url: str | None, data: Path | None) -> Iterator["WalletClient"]:
    """A client for the wallets of a server, which an option or the environment names, or of a state directory.

    Its errors, also those of the block, are told to people.
    """
    if base_url is not None and data is not None:
        options.refuse("wallets are on a server or in a state directory: name one of them")
    try:
        found = Settings.load(base_url=base_url)
        if data is None and (found.base_url or found.wallet_key):
            yield from _on_server(found)
        else:
            yield from _in_folder((data or options.FOLDER).absolute())
    except (TroveError, ValueError, OSError) as error:
        options.refuse(str(error))


@contextmanager
def journal(path: Path) -> Iterator[SqliteJournal]:
    """The journal in a file, which is not made."""
    if not path.is_file():
        options.refuse(f"there is no journal at {path}")
    try:
        opened = SqliteJournal(path)
    except (ValueError, OSError, sqlite3.Error) as error:
        options.refuse(str(error))
    try:
        yield opened
    finally:
        opened.close()


def _on_server(found: Settings) -> Iterator["WalletClient"]:
    from trove_agents.client.clients import WalletClient

    base_url = found.base_url or DEFAULT_BASE_URL
    if found.wallet_key is None:
        options.refuse(f"no wallet key for {base_url}: set TROVE_WALLET_KEY")
    with WalletClient(found.wallet_key, base_url=base_url) as client:
        yield client


def _in_folder(folder: Path) -> Iterator["WalletClient"]:
    from trove_agents.embedded import Trove
    from trove_agents.embedded.credentials import kept_wallet_key

    nothing = f"no wallets were made in {folder}; name it with --data, or their server with --base-url"
    if kept_wallet_key(folder) is None:
        options.refuse(nothing)
    with Trove.local(folder) as trove:
        if (
            not trove.has_wallets()
        ):  # its database is another: a new key must not take the place of the old one
            options.refuse(nothing)
        with trove.wallets() as client:
            yield client
