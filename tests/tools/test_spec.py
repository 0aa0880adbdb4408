import json

import msgspec
import pytest

from trove_agents import TroveClient
from trove_agents.client.transport import Reply
from trove_agents.tools import CATALOG, DEFAULT, InvalidArguments, ToolSpec
from trove_agents.tools.bash import BASH, CommandRun

ECHO = {"exit_code": 0, "stdout": "hi\n", "stderr": "", "duration_ms": 3}


class Server:
    """A transport that answers every request alike."""

    retries = False

    def __init__(self, answer, status=200):
        self.answer, self.status, self.requests = answer, status, []

    def send(self, request):
        self.requests.append(request)
        return Reply(self.status, {}, json.dumps(self.answer).encode())

    def stream(self, request):
        raise NotImplementedError

    def close(self):
        pass


def test_the_catalogue_is_keyed_by_name():
    assert all(name == spec.name for name, spec in CATALOG.items())
    assert " ".join(CATALOG) == "bash read write edit list glob grep snapshot restore diff"
    assert set(DEFAULT) <= set(CATALOG)


@pytest.mark.parametrize("spec", CATALOG.values(), ids=lambda spec: spec.name)
def test_what_models_are_told_is_self_contained(spec):
    schema = spec.parameters
    assert schema["type"] == "object"
    assert "$ref" not in json.dumps(schema)
    assert "$defs" not in schema
    assert spec.description.strip() == spec.description != ""
    assert all(field.get("description") for field in schema["properties"].values())


def test_the_schema_is_the_callers_own_copy():
    BASH.parameters["properties"].clear()
    assert list(BASH.parameters["properties"]) == ["command", "timeout"]


def test_bash_sends_the_command_as_it_is():
    server = Server(ECHO)
    client = TroveClient("key", "n", transport=server)
    result = client.run(BASH.call({"command": "echo 'hi' \\\n && true"}))
    assert (result.text, result.value) == ("hi", CommandRun(0, "hi\n", "", 3))
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/v1/exec")
    assert json.loads(request.body) == {"command": "echo 'hi' \\\n && true"}


def test_a_result_in_plain_values():
    client = TroveClient("key", "n", transport=Server(ECHO))
    plain = client.run(BASH.call({"command": "echo hi"})).plain
    assert json.loads(json.dumps(plain)) == ECHO


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "missing required field `command`"),
        ({"command": 3}, "Expected `str`, got `int`"),
        ({"command": None}, "Expected `str`, got `null`"),
        ({"command": "ls", "cwd": "/"}, "no argument 'cwd'; it takes: command, timeout"),
        ({"command": "ls", "timeout": 0}, "> 0.0"),
    ],
)
def test_wrong_arguments_never_leave(arguments, words):
    server = Server(ECHO)
    with pytest.raises(InvalidArguments, match=words) as caught:
        TroveClient("key", "n", transport=server).run(BASH.call(arguments))
    assert caught.value.recovery == "fix-arguments"
    assert server.requests == []


def test_a_tool_may_take_several_calls():
    class Pair(msgspec.Struct):
        first: str
        second: str

    def both(arguments, context):
        a = yield from BASH.action(arguments_of(arguments.first), context)
        b = yield from BASH.action(arguments_of(arguments.second), context)
        return [a.stdout, b.stdout]

    def arguments_of(command):
        return BASH.parse({"command": command})

    spec = ToolSpec("pair", "Two commands.", Pair, both, lambda value, limit: "".join(value)[:limit])
    server = Server(ECHO)
    result = TroveClient("key", "n", transport=server).run(
        spec.call({"first": "x", "second": "y"}, max_characters=4)
    )
    assert (result.text, result.value) == ("hi\nh", ["hi\n", "hi\n"])
    assert [json.loads(request.body)["command"] for request in server.requests] == ["x", "y"]
