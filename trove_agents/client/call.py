"""A request as a value, an exchange as a generator.

A ``Call`` says everything about one request and how to read its answer, and sends nothing. A ``Flow`` is a
generator that yields calls and is given their results, so an exchange of several steps is written once and
driven by the synchronous and the asynchronous client alike::

    def copy(source: str, target: str) -> Flow[FileResult]:
        content = yield from read_file(source)
        return (yield from write(target, content.content or ""))

A failed call is raised inside the flow, where ``try``/``except`` can undo earlier steps. Never ``yield`` in a
``finally``: a cancelled flow is closed, and nothing can be sent then.
"""

import re
from collections.abc import AsyncIterable, Callable, Generator, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, TypeAlias, TypeVar, overload
from urllib.parse import quote, urlencode

import msgspec

from trove_agents.client.transport import Outgoing, Reply
from trove_agents.client.upload import Upload
from trove_agents.errors import TroveError, TroveServerError
from trove_agents.wire import names

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

Pairs: TypeAlias = tuple[tuple[str, str], ...]

_JSON: Pairs = (("content-type", "application/json"),)
_SURROGATES = re.compile("[\udc80-\udcff]+")


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One request and the way to read its answer."""

    method: str
    path: tuple[str, ...]
    """Segments as they are, not escaped: each is escaped on its own, so ``a#b``, ``100%20.txt`` and ``?``
    arrive as written, and a ``..`` is refused by the server instead of folded away on the road."""
    parse: Callable[[Reply], T_co]
    """Reads an answer of status 2xx; anything else is raised before."""
    query: Pairs = ()
    headers: Pairs = ()
    body: bytes | Upload | None = field(default=None, repr=False)
    """Hidden from ``repr``: it may hold secrets."""
    work: float = 0.0
    """Seconds that the server may take before it answers, beyond what a client waits for any answer."""
    idempotent: bool = False
    """Sending it twice leaves what sending it once does, so it may be repeated after a failure."""
    once: bool = False
    """The server does it once for one ``Idempotency-Key``, where it has the capability ``idempotency``."""
    idempotency_key: str | None = None
    """Sent along, so that the server recognises a repetition."""

    def __iter__(self) -> Generator["Call[Any] | Together", Any, T_co]:
        result: T_co = yield self
        return result

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again now: asked after each failure, since a body may be used up by then."""
        if not (self.idempotent or self.idempotency_key):
            return False
        return not isinstance(self.body, Upload) or self.body.can_restart

    def outgoing(
        self,
        headers: Pairs,
        timeout: float,
        body: bytes | Iterable[bytes] | AsyncIterable[bytes] | None,
    ) -> Outgoing:
        """The request to send, with the client's own headers; a streamed body is opened by the driver."""
        key: Pairs = (("idempotency-key", self.idempotency_key),) if self.idempotency_key else ()
        return Outgoing(
            method=self.method,
            path="/" + "/".join(map(_escaped, self.path)),
            query=urlencode(
                [(name, wire_text(value)) for name, value in self.query], safe="/", quote_via=quote
            ),
            headers=(*headers, *self.headers, *key),
            body=body,
            length=self.body.length if isinstance(self.body, Upload) else _length(self.body),
            timeout=timeout,
            work=self.work,
        )


Flow: TypeAlias = Generator["Call[Any] | Together", Any, T]
Step: TypeAlias = Call[T] | Flow[T]


@dataclass(frozen=True, slots=True)
class Together:
    """Steps that do not depend on each other."""

    steps: tuple[Step[Any], ...]


@overload
def gather(a: Step[A], /) -> Flow[tuple[A]]: ...
@overload
def gather(a: Step[A], b: Step[B], /) -> Flow[tuple[A, B]]: ...
@overload
def gather(a: Step[A], b: Step[B], c: Step[C], /) -> Flow[tuple[A, B, C]]: ...
@overload
def gather(a: Step[A], b: Step[B], c: Step[C], d: Step[D], /) -> Flow[tuple[A, B, C, D]]: ...
@overload
def gather(*steps: Step[T]) -> Flow[tuple[T, ...]]: ...


def gather(*steps: Step[Any]) -> Flow[tuple[Any, ...]]:
    """The results of steps that do not depend on each other, in their order.

    The synchronous client sends them one after another, the asynchronous one at once. The first failure is
    raised in the flow; by then the asynchronous client has cancelled the others and waited for their end, and
    the synchronous one never began those after it. Steps that had finished keep their effect.
    """
    results: tuple[Any, ...] = yield Together(steps)
    return results


def get(path: tuple[str, ...], parse: Callable[[Reply], T], query: Pairs = ()) -> Call[T]:
    """A call that reads."""
    return Call("GET", path, parse, query, idempotent=True)


def post(
    path: tuple[str, ...],
    parse: Callable[[Reply], T],
    body: object = None,
    *,
    idempotent: bool = False,
    once: bool = False,
) -> Call[T]:
    """A call that acts, with a body in JSON; without one when ``body`` is None."""
    if body is None:
        return Call("POST", path, parse, idempotent=idempotent, once=once)
    return Call("POST", path, parse, headers=_JSON, body=_encoded(body), idempotent=idempotent, once=once)


def patch(path: tuple[str, ...], parse: Callable[[Reply], T], body: object) -> Call[T]:
    """A call that sets what its body, in JSON, gives; a second time it changes nothing."""
    return Call("PATCH", path, parse, headers=_JSON, body=_encoded(body), idempotent=True)


def put(path: tuple[str, ...], parse: Callable[[Reply], T], body: object) -> Call[T]:
    """A call that puts its body, in JSON, in the place of what was; a second time it changes nothing."""
    return Call("PUT", path, parse, headers=_JSON, body=_encoded(body), idempotent=True)


def delete(path: tuple[str, ...], *, once: bool = False) -> Call[None]:
    """A call that removes a resource. Not idempotent: the second would say that it is not there."""
    return Call("DELETE", path, nothing, once=once)


def value(kind: type[T]) -> Callable[[Reply], T]:
    """A parser of JSON answers. Unknown fields are ignored: an older client survives a newer server."""
    decode = msgspec.json.Decoder(kind, strict=False).decode

    def parse(reply: Reply) -> T:
        try:
            return decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TroveServerError(
                f"the answer is not the {kind.__name__} it should be ({error}); is base_url a Trove server?",
                reply.status,
                code="bad-answer",
            ) from error

    return parse


def nothing(_: Reply) -> None:
    """The parser of answers whose body nobody needs."""


def wire_text(text: str) -> str:
    """A path for the wire.

    Names from ``os.fsdecode`` may hold lone surrogates, which JSON and URLs cannot carry; names from a listing are
    in wire form already and pass unchanged.

    Raises:
        TroveError: it holds surrogates that stand for no byte of a name.
    """
    if text.isascii():
        return text
    sent = _SURROGATES.sub(lambda match: names.to_wire(match[0]), text)
    try:
        sent.encode()
    except UnicodeEncodeError as error:
        raise _no_text(error) from error
    return sent


def _length(body: bytes | None) -> int | None:
    return None if body is None else len(body)


def _encoded(body: object) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise _no_text(error) from error


def _no_text(error: UnicodeEncodeError) -> TroveError:
    """What the server would say; models do write such text."""
    message = (
        f"the text holds a lone surrogate at position {error.start}, which UTF-8 cannot carry: leave it out"
    )
    return TroveError(message, 422, code="not-utf-8", recovery="fix-arguments")


@lru_cache(maxsize=512)
def _escaped(segment: str) -> str:
    escaped = quote(wire_text(segment), safe="")
    return escaped.replace(".", "%2E") if escaped in {".", ".."} else escaped
