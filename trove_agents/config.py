"""Where a program finds its server and key: argument, then environment, then file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import msgspec

DEFAULT_BASE_URL: Final = "https://api.trovefiles.dev"
FILE_VARIABLE: Final = "TROVE_CONFIG"


class _Stored(msgspec.Struct, frozen=True):
    base_url: str | None = None
    api_key: str | None = None
    workspace_id: str | None = None
    namespace: str | None = None
    wallet_key: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What was found; None where nothing says it."""

    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    workspace_id: str | None = None
    namespace: str | None = None
    wallet_key: str | None = field(default=None, repr=False)

    @classmethod
    def load(
        cls,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        workspace_id: str | None = None,
        namespace: str | None = None,
        wallet_key: str | None = None,
        file: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Each value from its argument, else from the environment, else from the file.

        The environment: ``TROVE_BASE_URL``, ``TROVE_API_KEY``, ``TROVE_WORKSPACE_ID``, ``TROVE_NAMESPACE``,
        ``TROVE_WALLET_KEY``; empty ones count as unset. The file is a JSON object with ``base_url``, ``api_key``,
        ``workspace_id``, ``namespace`` and ``wallet_key``: the one given, else the one ``TROVE_CONFIG`` names, else none. A file describes one server:
        when argument or environment name another, nothing is taken from it, so its key never goes elsewhere.

        Args:
            base_url: The server.
            api_key: The key.
            workspace_id: The key's workspace; admin clients need it.
            namespace: The namespace to work in.
            wallet_key: The wallet key, ``tvpk_...``.
            file: Must exist when given.
            environ: Instead of the process's own.

        Raises:
            ValueError: the file holds something else.
        """
        environment = os.environ if environ is None else environ
        url = base_url or environment.get("TROVE_BASE_URL") or None
        stored = _read(file or environment.get(FILE_VARIABLE))
        if url is not None and url.rstrip("/") != (stored.base_url or DEFAULT_BASE_URL).rstrip("/"):
            stored = _Stored()
        return cls(
            base_url=url or stored.base_url,
            api_key=api_key or environment.get("TROVE_API_KEY") or stored.api_key,
            workspace_id=workspace_id or environment.get("TROVE_WORKSPACE_ID") or stored.workspace_id,
            namespace=namespace or environment.get("TROVE_NAMESPACE") or stored.namespace,
            wallet_key=wallet_key or environment.get("TROVE_WALLET_KEY") or stored.wallet_key,
        )


def _read(file: str | os.PathLike[str] | None) -> _Stored:
    if not file:
        return _Stored()
    try:
        return msgspec.json.decode(Path(file).read_bytes(), type=_Stored)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Only the reason: the text around it may be the key
        raise ValueError(f"{os.fspath(file)} is no configuration: {error}") from None
