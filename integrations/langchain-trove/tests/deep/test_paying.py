"""Deep agents that pay for tools, themselves and through agents that they send."""

import pytest

pytest.importorskip("deepagents", reason="in an environment of its own: make deepagents")

from deepagents import create_deep_agent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langchain_trove import WalletMiddleware, paid
from trove_agents.guard import Guard, NotCharged, ask_above

from ..vendors import GO, SEARCH, THREAD, answers, tool_of

SEND = [("task", {"description": "Find out about otters", "subagent_type": "finder"})]


@pytest.fixture
def sending(scripted, guard):
    """Makes a deep agent that sends another one to search."""

    def make(search, *turns, **finder):
        sent = {"name": "finder", "description": "Finds out.", "system_prompt": "Find out.", **finder}
        return create_deep_agent(
            scripted(SEND, "done"),
            tools=[search],
            subagents=[{**sent, "model": scripted(*(turns or [SEARCH]), "found")}],
            checkpointer=InMemorySaver(),
        )

    return make


def test_a_paid_tool_is_paid_for_by_whichever_agent_calls_it(sending, guard, vendor, numbers):
    app = sending(paid(tool_of(vendor), "0.3", guard=guard))
    assert answers(app.invoke(GO, THREAD))[0].text == "found"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


def test_an_agent_that_is_sent_has_a_middleware_of_its_own(sending, guard, vendor, numbers):
    app = sending(tool_of(vendor), middleware=[WalletMiddleware(guard, prices={"search": "0.3"})])
    assert answers(app.invoke(GO, THREAD))[0].text == "found"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


@pytest.mark.parametrize("by", ["a paid tool", "the middleware"])
def test_a_person_is_asked_for_what_it_pays(sending, wallet, journal, vendor, numbers, by):
    asking = Guard(wallet, journal=journal, policy=ask_above("0.1"))
    if by == "a paid tool":
        app = sending(paid(tool_of(vendor), "0.3", guard=asking))
    else:
        app = sending(tool_of(vendor), middleware=[WalletMiddleware(asking, prices={"search": "0.3"})])
    (asked,) = app.invoke(GO, THREAD)["__interrupt__"]
    assert (asked.value["tool"], numbers()) == ("search", ("0", "0", "0"))
    assert answers(app.invoke(Command(resume=True), THREAD))[0].text == "found"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


def test_after_a_crash_what_it_paid_for_is_not_paid_again(sending, guard, vendor, numbers):
    app = sending(paid(tool_of(vendor), "0.3", guard=guard), SEARCH, [("search", {"query": "seals"})])
    vendor.then = [None, NotCharged("closed")]
    with pytest.raises(NotCharged):
        app.invoke(GO, THREAD)
    assert answers(app.invoke(None, THREAD))[0].text == "found"
    assert (numbers(), vendor.calls) == (("0.6", "0", "0"), ["otters", "seals", "seals"])
