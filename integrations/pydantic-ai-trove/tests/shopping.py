"""A shop, a model that says its next line, and an agent of the two."""

import asyncio
from decimal import Decimal

from pydantic_ai import (
    Agent,
    DeferredToolRequests,
    FunctionToolset,
    ModelResponse,
    TextPart,
    ToolCallPart,
)
from pydantic_ai.models.function import FunctionModel


class Script:
    """A model that says its next line, however often it is asked; what it was told is kept."""

    def __init__(self, *lines, usage=None):
        self.lines, self.seen, self.tools, self.usage = list(lines), [], [], usage

    def __call__(self, messages, info):
        self.seen.append(messages)
        self.tools.append(info.function_tools)
        line = self.lines.pop(0)
        parts = [TextPart(line)] if isinstance(line, str) else line
        return ModelResponse(parts=parts, **({"usage": self.usage} if self.usage else {}))


class Shop:
    """A tool that charges, and then does as its test says."""

    def __init__(self):
        self.sold, self.then = [], []

    async def buy(self, sku: str) -> str:
        """Buys."""
        self.sold.append(sku)
        happens = self.then.pop(0) if self.then else None
        if isinstance(happens, BaseException):
            raise happens
        if isinstance(happens, float):
            await asyncio.sleep(happens)
            happens = None
        return f"one {sku}" if happens is None else happens


def call(sku, id="c1"):
    return ToolCallPart("buy", {"sku": sku}, tool_call_id=id)


def agent_of(script, shop, wallet, *, metadata=None, timeout=None, capabilities=(), **options):
    tools = FunctionToolset(id="shop", max_retries=3, timeout=timeout)
    tools.add_function(shop.buy, name="buy", metadata=metadata)
    return Agent(FunctionModel(script), toolsets=[tools], capabilities=[wallet, *capabilities], **options)


ASKS = {"output_type": [str, DeferredToolRequests]}


def by_length(arguments):
    return Decimal(len(arguments["sku"])) / 10
