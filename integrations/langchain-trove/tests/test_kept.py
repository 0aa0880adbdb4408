"""What a paid tool returned is there again as it was, or not at all."""

import json
from dataclasses import dataclass
from decimal import Decimal

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import ParentCommand
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command, Send

from langchain_trove import WalletMiddleware
from langchain_trove.kept import answered, kept

from .vendors import GO, SEARCH, THREAD, answers

CALL = {"name": "search", "args": {"query": "otters"}, "id": "1", "type": "tool_call"}
USED = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
TOLD = ToolMessage("a page", tool_call_id="1", name="search")


@pytest.mark.parametrize(
    "reply",
    [
        TOLD,
        ToolMessage([{"type": "text", "text": "a page"}], tool_call_id="1", artifact={"n": [1, 2.5, None]}),
        ToolMessage("gone", tool_call_id="1", status="error", additional_kwargs={"why": "closed"}),
        Command(),
        Command(update={"messages": [HumanMessage("go", id="h"), TOLD], "rounds": 1}, goto="next"),
        Command(update={"messages": [AIMessage("", tool_calls=[CALL], usage_metadata=USED)]}),
        Command(update={"messages": [RemoveMessage("h"), TOLD]}, goto=["one", "other"]),
        Command(graph=Command.PARENT, goto=[Send("next", {"messages": [TOLD]})]),
        Command(update=[("rounds", 1)], goto=("one", "other")),
        [TOLD, Command(update={"rounds": 1})],
    ],
)
def test_it_comes_back_as_it_was(reply):
    assert answered(json.loads(json.dumps(kept(reply, "1", raised=False))), "1") == reply


@dataclass
class Page:
    text: str


@pytest.mark.parametrize(
    "reply",
    [
        Command(update={"price": Decimal(1)}),
        Command(update={"pages": {"otters"}}),
        Command(update={"page": Page("otters")}),
        Command(update={1: "one"}),
        Command(update={"most": float("nan")}),
        Command(update={"__trove": "send", "value": ["next", 1]}),
        Command(resume="yes"),
        Command(update={"messages": [ToolMessage("a page", tool_call_id="1", artifact=Page("otters"))]}),
    ],
)
def test_or_it_is_not_kept(reply):
    assert kept(reply, "1", raised=False) is None


def test_an_artifact_that_is_no_json_is_left_out():
    reply = ToolMessage("a page", tool_call_id="1", artifact=[Page("otters")])
    again = answered(json.loads(json.dumps(kept(reply, "1", raised=False))), "1")
    assert again == ToolMessage("a page", tool_call_id="1")


@pytest.mark.parametrize("reply", [TOLD, Command(update={"messages": [TOLD]})])
def test_a_call_of_another_id_is_answered_under_its_own(reply):
    again = answered(json.loads(json.dumps(kept(reply, "1", raised=False))), "2")
    told = again if isinstance(again, ToolMessage) else again.update["messages"][0]
    assert (told.content, told.tool_call_id) == ("a page", "2")


def test_also_one_that_was_raised():
    reply = Command(graph=Command.PARENT, update={"messages": [TOLD]})
    with pytest.raises(ParentCommand) as sent:
        answered(json.loads(json.dumps(kept(reply, "1", raised=True))), "2")
    assert [message.tool_call_id for message in sent.value.args[0].update["messages"]] == ["2"]


def replayed(running, tool):
    """What a call says, and what it says again from the checkpoint before it."""
    run, agent, _ = running(SEARCH, "done", tools=[tool], saver=InMemorySaver())
    first = run(GO)
    before = next(state for state in agent.get_state_history(THREAD) if state.next == ("tools",))
    return first, run(None, before.config)


def test_a_command_has_its_effect_again(running, numbers, vendor):
    @tool
    def search(query: str) -> Command:
        """Searches."""
        told = ToolMessage(vendor(query), tool_call_id="0.0")
        return Command(update={"messages": [HumanMessage("by the way"), told]})

    first, again = replayed(running, search)
    for state in (first, again):
        assert [message.text for message in state["messages"]][2:] == [
            "by the way",
            "a page about otters",
            "done",
        ]
        assert answers(state)[0].artifact["receipt"]["state"] == "captured"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


def test_several_replies_of_one_call_have_one_receipt_and_come_back(running, numbers, vendor):
    @tool
    def search(query: str):
        """Searches."""
        told = ToolMessage(vendor(query), tool_call_id="0.0", name="search")
        return [Command(update={"messages": [HumanMessage("by the way")]}), told]

    for state in replayed(running, search):
        assert "by the way" in [message.text for message in state["messages"]]
        assert answers(state)[0].artifact["receipt"]["charged_usd"] == "0.3"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


def test_a_result_that_was_paid_for_before_has_its_receipt(running, numbers):
    @tool(response_format="content_and_artifact")
    def search(query: str):
        """Searches."""
        return f"a page about {query}", [Page(query)]

    first, again = replayed(running, search)
    (told,), (repeated,) = answers(first), answers(again)
    assert (told.artifact, repeated.content) == ([Page("otters")], "a page about otters")
    assert told.additional_kwargs["receipt"] == repeated.artifact["receipt"]
    assert numbers() == ("0.3", "0", "0")


def test_what_was_not_kept_is_said_and_not_run_again(running, numbers, vendor):
    @tool
    def search(query: str) -> Command:
        """Searches."""
        vendor(query)
        update = {"messages": [ToolMessage("a page", tool_call_id="0.0", artifact=Page(query))]}
        return Command(update=update)

    _, again = replayed(running, search)
    assert "not kept" in answers(again)[0].content
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


def test_what_a_tool_sent_to_the_graph_around_it_is_sent_again(guard, numbers, vendor):
    middleware = WalletMiddleware(guard, prices={"search": "0.3"})
    state = {"messages": [AIMessage("", tool_calls=[CALL], id="m")]}
    request = ToolCallRequest(tool_call=CALL, tool=None, state=state, runtime=None)

    def sends(request):
        found = vendor(request.tool_call["args"]["query"])
        raise ParentCommand(Command(graph=Command.PARENT, update={"found": found}, goto="next"))

    for _ in range(2):
        with pytest.raises(ParentCommand) as sent:
            middleware.wrap_tool_call(request, sends)
        (command,) = sent.value.args
        assert (command.update, command.goto) == ({"found": "a page about otters"}, "next")
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])
