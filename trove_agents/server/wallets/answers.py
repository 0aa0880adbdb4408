"""``Idempotency-Key`` on calls that move money: as everywhere, but an answer is kept as long as the ledger is.

A refusal is not kept: the budget may be raised, and the same call may then succeed.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from sqlalchemy import bindparam, insert, select

from trove_agents.server.db import Connection
from trove_agents.server.db.tables import wallet_answers
from trove_agents.server.errors import KeyReused, Replayed
from trove_agents.server.wallets.keys import WalletPrincipal

T = TypeVar("T")
_a = wallet_answers.c
_FIND: Final = select(_a.fingerprint, _a.status, _a.body).where(
    _a.actor == bindparam("by"), _a.key == bindparam("called")
)
_ADD: Final = insert(wallet_answers)


def once(principal: WalletPrincipal, function: Callable[[Connection], T]) -> Callable[[Connection], T]:
    """``function``, and with a key one that is done once: the same call again gets the first one's answer.

    What is returned raises ``Replayed`` with that answer, or ``KeyReused`` where the key belongs to another request.
    """
    keyed = principal.keyed
    if keyed is None:
        return function

    def kept(tx: Connection) -> T:
        tx.alone(f"wallet answer {principal.key} {keyed.key}")
        row = tx.one(_FIND, by=principal.key, called=keyed.key)
        if row is not None:
            known, status, body = row
            if bytes(known) != keyed.fingerprint:
                raise KeyReused("this Idempotency-Key was sent with another request")
            raise Replayed(status, bytes(body))
        value = function(tx)
        tx.run(
            _ADD,
            actor=principal.key,
            key=keyed.key,
            fingerprint=keyed.fingerprint,
            status=keyed.status,
            body=msgspec.json.encode(value),
        )
        return value

    return kept
