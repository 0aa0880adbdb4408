"""What the tests say of runs and their messages."""

import pytest
from pydantic_ai import ModelMessagesTypeAdapter, capture_run_messages
from pydantic_ai.messages import ToolReturnPart


class Died(Exception):
    """The process is gone."""


def put(path, content=""):
    """A call that writes a file."""
    return ("write", {"path": path, "content": content})


def stored(messages):
    """A history as it comes back from a store."""
    return ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(list(messages)))


async def crashed(agent, *arguments, **options):
    """What was captured of a run that died."""
    with capture_run_messages() as messages, pytest.raises(Died):
        await agent.run(*arguments, deps=True, **options)
    return stored(messages)


def returns(result):
    """The results of a run's tool calls."""
    return [
        part
        for message in result.all_messages()
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]
