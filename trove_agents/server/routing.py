"""The operations of the API: what each of them takes and answers, and which of them a call is for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from trove_agents.server import errors
from trove_agents.server.auth import Principal

Run = Literal["inline", "hop", "loop"]
Access = Literal["open", "any", "workspace", "admin", "runtime", "family"]
"""Who may call: anybody; any key; any key of the workspace in the path; its admin keys; a key with a namespace; a key of
the route's family."""


@dataclass(frozen=True, slots=True)
class Family:
    """What routes share that have keys of their own, and errors of another form."""

    key: str
    """The header with the key."""
    authenticate: Callable[[Mapping[str, str]], Principal]
    """From the headers, by lower-case name, to who calls; raises as a service does."""
    refusal: Callable[[errors.ServiceError], tuple[int, bytes]]
    """Status and body of an error."""
    error: type[msgspec.Struct]
    """Of that body."""
    media_type: bytes
    """Of that body."""


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API. The same list makes the router and the OpenAPI document."""

    method: str
    path: str
    """``/v1/snapshots/{snapshot_id}/restore``; ``{path...}`` takes all that is left."""
    endpoint: Callable[..., Any]
    """``(request)``, ``(request, body)``, ``(request, query)`` or ``(request, body, query)``, as declared."""
    run: Run
    access: Access
    summary: str
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    reply: type[msgspec.Struct] | None = None
    """None: the endpoint answers with a `Reply` of its own."""
    status: int = 200
    media_type: str = "application/json"
    errors: Sequence[int] = ()
    """Statuses of errors beside those that follow from ``access``, ``body`` and ``query``."""
    attempt: Callable[..., Any] | None = None
    """Of a ``loop`` route, with the arguments of the endpoint: tried first, in the crossing that finds out who calls.
    It never waits; None says that it has done nothing, and the endpoint goes on."""
    request_headers: Sequence[str] = ()
    """Optional ones that it looks at, for the OpenAPI document."""
    streams: bool = False
    """Whether callers who accept ``text/event-stream`` are answered with one."""
    once: bool = False
    """Whether it takes an ``Idempotency-Key``: its service does it in one transaction with the answer."""
    also: Mapping[int, str] = field(default_factory=dict)
    """Other statuses that are no errors, and what they say."""
    body_bytes: int = 64 * 1024
    """A larger body is 413. Streamed bodies count for themselves."""
    body_optional: bool = False
    raw_body: bool = False
    """The body is a file's bytes, whatever its content type says."""
    capability: str | None = None
    """The name under which ``/v1/me`` lists it, for features that the public API does not have."""
    family: Family | None = None

    @property
    def parameters(self) -> list[str]:
        """The names of the path's parameters, in order."""
        return [segment.strip("{.}") for segment in _segments(self.path) if segment.startswith("{")]

    @property
    def operation(self) -> str:
        """A name for the OpenAPI document: ``postV1SnapshotsRestore``."""
        fixed = [segment for segment in _segments(self.path) if not segment.startswith("{")]
        words = [part for segment in fixed for part in segment.replace(".", "-").split("-")]
        own = "One" if self.path.endswith("}") and not self.path.endswith("...}") else ""
        return self.method.lower() + "".join(word.capitalize() for word in words) + own

    @property
    def decode(self) -> Callable[[bytes], Any] | None:
        return None if self.body is None else msgspec.json.Decoder(self.body).decode


class _Node:
    """One segment of the paths that share it."""

    __slots__ = ("fixed", "methods", "parameter", "rest")

    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.rest: _Node | None = None
        self.methods: dict[str, Route] = {}


class Router:
    """Routes by segment: a table lookup per segment instead of a regular expression per route."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self._fixed: dict[str, dict[str, Route]] = {}
        for route in routes:
            node = self._root
            for segment in _segments(route.path):
                if segment.endswith("...}"):
                    node.rest = node = node.rest or _Node()
                elif segment.startswith("{"):
                    node.parameter = node = node.parameter or _Node()
                else:
                    node = node.fixed.setdefault(segment, _Node())
            if route.method in node.methods:
                raise ValueError(f"two routes for {route.method} {route.path}")
            node.methods[route.method] = route
            if not route.parameters:
                self._fixed[route.path] = node.methods

    def match(self, path: str) -> tuple[dict[str, Route], list[str]] | None:
        """The methods of a path and the values of its parameters in order; None when no route has that path."""
        fixed = self._fixed.get(path)  # most calls: nothing to parse
        return (fixed, []) if fixed else _match(self._root, _segments(path), 0, [])


def _segments(path: str) -> list[str]:
    return path[1:].split("/")


def _match(
    node: _Node, segments: list[str], at: int, values: list[str]
) -> tuple[dict[str, Route], list[str]] | None:
    if at == len(segments):
        return (node.methods, values) if node.methods else None
    segment = segments[at]
    if (below := node.fixed.get(segment)) and (found := _match(below, segments, at + 1, values)):
        return found
    if segment and node.parameter and (found := _match(node.parameter, segments, at + 1, [*values, segment])):
        return found
    return (node.rest.methods, [*values, "/".join(segments[at:])]) if node.rest else None
