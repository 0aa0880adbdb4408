import contextlib
import json
import uuid

import pytest
from pydantic_ai import models
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

from trove_agents import AsyncTroveClient, Trove, TroveClient
from trove_agents.client.transport import Reply
from trove_agents.server.sandbox import probe

models.ALLOW_MODEL_REQUESTS = False


@pytest.fixture
def scripted():
    """``scripted(*turns)``: a model; each turn is a text, or a list of calls ``(name, arguments)``, found by counting
    the responses that are there, so that it is right after a crash, too. Past its end it says done.
    """

    def make(*turns, seen=None):
        def answer(messages, info):
            if seen is not None:
                seen.append((messages, info))
            turn = sum(isinstance(message, ModelResponse) for message in messages)
            said = turns[turn] if turn < len(turns) else "done"
            if isinstance(said, str):
                return ModelResponse([TextPart(said)])
            return ModelResponse([ToolCallPart(*call, f"{turn}-{n}") for n, call in enumerate(said)])

        async def stream(messages, info):
            for n, part in enumerate(answer(messages, info).parts):
                if isinstance(part, TextPart):
                    yield part.content
                else:
                    yield {
                        n: DeltaToolCall(
                            part.tool_name, json.dumps(part.args), tool_call_id=part.tool_call_id
                        )
                    }

        return FunctionModel(answer, stream_function=stream)

    return make


@pytest.fixture(scope="session")
def trove():
    """A real server. Its commands run unprotected, which spares the tests of anything else the time."""
    with Trove.temporary(sandbox="none") as trove:
        yield trove


@pytest.fixture(scope="session")
def isolated():
    """A real server whose commands are isolated."""
    report = probe(None, network="none")
    if not report.ok:
        pytest.skip(f"cannot isolate commands here: {'; '.join(report.problems)}")
    with Trove.temporary() as trove:
        yield trove


@pytest.fixture
def namespace():
    """The test's own."""
    return f"test-{uuid.uuid4().hex[:8]}"


class Server:
    """Answers commands as its test says: with a dict for a result, or a status and a body for a refusal."""

    retries = False

    def __init__(self):
        self.answers, self.commands, self.failure = {}, [], None

    def answer(self, request):
        if self.failure is not None:
            raise self.failure
        if request.path == "/v1/me":
            return Reply(404, {}, b"{}")
        command = json.loads(request.body)["command"]
        self.commands.append(command)
        answer = self.answers[command]
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return Reply(status, {}, json.dumps({"stdout": "", "stderr": "", "duration_ms": 1} | body).encode())


class Sync(Server):
    def send(self, request):
        return self.answer(request)

    def stream(self, request):
        return contextlib.nullcontext(self.answer(request))

    def close(self):
        pass


class Async(Server):
    async def send(self, request):
        return self.answer(request)

    def stream(self, request):
        return contextlib.nullcontext(self.answer(request))

    async def aclose(self):
        pass


@pytest.fixture
def server():
    return Sync()


@pytest.fixture
def client(server):
    return TroveClient("key", "n", transport=server)


@pytest.fixture
def async_server():
    return Async()


@pytest.fixture
def async_client(async_server):
    return AsyncTroveClient("key", "n", transport=async_server)
