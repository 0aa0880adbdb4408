"""An agent in a process of its own, which is killed while it pays for two tools at the same time: ``dying.py FOLDER``.

Run again, it goes on, and prints what the model was told and what was paid.
"""

import json
import os
import sys
import time
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver

from langchain_trove import WalletMiddleware, paid
from trove_agents import Trove
from trove_agents.guard import Guard

FOLDER = Path(sys.argv[1])
THREAD = {"configurable": {"thread_id": "t"}}


class Model(BaseChatModel):
    """Calls both tools, and is done."""

    _llm_type = "scripted"

    def bind_tools(self, tools, **options):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **options):
        if len(messages) > 2:
            answer = AIMessage("done")
        else:
            calls = [{"name": name, "args": {}, "id": name} for name in ("search", "buy")]
            answer = AIMessage("", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=answer)])


def charge(name):
    with (FOLDER / "charged").open("a") as book:
        book.write(f"{name}\n")


with (
    Trove.local(FOLDER / "state", sandbox="none") as trove,
    SqliteSaver.from_conn_string(str(FOLDER / "checkpoints.db")) as saver,
):
    wallet = trove.wallet("agent", budget_usd=1)
    with Guard(wallet, journal=FOLDER / "payments.db") as guard:

        @tool
        def search() -> str:
            """Searches."""
            charge("search")
            return "a page"

        @tool
        def buy() -> str:
            """Charges, and dies as soon as the other is paid for."""
            charge("buy")
            while not wallet.balance().total_spent:
                time.sleep(0.01)
            os._exit(9)

        recovered = [receipt.state for receipt in guard.recover()]
        agent = create_agent(
            Model(),
            [search, paid(buy, "0.2", guard=guard)],
            middleware=[WalletMiddleware(guard, prices={"search": "0.3"}, show=False)],
            checkpointer=saver,
        )
        given = None if list(saver.list(THREAD)) else {"messages": [HumanMessage("go")]}
        told = {message.name: message.text for message in agent.invoke(given, THREAD)["messages"][2:4]}
        balance = wallet.balance()
        print(json.dumps([recovered, told, str(balance.total_spent), str(balance.in_doubt_usd)]))
