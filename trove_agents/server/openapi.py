"""The OpenAPI document, from the same routes that answer the calls and the same Structs that decode them."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from trove_agents.server.routing import Route
from trove_agents.wire import headers, steps
from trove_agents.wire.errors import ErrorBody

_REFERENCE: Final = "#/components/schemas/{name}"
_PATTERNS: Final = {headers.REFERENCE: "^1$", headers.LEASE: "^lease-[0-9a-f]{32}$"}
_REASONS: Final = {
    400: "Bad path, namespace, cursor or header",
    401: "No key, or one that is unknown or revoked",
    402: "More than may be spent; nothing was taken",
    403: "Not allowed with this key",
    404: "Not found",
    408: "The command ran past its limit; the files it had written are kept",
    409: "The state does not allow it",
    410: "It has ended",
    412: "If-Match or If-None-Match does not hold; nothing was done",
    413: "Too large",
    416: "The range begins after the end of the file",
    422: "Not of the call's form",
    500: "The server failed; with the code storage-failed it is not certain whether anything was kept",
    501: "This server cannot isolate commands",
    503: "Another command is running in this namespace, or the server is busy or shutting down; nothing was kept",
    507: "The server has no room left; nothing was kept",
}


def document(routes: Iterable[Route], *, version: str) -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    listed = list(routes)
    families = {route.family.key: route.family for route in listed if route.family is not None}
    types = {kind for route in listed for kind in (route.body, route.query, route.reply) if kind is not None}
    types |= {family.error for family in families.values()}
    ordered = sorted(types | {ErrorBody}, key=lambda kind: kind.__name__)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    by_type = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in listed:
        paths.setdefault(route.path.replace("...}", "}"), {})[route.method.lower()] = _operation(
            route, by_type, components
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "trove-agents", "version": version, "summary": "Files and commands for AI agents"},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                **{name: {"type": "apiKey", "in": "header", "name": name} for name in families},
            },
        },
    }


def _operation(
    route: Route, by_type: dict[type[msgspec.Struct], dict[str, Any]], components: dict[str, Any]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.operation,
        "parameters": [
            *_path_parameters(route),
            *_query_parameters(route, components),
            *_header_parameters(route),
        ],
        "responses": {str(route.status): _success(route, by_type)},
        "security": _security(route),
    }
    for status, meaning in sorted(route.also.items()):
        operation["responses"][str(status)] = {"description": meaning}
    error: type[msgspec.Struct] = ErrorBody
    media_type = "application/json"
    if route.family is not None:
        error, media_type = route.family.error, route.family.media_type.decode()
    for status in sorted(_statuses(route)):
        operation["responses"][str(status)] = {
            "description": _REASONS[status],
            "content": {media_type: {"schema": by_type[error]}},
        }
    if route.body is not None:
        content = {"application/json": {"schema": by_type[route.body]}}
        operation["requestBody"] = {"required": not route.body_optional, "content": content}
    elif route.raw_body:
        content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _security(route: Route) -> list[dict[str, Any]]:
    if route.access == "open":
        return [] if route.family is None else [{}, {"key": []}]
    if route.access == "family" and route.family is not None:
        return [{route.family.key: []}]
    return [{"key": []}]


def _success(route: Route, by_type: dict[type[msgspec.Struct], dict[str, Any]]) -> dict[str, Any]:
    schema: dict[str, Any] = {} if route.reply is None else by_type[route.reply]
    content = {route.media_type: {"schema": schema}}
    if route.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {"description": route.summary, "content": content}


def _statuses(route: Route) -> set[int]:
    found = set(route.errors)
    if route.method != "GET":
        found |= {500, 503, 507}
    if route.family is not None:
        found |= {400, 401}
        if route.body is not None:
            found.add(413)
        return found | ({409, 422} if route.once else set())
    if route.access != "open":
        found |= {401, 403}
    if route.access == "runtime" or (route.access != "open" and route.method != "GET"):
        found.add(400)
    if route.body is not None:
        found |= {413, 422}
    if route.query is not None:
        found.add(422)
    if route.once:
        found |= {409, 422}
    return found


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in route.parameters
    ]


def _query_parameters(route: Route, components: dict[str, Any]) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = components[route.query.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": value}
        for name, value in schema["properties"].items()
    ]


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    own = [_header(name, _PATTERNS.get(name)) for name in route.request_headers]
    if route.method != "GET" and route.access != "open":
        own.append(_header(headers.STEP, steps.PATTERN))
    if route.once:
        own.append(_header(headers.IDEMPOTENCY_KEY, "^[!#-~]{1,255}$"))
    if route.access != "runtime":
        return own
    return [_header(headers.NAMESPACE, "^[A-Za-z0-9_-]{1,128}$"), *own]


def _header(name: str, pattern: str | None = None) -> dict[str, Any]:
    schema = {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": False, "schema": schema}
