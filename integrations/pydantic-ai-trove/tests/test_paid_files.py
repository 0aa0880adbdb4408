"""Paid tools in a workspace that follows the conversation: a call that is not made again has its files all the same."""

import pytest
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, FunctionToolset, RunContext
from pydantic_ai.messages import ModelResponse, UserPromptPart

from pydantic_ai_trove import TroveWallet, TroveWorkspace, WalletToolset, without_references
from trove_agents.guard import Guard, ask_above

from .engine import Durability, Recorded
from .histories import Died, crashed, returns, stored


class Shop:
    """A program that pays, and what it had stored at the first moment that a call of its was made."""

    def __init__(self, trove, guard, scripted, *turns, toolset=False, inner=(), **options):
        self.sold, self.waits, self.drafts = [], None, 0
        tools = FunctionToolset(id="shop")
        tools.add_function(self.buy, name="buy", sequential=True)
        tools.add_function(self.draft, name="draft", sequential=True)
        tools.add_function(self.dies, name="dies", sequential=True)
        prices = {"buy": "0.3"}
        self.workspace = TroveWorkspace(trove, tools=())
        self.agent = Agent(
            scripted(*turns),
            name="shop",
            toolsets=[WalletToolset(tools, guard, prices) if toolset else tools],
            capabilities=[self.workspace, *([] if toolset else [TroveWallet(guard, prices)]), *inner],
            output_type=[str, DeferredToolRequests],
            **options,
        )

    async def buy(self, ctx: RunContext[bool], work: str) -> str:
        """Buys, with a command."""
        self.waits = self.waits or stored(ctx.messages)
        self.sold.append(work)
        done = await ctx.workspace.run(work, shell=True)
        assert done.exit_code == 0, done.stderr
        return f"bought {len(self.sold)}"

    async def draft(self, ctx: RunContext[bool]) -> str:
        """Writes another draft each time."""
        self.drafts += 1
        await ctx.workspace.write_text("a", f"draft {self.drafts}\n")
        return "done"

    async def dies(self, ctx: RunContext[bool]) -> str:
        """Dies when it is told so."""
        if ctx.deps:
            raise Died
        return "done"


@pytest.fixture
def guard(wallet, journal):
    return Guard(wallet, journal=journal)


@pytest.fixture
def shop(trove, guard, scripted):
    return lambda *turns, guard=guard, **options: Shop(trove, guard, scripted, *turns, **options)


def buy(work):
    return ("buy", {"work": work})


def place(result):
    return result.workspace.ref.id


def missing(part):
    return part.metadata.get("missing_files")


def notes(result):
    """What the model was told beside results."""
    parts = [part for message in result.all_messages() for part in message.parts]
    return [str(part.content) for part in parts if isinstance(part, UserPromptPart)][1:]


WORK = {
    "a file": "echo page > p",
    "more of a file": "echo page >> a",
    "a directory": "mkdir -p d && echo page > d/p",
    "less": "rm a",
    "a program and a link": "cp a b && chmod +x b && ln -s b l",
    "a directory less": "rm -r old",
}


@pytest.mark.parametrize("toolset", [False, True], ids=["capability", "toolset"])
@pytest.mark.parametrize("work", WORK)
async def test_a_crash_between_the_capture_and_its_result(shop, files, numbers, work, toolset):
    mine = shop([("draft", {})], [buy("mkdir old && echo x > old/x")], [buy(WORK[work])], toolset=toolset)
    first = await mine.agent.run("go")
    done = files(place(first))
    before = first.all_messages()[:6]
    assert isinstance(before[-1], ModelResponse)
    again = await mine.agent.run(message_history=stored(before))
    assert files(place(again)) == done
    assert [part.content for part in returns(again)] == ["done", "bought 1", "bought 2"]
    assert (len(mine.sold), numbers(), notes(again)) == (2, ("0.6", "0", "0"), [])
    await mine.agent.run("on", message_history=stored(again.all_messages()))
    assert files(place(again)) == done


async def test_one_that_is_answered_before_the_next_one_dies(shop, files, numbers):
    """What it brought back is kept as what a call did that ended."""
    mine = shop([buy("echo page > p"), ("dies", {})])
    await mine.agent.run("go")
    history = await crashed(mine.agent, message_history=mine.waits)
    last = await mine.agent.run(message_history=history)
    assert files(place(last)) == {"p": "page\n"}
    assert [part.outcome for part in returns(last)] == ["success", "interrupted"]
    assert (len(mine.sold), numbers()) == (1, ("0.3", "0", "0"))


async def test_each_of_several_has_its_own(shop, files, numbers):
    mine = shop([buy("echo 1 > p"), ("draft", {}), buy("echo 2 > q; echo 2 >> p"), buy("echo 3 > q")])
    first = await mine.agent.run("go")
    done = files(place(first))
    again = await mine.agent.run(message_history=mine.waits)
    assert files(place(again)) == {**done, "a": "draft 2\n"}
    assert [missing(part) for part in returns(again) if part.tool_name == "buy"] == [None] * 3
    assert (len(mine.sold), numbers()) == (3, ("0.9", "0", "0"))


@pytest.mark.parametrize("work", ["echo mine >> a", "rm a", "chmod +x a"])
async def test_what_was_changed_otherwise_is_left_alone_and_told(shop, files, work):
    mine = shop([("draft", {}), buy(f"echo page > p; {work}")])
    await mine.agent.run("go", conversation_id="otherwise")
    first = mine.waits
    again = await mine.agent.run(message_history=first)
    assert files("otherwise") == {"a": "draft 2\n"}
    part = returns(again)[-1]
    assert (part.content, missing(part)) == ("bought 1", ["workspace/a", "workspace/p"])
    (note,) = notes(again)
    assert "paid for before" in note
    assert "workspace/a" in note
    await mine.agent.run("on", message_history=stored(again.all_messages()))
    assert (files("otherwise"), len(mine.sold)) == ({"a": "draft 2\n"}, 1)


async def test_others_that_changed_it_since(shop, trove, files):
    """A history that says nothing of files takes them as they are: those of the call, and what became of them."""
    mine = shop([buy("echo page > p; echo page > q")])
    first = await mine.agent.run("go")
    silent = without_references(mine.waits)
    again = await mine.agent.run(message_history=silent)
    assert missing(returns(again)[-1]) is None
    trove.client(place(first)).write("q", "theirs")
    again = await mine.agent.run(message_history=silent)
    assert missing(returns(again)[-1]) == ["workspace/q"]
    assert files(place(first)) == {"p": "page\n", "q": "theirs"}


async def test_an_approval_resumed_twice(shop, wallet, journal, files, numbers):
    guard = Guard(wallet, journal=journal, policy=ask_above("0.1"))
    mine = shop([buy("echo page >> a"), ("draft", {})], guard=guard)
    waits = await mine.agent.run("go")
    yes = DeferredToolResults(approvals={"0-0": True})
    for _ in range(3):
        done = await mine.agent.run(message_history=stored(waits.all_messages()), deferred_tool_results=yes)
        assert files(place(done)) == {"a": "draft 1\npage\n"}
        assert sorted(part.content for part in returns(done)) == ["bought 1", "done"]
    assert (len(mine.sold), numbers()) == (1, ("0.3", "0", "0"))


async def test_back_to_before_it(shop, files, numbers):
    mine = shop([("draft", {})], [buy("echo page > p")], [("draft", {})])
    first = await mine.agent.run("go")
    await mine.workspace.rewind(first.all_messages(), 1)
    assert files(place(first)) == {"a": "draft 1\n"}
    again = await mine.agent.run(message_history=mine.waits)
    assert files(place(again)) == {"a": "draft 3\n", "p": "page\n"}
    assert (len(mine.sold), numbers()) == (1, ("0.3", "0", "0"))


async def test_in_another_workspace(shop, trove, files, numbers):
    mine = shop([buy("echo page > p")])
    first = await mine.agent.run("go")
    again = await mine.agent.run(message_history=mine.waits, workspace="new")
    assert place(again) != place(first)
    assert files(place(again)) == {"p": "page\n"}
    trove.client(place(first)).delete_namespace(place(first))
    last = await mine.agent.run(message_history=mine.waits, workspace="new")
    assert missing(returns(last)[-1]) == []
    assert "not known any more" in notes(last)[0]
    assert (len(mine.sold), numbers()) == (1, ("0.3", "0", "0"))


async def test_in_a_durable_run_it_is_part_of_the_operation(shop, trove, files, numbers):
    """A program ended when all was captured; what became of the files since, the engine did not record."""
    recorded = Recorded()
    mine = shop([buy("echo page > p")], inner=[Durability()])
    with recorded.container():
        await mine.agent.run("go")
    paid = recorded.names().index("pay")
    recorded.units = {at: unit for at, unit in recorded.units.items() if at < paid}
    trove.client("chat-1").delete("p")
    with recorded.container():
        again = await mine.agent.run("go")
    assert (files("chat-1"), missing(returns(again)[-1])) == ({"p": "page\n"}, None)
    trove.client("chat-1").delete("p")
    with recorded.container():
        recovered = await mine.agent.run("go")
    assert returns(recovered)[0].metadata == returns(again)[0].metadata
    assert files("chat-1") == {}
    assert (len(mine.sold), numbers()) == (1, ("0.3", "0", "0"))
