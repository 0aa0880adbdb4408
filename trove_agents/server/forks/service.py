"""The rules of forks: docs/wire.md, "Forks". Nothing is copied."""

from trove_agents.server import timelines
from trove_agents.server.auth import Principal
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import Conflict, Forbidden, NotFound, Unprocessable
from trove_agents.server.events import service as events
from trove_agents.server.idempotency.answers import once
from trove_agents.server.keys import service as keys
from trove_agents.server.namespaces import service as namespaces
from trove_agents.server.namespaces.states import state
from trove_agents.wire.forks import Fork
from trove_agents.wire.namespaces import valid


class Forks:
    """Forks of all namespaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, principal: Principal, namespace: str, name: str, *, start: str | None, key: bool
    ) -> Fork:
        """A new namespace, and a key that is locked to it: for a locked key always, else if asked for.

        A locked key names its forks after its own namespace. With any other name it could take a place that
        somebody else is going to use, and read what they write there.

        Raises:
            Conflict: the name is taken; for a locked key also one that another key is locked to.
            Forbidden: a locked key asked for a name that is not its own namespace's and a dash and more.
            NotFound: no such snapshot or past.
            Unprocessable: the name cannot be a namespace's, or ``start`` names no state.
        """
        if not valid(name):
            message = "a namespace is 1 to 128 characters of A-Z, a-z, 0-9, _ and -"
            raise Unprocessable(message, errors=[{"field": "namespace", "message": message}])
        if principal.lock is not None and not name.startswith(f"{principal.lock}-"):
            raise Forbidden(
                f"this key is locked to namespace '{principal.lock}': its forks are named '{principal.lock}-...'"
            )

        def commit(tx: Connection) -> Fork:
            now = self._database.now_ns()
            if start is None:
                space = namespaces.ensure(tx, principal.workspace, namespace, now_ns=now)
            else:
                found = timelines.namespace(tx, principal.workspace, namespace)
                if found is None:
                    raise NotFound("this namespace was never used")
                space = found
            at = state(tx, space, start, field="from")
            if principal.lock is not None and keys.spoken_for(tx, principal.workspace, name):
                raise _taken(name)
            try:
                made = timelines.create_namespace(
                    tx,
                    principal.workspace,
                    name,
                    now_ns=now,
                    at=at,
                    actor=principal.key_id,
                    step=principal.step,
                    like=space,
                )
            except timelines.AlreadyExists:
                raise _taken(name) from None
            data = {"from": namespace, "at": at.version}
            events.record(
                tx, principal=principal, namespace=name, kind="namespace.forked", data=data, now_ns=now
            )
            own = None
            if key or principal.lock is not None:
                own = keys.mint_locked(tx, principal, f"fork {name}", name, now_ns=now)
            return Fork(name, namespace, at.version, made.at.version, made.files, made.bytes, own)

        return self._database.write(
            once(principal, commit, now_ns=self._database.now_ns, keep=lambda fork: fork.key is None)
        )


def _taken(name: str) -> Conflict:
    return Conflict(f"the name '{name}' is taken")
