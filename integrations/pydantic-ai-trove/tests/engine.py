"""A small engine of durable runs, on what Pydantic AI has for those who build one: units are found again by their order."""

import asyncio
import json
from contextlib import contextmanager
from contextvars import Context, ContextVar

from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    JournalCallableOperationBackend,
    RoleBasedOperationConfig,
)

_CONTAINER = ContextVar("container", default=None)
_UNIT = ContextVar("unit", default=False)


class Recorded:
    """What the units of one durable run came to, as JSON."""

    def __init__(self):
        self.units = {}
        self.count = 0

    @contextmanager
    def container(self):
        """In it an agent runs for the first time, or again."""
        self.count = 0
        token = _CONTAINER.set(self)
        try:
            yield
        finally:
            _CONTAINER.reset(token)

    def names(self):
        return [name.rpartition(".")[2] for name, _ in self.units.values()]


class Backend(JournalCallableOperationBackend):
    def __init__(self, *, away, **named):
        super().__init__(**named)
        self.away = away

    async def execute(self, *, operation_id, name, body, cache_key, config):
        run = _CONTAINER.get()
        place, run.count = run.count, run.count + 1
        if place not in run.units:
            unit = asyncio.create_task(in_unit(body), context=Context() if self.away else None)
            run.units[place] = name, json.dumps(await unit)
        recorded, payload = run.units[place]
        assert recorded == name, "the run is another one"
        return json.loads(payload)


async def in_unit(body):
    _UNIT.set(True)
    return await body()


class Durability(BaseDurabilityCapability):
    """``away``: its units are not made where their workflow is, so nothing that a context holds reaches them."""

    engine_spec = DurabilityEngineSpec(
        engine_name="Small",
        durable_unit_noun="unit",
        durable_container_noun="run",
        codec=JSON_CODEC,
        wrapped_toolset_kinds=frozenset({"mcp", "dynamic"}),
    )

    def __init__(self, *, away=False):
        super().__init__()
        self.away = away

    @property
    def in_durable_context(self):
        return _CONTAINER.get() is not None and not _UNIT.get()

    def get_default_run_id(self):
        return "run-1" if self.in_durable_context else None

    def get_default_conversation_id(self, run_id):
        return "chat-1" if self.in_durable_context else None

    def get_durable_operation_backend(self):
        config = RoleBasedOperationConfig(model=None, event=None, capability=None, tool=None)
        return Backend(away=self.away, agent_name=self.name, config=config)
