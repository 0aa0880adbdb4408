"""What a client says with every call that changes something: the step it acts in, the lease it holds."""

from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from uuid import uuid4

from trove_agents.client.call import Call, Pairs

T = TypeVar("T")
IDEMPOTENCY: Final = "idempotency"
"""The capability."""


@dataclass(frozen=True, slots=True)
class Acting:
    """Headers for calls that act, and what the server must have for them. Calls that read are sent without."""

    headers: Pairs = ()
    needs: tuple[str, ...] = ()
    """Capabilities: on a server without them no such call is sent."""
    key: str | None = None
    """The ``Idempotency-Key`` of the call."""

    def headers_of(self, call: Call[Any]) -> Pairs:
        """Those that a call is sent with."""
        return self.headers if _acts(call) else ()

    def needs_of(self, call: Call[Any]) -> tuple[str, ...]:
        """The capabilities to look for before a call is sent."""
        needs = self.needs if _acts(call) else ()
        return needs if self.key is None or not call.once else (*needs, IDEMPOTENCY)

    def keyed(self, call: Call[T], *, fresh: bool) -> Call[T]:
        """The call with its key: the one that was given, or a fresh one."""
        if not call.once or (self.key is None and not fresh):
            return call
        return replace(call, idempotency_key=self.key or f'"{uuid4()}"')

    def header(self, name: str) -> str:
        """The text of a header; empty when it is not said."""
        return dict(self.headers).get(name.lower(), "")

    def saying(self, capability: str, name: str, text: str) -> "Acting":
        """This, and one header more, or another text for it."""
        kept = {key: value for key, value in self.headers if key != name.lower()}
        needs = dict.fromkeys((*self.needs, capability))
        return replace(self, headers=(*kept.items(), (name.lower(), text)), needs=tuple(needs))


def _acts(call: Call[Any]) -> bool:
    return call.method != "GET"
