"""Calls that are made again from stored and from rebuilt histories: what was paid is known again."""

from contextlib import suppress
from datetime import timedelta, timezone

import pytest
from pydantic_ai import (
    BinaryContent,
    BinaryImage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    ModelRetry,
    ToolApproved,
    capture_run_messages,
)
from pydantic_ai.exceptions import UserError
from pydantic_ai.ui.vercel_ai import VercelAIAdapter

from pydantic_ai_trove import TroveWallet
from trove_agents.guard import (
    ask_above,
)

from .histories import returns
from .shopping import ASKS, Script, Shop, agent_of, call


@pytest.mark.parametrize("store", ["json", "of another time zone"])
async def test_a_history_that_ends_at_the_call_runs_it_again_and_pays_once(guarding, shop, numbers, store):
    wallet = TroveWallet(guarding(), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], "done", "done"), shop, wallet)
    whole = (await agent.run("go")).all_messages()
    stored = ModelMessagesTypeAdapter.dump_json(whole[:2])
    history = ModelMessagesTypeAdapter.validate_json(stored)
    if store == "of another time zone":
        history[1].timestamp = history[1].timestamp.astimezone(timezone(timedelta(hours=2)))
    again = await agent.run(message_history=history)
    assert returns(again)[-1].content == "one a"
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


async def test_a_crash_in_the_tool_is_in_doubt_for_the_resumed_history(guarding, shop, numbers):
    wallet = TroveWallet(guarding(), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], "done"), shop, wallet)
    shop.then = [RuntimeError("gone")]
    with pytest.raises(RuntimeError):
        async with agent.iter("go") as run:
            async for _ in run:
                kept = run.all_messages()[:2]
    again = await agent.run(
        message_history=ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(kept))
    )
    assert "do not try it again" in returns(again)[-1].content
    assert (numbers(), shop.sold) == (("0", "0", "0.3"), ["a"])


async def test_a_history_that_says_that_a_call_was_interrupted_does_not_pay_it_again(guarding, shop, numbers):
    agent = agent_of(Script([call("a")], "done"), shop, TroveWallet(guarding(), {"buy": "0.3"}))
    shop.then = [RuntimeError("gone")]
    with capture_run_messages() as captured, pytest.raises(RuntimeError):
        await agent.run("go")
    again = await agent.run(message_history=captured)
    assert returns(again)[-1].outcome == "interrupted"
    assert (numbers(), shop.sold) == (("0", "0", "0.3"), ["a"])


async def test_a_picture_that_was_paid_for_before_is_a_picture_again(guarding, shop, numbers):
    async def buy(sku: str) -> list[str | BinaryContent]:
        """Buys."""
        return ["here", BinaryContent(b"\x89PNG\xff", media_type=await Shop.buy(shop, sku))]

    shop.buy, shop.then = buy, ["image/png"]
    agent = agent_of(Script([call("a")], "done", "done"), shop, TroveWallet(guarding(), {"buy": "0.3"}))
    first = await agent.run("go")
    again = await agent.run(message_history=first.all_messages()[:2])
    (said, picture), (_, before) = returns(again)[-1].content, returns(first)[-1].content
    assert (said, type(picture), picture.data) == ("here", BinaryImage, before.data)
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


async def test_a_history_that_ends_at_the_call_takes_no_prompt_and_pays_nothing(guarding, shop, numbers):
    agent = agent_of(Script([call("a")], "done"), shop, TroveWallet(guarding(), {"buy": "0.3"}))
    whole = (await agent.run("go")).all_messages()
    with pytest.raises(UserError, match="unprocessed"):
        await agent.run("and now?", message_history=whole[:2])
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


def rebuilt(messages):
    """As an interface has them that keeps what was said alone: neither runs nor times."""
    return [
        ModelResponse(parts=each.parts) if isinstance(each, ModelResponse) else ModelRequest(parts=each.parts)
        for each in messages
    ]


def through_an_interface(messages):
    """There and back, as a browser has them."""
    return VercelAIAdapter.load_messages(VercelAIAdapter.dump_messages(messages))


@pytest.mark.parametrize("rebuild", [rebuilt, through_an_interface])
async def test_an_approval_resumed_twice_from_rebuilt_histories_is_one_purchase(
    guarding, shop, numbers, rebuild
):
    wallet = TroveWallet(guarding(policy=ask_above("0.1")), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], "done", "done", "done"), shop, wallet, **ASKS)
    first = await agent.run("go", conversation_id="chat")
    results = first.output.build_results(approvals={"c1": True})
    told = first.all_messages()
    for history in (rebuild(told), rebuild(told), told):
        again = await agent.run(
            message_history=history, deferred_tool_results=results, conversation_id="chat"
        )
        assert returns(again)[-1].content == "one a"
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


@pytest.mark.parametrize("ends", ["well", "in doubt"])
async def test_a_rebuilt_history_that_ends_at_the_call_is_the_same_payment(guarding, shop, numbers, ends):
    agent = agent_of(Script([call("a")], "done", "done"), shop, TroveWallet(guarding(), {"buy": "0.3"}))
    shop.then = [RuntimeError("gone")] if ends == "in doubt" else []
    kept = []
    with suppress(RuntimeError):
        async with agent.iter("go", conversation_id="chat") as run:
            async for _ in run:
                kept = kept or rebuilt(run.all_messages()[:2]) * (len(run.all_messages()) > 1)
    again = await agent.run(message_history=kept, conversation_id="chat")
    said = returns(again)[-1].content
    assert (said == "one a") if ends == "well" else ("do not try it again" in said)
    assert (numbers(), shop.sold) == (
        ("0.3", "0", "0") if ends == "well" else ("0", "0", "0.3"),
        ["a"],
    )


@pytest.mark.parametrize("lost", ["which use of the id", "the conversation"])
async def test_what_a_rebuilt_history_cannot_tell_apart_is_not_paid(guarding, shop, numbers, lost):
    """The same was bought under the same id: as this call, which is resumed once more, or as another one."""
    uses = 2 if lost == "which use of the id" else 1
    script = Script(*[[call("a")], "done"] * uses, "done")
    agent = agent_of(script, shop, TroveWallet(guarding(), {"buy": "0.3"}))
    history = []
    for _ in range(uses):
        whole = (await agent.run("go", message_history=history, conversation_id="chat")).all_messages()
        cut, history = [*history, *whole[len(history) :][:2]], whole
    paid = numbers(), list(shop.sold)
    conversation = "chat" if uses == 2 else "other"
    again = await agent.run(message_history=rebuilt(cut), conversation_id=conversation)
    assert "cannot be told" in returns(again)[-1].content
    assert (numbers(), shop.sold) == paid


async def test_other_purchases_in_rebuilt_histories_are_paid(guarding, shop, numbers):
    """Of other arguments under an id that was used before, and of what certainly cost nothing before."""
    shop.then = [ModelRetry("which colour?")]
    wallet = TroveWallet(guarding(), {"buy": "0.3"})
    agent = agent_of(Script([call("a", "c1")], "done", "done"), shop, wallet)
    history = (await agent.run("go", conversation_id="chat")).all_messages()[:2]
    assert numbers() == ("0", "0", "0")
    for sku in "ab":
        again = await agent.run(message_history=rebuilt(history), conversation_id="chat")
        assert returns(again)[-1].content == f"one {sku}"
        history = [*again.all_messages()[:3], ModelResponse(parts=[call("b", "c1")])]
        agent = agent_of(Script("done"), shop, wallet)
    assert (numbers(), shop.sold) == (("0.6", "0", "0"), ["a", "a", "b"])


@pytest.mark.parametrize("rebuild", [list, rebuilt])
@pytest.mark.parametrize("charged", [True, False])
async def test_arguments_that_a_person_changes_are_another_purchase(
    guarding, shop, numbers, rebuild, charged
):
    """Each is bought once, however often its approval is resumed."""
    shop.then = [] if charged else [ModelRetry("sold out")]
    wallet = TroveWallet(guarding(policy=ask_above("0.1")), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], *["done"] * 9), shop, wallet, **ASKS)
    first = await agent.run("go", conversation_id="chat")
    told = []
    for sku in "bcbc":
        yes = ToolApproved(override_args={"sku": sku})
        results = first.output.build_results(approvals={"c1": yes})
        history = rebuild(first.all_messages())
        again = await agent.run(
            message_history=history, deferred_tool_results=results, conversation_id="chat"
        )
        told.append(returns(again)[-1].content)
    assert numbers() == ("0.6", "0", "0")
    assert shop.sold == (["b", "c"] if charged else ["b", "c", "b"])
    assert told == ["one b" if charged else "sold out", "one c", "one b", "one c"]
