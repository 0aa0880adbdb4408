"""The same story with every saver, in all three durability modes: the mechanism needs nothing of them but storing."""

from contextlib import asynccontextmanager, contextmanager

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from langgraph_trove import adelete_thread, aprune, delete_thread, prune

from .graphs import Crash, astep, before, bound, config, line, step, text, wide

NEW = {"log": []}


@contextmanager
def memory(folder, url):
    yield InMemorySaver()


@contextmanager
def sqlite(folder, url):
    with SqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        yield saver


@contextmanager
def postgresql(folder, url):
    with PostgresSaver.from_conn_string(url(folder)) as saver:
        saver.setup()
        yield saver


@asynccontextmanager
async def async_sqlite(folder, url):
    async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        yield saver


@asynccontextmanager
async def async_postgresql(folder, url):
    async with AsyncPostgresSaver.from_conn_string(url(folder)) as saver:
        await saver.setup()
        yield saver


def graph(make, crashes, saver, client, **options):
    """Steps in line, side by side, and in a graph of their own, one of which asks."""
    inner = line(make("1"), make("2", asks=True)).compile()
    builder = wide(make("a"), make("b"), make("x", crashes), last=make("d"))
    builder.edges.discard(("d", "__end__"))
    builder.add_node("sub", inner).add_edge("d", "sub")
    builder.add_node("e", make("e")).add_edge("sub", "e")
    return bound(builder, saver, client, **options)


@pytest.mark.parametrize("open_saver", [memory, sqlite, postgresql])
def test_threads(open_saver, durability, client, tmp_path, postgres_url):
    with open_saver(tmp_path, postgres_url) as saver:
        app = graph(step, {"x": 1}, saver, client)
        with pytest.raises(Crash):
            app.invoke(NEW, config(), durability=durability)
        app.invoke(None, config(), durability=durability)
        assert sorted(text(client)) == sorted("abxd1"), "the step that asks is undone"
        app.invoke(Command(resume=1), config(), durability=durability)
        assert sorted(text(client)) == sorted("abxd12e")
        if durability != "exit":
            app.invoke(None, before(app, "d"), durability=durability)
            app.invoke(Command(resume=1), config(), durability=durability)
            assert sorted(text(client)) == sorted("abxd12e")
        ref = app.get_state(config()).values["workspace"]
        assert text(client, at=ref["reference"]) == text(client)
        prune(app, "t")
        delete_thread(app, "t")
    assert list(client.references()) == []


@pytest.mark.parametrize("open_saver", [async_sqlite, async_postgresql])
async def test_asyncio(open_saver, durability, client, async_client, tmp_path, postgres_url):
    async with open_saver(tmp_path, postgres_url) as saver:
        app = graph(astep, {"x": 1}, saver, async_client)
        with pytest.raises(Crash):
            await app.ainvoke(NEW, config(), durability=durability)
        await app.ainvoke(None, config(), durability=durability)
        assert sorted(text(client)) == sorted("abxd1")
        await app.ainvoke(Command(resume=1), config(), durability=durability)
        assert sorted(text(client)) == sorted("abxd12e")
        if durability != "exit":
            found = (state.config async for state in app.aget_state_history(config()) if "d" in state.next)
            old = await anext(found)
            await app.ainvoke(None, old, durability=durability)
            await app.ainvoke(Command(resume=1), config(), durability=durability)
            assert sorted(text(client)) == sorted("abxd12e")
        ref = (await app.aget_state(config())).values["workspace"]
        assert text(client, at=ref["reference"]) == text(client)
        await aprune(app, "t")
        await adelete_thread(app, "t")
    assert list(client.references()) == []
