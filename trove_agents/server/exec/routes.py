"""HTTP of commands. Never 404: public clients take that for an old server and run the command a second time."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from trove_agents.server.exec import streaming
from trove_agents.server.exec.service import ExecService
from trove_agents.server.http import Request
from trove_agents.server.replies import Disconnected, Reply
from trove_agents.server.routing import Route
from trove_agents.wire import headers, limits
from trove_agents.wire.exec import ExecRequest, ExecResult

T = TypeVar("T")
_ERRORS: Final = (408, 409, 413, 501, 503)
_BODY_BYTES: Final = (
    6 * (limits.EXEC_COMMAND_BYTES + limits.EXEC_STDIN_BYTES + limits.EXEC_ENV_BYTES) + limits.MB
)
"""JSON may write each byte as ``\\u00xx``."""


def routes(service: ExecService) -> list[Route]:
    async def run(request: Request, body: ExecRequest) -> ExecResult:
        return await _while_wanted(
            request, service.run(request.principal, request.namespace, body, hop=request.hop)
        )

    async def run_or_stream(request: Request, body: ExecRequest) -> ExecResult | Reply:
        if not streaming.wanted(request):
            return await run(request, body)
        events = streaming.events(
            request,
            lambda output: service.run(
                request.principal, request.namespace, body, hop=request.hop, output=output
            ),
        )
        await anext(events)
        return Reply(events, media_type=streaming.MEDIA_TYPE.encode(), headers=streaming.HEADERS)

    async def legacy(request: Request, body: ExecRequest) -> Reply:
        result = await run(request, body)
        return Reply(text(result).encode(), media_type=b"text/plain; charset=utf-8")

    return [
        Route(
            "POST",
            "/v1/exec",
            run_or_stream,
            run="loop",
            access="runtime",
            summary="Run a command",
            once=True,
            body=ExecRequest,
            reply=ExecResult,
            errors=_ERRORS,
            request_headers=(headers.REFERENCE, headers.LEASE),
            body_bytes=_BODY_BYTES,
            capability="exec.stream",
            streams=True,
        ),
        Route(
            "POST",
            "/exec",
            legacy,
            run="loop",
            access="runtime",
            summary="Run a command; the answer is its output as text",
            body=ExecRequest,
            media_type="text/plain",
            errors=_ERRORS,
            request_headers=(headers.REFERENCE, headers.LEASE),
            body_bytes=_BODY_BYTES,
        ),
    ]


def text(result: ExecResult) -> str:
    """The answer that older clients read."""
    if result.exit_code != 0:
        return f"[exit {result.exit_code}]\n{result.stderr}\n{result.stdout}"
    return result.stdout or "(no output)"


async def _while_wanted(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Ends the work when the caller goes away.

    Raises:
        Disconnected: nobody waits for the answer.
    """
    if request.scope.get("client") is None:  # in process: a caller that leaves cancels the call itself
        return await work
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Disconnected
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
