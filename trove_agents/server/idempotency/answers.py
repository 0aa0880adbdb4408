"""Answers that are kept beside what was done, in the same transaction: either both are there or neither is.

A call that is one transaction needs nothing else, whatever dies when. A command is not: it claims its key while it holds
the exec lock of its namespace, so a claim whose lock is gone is one of a server that died, and the key is free again.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from sqlalchemy import bindparam, insert, select, update

from trove_agents.server.auth import Principal
from trove_agents.server.db import Connection
from trove_agents.server.db.tables import answers
from trove_agents.server.errors import AnswerNotKept, KeyReused, Replayed
from trove_agents.server.idempotency.keys import Keyed

T = TypeVar("T")
KEPT_BYTES: Final = 1024 * 1024
"""Of an answer; a longer one is not kept, only that there was one."""
_a = answers.c
_MINE = (_a.workspace == bindparam("of"), _a.actor == bindparam("by"), _a.key == bindparam("called"))
_FIND = select(_a.fingerprint, _a.holder, _a.status, _a.body).where(*_MINE)
_ADD = insert(answers)
_CLAIM = update(answers).where(*_MINE).values(holder=bindparam("claimer"), created_us=bindparam("now"))
_DONE = (
    update(answers)
    .where(*_MINE)
    .values(holder="", status=bindparam("code"), body=bindparam("text"), created_us=bindparam("now"))
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
        look(tx, principal)
        value = function(tx)
        if value is not None:
            body = msgspec.json.encode(value) if keep(value) else None
            tx.run(
                _ADD, **_row(principal), holder="", **_told(keyed.status, body), created_us=now_ns() // 1000
            )
        return value

    return kept


def look(db: Connection, principal: Principal) -> str | None:
    """What is known of a key: nothing (None), or who works on it.

    Raises:
        Replayed: it was done, with this answer.
        AnswerNotKept: it was done.
        KeyReused: for another request.
    """
    keyed = principal.keyed
    if keyed is None or (row := db.one(_FIND, **_named(principal))) is None:
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
    if look(tx, principal) is None:
        tx.run(_ADD, **_row(principal), holder=holder, status=None, body=None, created_us=now_us)
    else:
        tx.run(_CLAIM, **_named(principal), claimer=holder, now=now_us)


def done(tx: Connection, principal: Principal, status: int, answer: object, *, now_us: int) -> None:
    """Keeps the answer of a claimed key, also if the claim is lost: it need not have reached the disk."""
    if principal.keyed is None:
        return
    told = _told(status, msgspec.json.encode(answer))
    if tx.run(_DONE, **_named(principal), code=told["status"], text=told["body"], now=now_us) == 0:
        tx.run(_ADD, **_row(principal), holder="", **told, created_us=now_us)


def _name(principal: Principal, keyed: Keyed) -> str:
    return f"answer {principal.workspace} {principal.key_id} {keyed.key}"


def _named(principal: Principal) -> dict[str, str]:
    keyed = principal.keyed
    assert keyed is not None, "only calls with a key are looked up"
    return {"of": principal.workspace, "by": principal.key_id, "called": keyed.key}


def _row(principal: Principal) -> dict[str, object]:
    keyed = principal.keyed
    assert keyed is not None, "only calls with a key are kept"
    own = {"workspace": principal.workspace, "actor": principal.key_id}
    return {**own, "key": keyed.key, "fingerprint": keyed.fingerprint}


def _told(status: int, body: bytes | None) -> dict[str, object]:
    return {"status": status, "body": None if body is None or len(body) > KEPT_BYTES else body}
