"""Keys of one's own for calls that must not be done twice, whoever sends them again."""

import re
from dataclasses import replace
from typing import Final, Self

from trove_agents.client.acting import Acting
from trove_agents.client.drive import AsyncDriver, Driver

_PRINTABLE: Final = re.compile(r"[\x20-\x7e]{1,255}")


def known_by(acting: Acting, key: str) -> Acting:
    """With a key.

    Raises:
        ValueError: it cannot be one.
    """
    if not _PRINTABLE.fullmatch(key):
        raise ValueError("a key is 1 to 255 printable characters of ASCII")
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')
    return replace(acting, key=f'"{quoted}"')


class IdempotencyMethods(Driver):
    """For servers that keep answers: others raise ``NotSupported``."""

    def with_idempotency_key(self, key: str) -> Self:
        """A client for one call that is done once, however often it is made with this key within 24 hours.

        Like this::

            client.with_idempotency_key(f"{run}/{step}").exec("make deploy")

        Made again, also by another process after a crash, it returns what the first one returned. The key belongs to
        that one call: with another it raises ``TroveError`` (422, ``idempotency-mismatch``). For ``write``, ``upload``,
        ``delete``, ``mkdir``, ``move``, ``copy``, ``exec`` and its kin, snapshots, restores and forks without a key,
        and what makes wallets and moves money, which is remembered as long as the wallet; other calls are made as without it. The client shares everything with this one and needs no closing.

        A client over a network makes up a key for each such call by itself, so that it can send the call again when
        no answer came.

        Args:
            key: 1 to 255 printable characters of ASCII.

        Raises:
            ValueError: it is none.
        """
        return self._saying(known_by(self._acting, key))


class AsyncIdempotencyMethods(AsyncDriver):
    """As ``IdempotencyMethods``."""

    def with_idempotency_key(self, key: str) -> Self:
        """See :meth:`TroveClient.with_idempotency_key`."""
        return self._saying(known_by(self._acting, key))
