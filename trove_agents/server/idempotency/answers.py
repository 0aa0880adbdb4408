"""Answers that are kept beside what was done, in the same transaction: either both are there or neither is.

A call that is one transaction needs nothing else, whatever dies when. A command is not: it claims its key while it holds
the exec lock of its namespace, so a claim whose lock is gone is one of a server that died, and the key is free again.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from sqlalchemy import bindparam, select

from trove_agents.server.auth import Principal
from trove_agents.server.db import Connection
from trove_agents.server.db.tables import answers
from trove_agents.server.errors import AnswerNotKept, KeyReused, Replayed
from trove_agents.server.idempotency.keys import Keyed

T = TypeVar("T")
KEPT_BYTES: Final = 1024 * 1024
"""Of an answer; a longer one is not kept, only that there was one."""
KEPT_SECONDS: Final = 24 * 3600
_a = answers.c
_MINE = (_a.workspace == bindparam("of"), _a.actor == bindparam("by"), _a.key == bindparam("called"))
_FIND = select(_a.fingerprint, _a.holder, _a.status, _a.body).where(
    *_MINE, _a.created_us > bindparam("after")
)


def once(
    principal: Principal,
    function: Callable[[Connection], T],
    *,
    now_ns: Callable[[], int],
    keep: Callable[[T], bool] = lambda _: True,
) -> Callable[[Connection], T]:
    """``function``, and with a key one that is done once and keeps its answer, unless that is None: nothing was done.

    Args:
        principal: who calls, with which key.
        function: does all of the call in one transaction and returns what will be its answer.
        now_ns: the clock.
        keep: whether the answer may be kept; one with a secret may not.
    """
    keyed = principal.keyed
    if keyed is None:
        return function

    def kept(tx: Connection) -> T:
        tx.alone(_name(principal, keyed))
        now_us = now_ns() // 1000
        look(tx, principal, now_us=now_us)
        value = function(tx)
        if value is not None:
            body = msgspec.json.encode(value) if keep(value) else None
            _put(tx, principal, keyed, status=keyed.status, body=body, now_us=now_us)
        return value

    return kept


def look(db: Connection, principal: Principal, *, now_us: int) -> str | None:
    """What is known of a key: nothing (None), or who works on it.

    Raises:
        Replayed: it was done, with this answer.
        AnswerNotKept: it was done.
        KeyReused: for another request.
    """
    keyed = principal.keyed
    if keyed is None:
        return None
    after = now_us - KEPT_SECONDS * 1_000_000
    row = db.one(_FIND, of=principal.workspace, by=principal.key_id, called=keyed.key, after=after)
    if row is None:
        return None
    known, holder, status, body = row
    if bytes(known) != keyed.fingerprint:
        raise KeyReused("this Idempotency-Key was sent with another request")
    if status is None:
        return str(holder)
    if body is None:
        raise AnswerNotKept(
            "this call was done, once; its answer was too long to be kept or held a secret. "
            "Do not repeat it under another key"
        )
    raise Replayed(status, bytes(body))


def claim(tx: Connection, principal: Principal, holder: str, *, now_us: int) -> None:
    """Says that ``holder`` works on the key; who did before is known to be gone. Raises as ``look``."""
    keyed = principal.keyed
    if keyed is None:
        return
    tx.alone(_name(principal, keyed))
    look(tx, principal, now_us=now_us)
    _put(tx, principal, keyed, holder=holder, now_us=now_us)


def done(tx: Connection, principal: Principal, status: int, answer: object, *, now_us: int) -> None:
    """Keeps the answer of a claimed key, also if the claim is lost: it need not have reached the disk."""
    if (keyed := principal.keyed) is not None:
        body = msgspec.json.encode(answer)
        _put(tx, principal, keyed, status=status, body=body, now_us=now_us)


def _name(principal: Principal, keyed: Keyed) -> str:
    return f"answer {principal.workspace} {principal.key_id} {keyed.key}"


def _put(
    tx: Connection,
    principal: Principal,
    keyed: Keyed,
    *,
    holder: str = "",
    status: int | None = None,
    body: bytes | None = None,
    now_us: int,
) -> None:
    tx.upsert(
        answers,
        workspace=principal.workspace,
        actor=principal.key_id,
        key=keyed.key,
        fingerprint=keyed.fingerprint,
        holder=holder,
        status=status,
        body=None if body is None or len(body) > KEPT_BYTES else body,
        created_us=now_us,
    )
