"""What the server can do beyond the public API: asked once per client, before the first call that needs to know."""

from collections.abc import Callable
from typing import TypeVar

from trove_agents.client.call import Flow, Step, get, value
from trove_agents.errors import NotSupported, TroveNotFoundError
from trove_agents.wire.keys import Me

T = TypeVar("T")
_ME = value(Me)


class Capabilities:
    """What one client knows of its server.

    Args:
        ask: Finds out their names; by default what the Files API says of itself.
    """

    def __init__(self, ask: "Callable[[], Flow[frozenset[str]]] | None" = None) -> None:
        self._ask = ask or _of_the_files_api
        self._names: frozenset[str] | None = None

    def need(self, name: str, step: Step[T], *, when: bool = True) -> Flow[T]:
        """The result of a step that a server without the capability would not understand, or would take for another.

        Args:
            name: The capability.
            step: What is done with it.
            when: Whether this step makes use of it at all.

        Raises:
            NotSupported: this server is one; nothing was sent but the question.
        """
        if when:
            yield from self.check(name)
        return (yield from step)

    def learn(self) -> Flow[None]:
        """Asks, if nobody did so far."""
        if self._names is None:
            self._names = yield from self._ask()

    def names(self) -> Flow[frozenset[str]]:
        """All that the server has."""
        yield from self.learn()
        assert self._names is not None, "learnt"
        return self._names

    def known(self, name: str) -> bool:
        """Whether the server is known to have it."""
        return self._names is not None and name in self._names

    def check(self, *names: str) -> Flow[None]:
        """``need`` for what is no step, and for all of several capabilities."""
        there = yield from self.names()
        for name in names:
            if name not in there:
                raise NotSupported(f"this server does not have {name}")


def _of_the_files_api() -> Flow[frozenset[str]]:
    try:
        me = yield from get(("v1", "me"), _ME)
    except TroveNotFoundError:  # older than the question
        return frozenset()
    return frozenset(me.capabilities)
