"""Wallet calls in process: amounts are read as Decimal, as callers should."""

import json
from decimal import Decimal

import pytest

from trove_agents.client.transport import Outgoing
from trove_agents.embedded.driver import InProcess


class Answer:
    def __init__(self, reply):
        self.status = reply.status
        self.headers = reply.headers
        self.body = reply.body
        self.json = json.loads(reply.body, parse_float=Decimal)


class Wallets:
    """Calls with one wallet key."""

    def __init__(self, trove, key=None, *, bare=False):
        self.trove = trove
        self.transport = InProcess(trove._runtime)
        self.key = key
        if key is None and not bare:
            self.key = self("POST", "/api/keys", {"name": "mine"}).json["api_key"]

    def __call__(self, method, path, body=None, *, query="", data=None, headers=()):
        content = data if data is not None else b"" if body is None else json.dumps(body).encode()
        sent = [*headers] if self.key is None else [("X-Trove-Key", self.key), *headers]
        return Answer(
            self.transport.send(Outgoing(method, path, query, tuple(sent), content, len(content), 60.0))
        )

    def post(self, path, body=None, *, key=None, **more):
        headers = [("Idempotency-Key", key)] if key else []
        return self("POST", path, {} if body is None else body, headers=headers, **more)

    def get(self, path, query=""):
        return self("GET", path, query=query)

    def wallet(self, budget=10, agent="bot", **more):
        answer = self.post(
            "/api/wallets", {"agent_id": agent, "name": agent, "budget_limit_usd": budget, **more}
        )
        assert answer.status == 200, answer.body
        return answer.json["wallet"]["id"]

    def buy(self, wallet, amount, **more):
        return self.post(f"/api/wallets/{wallet}/purchase", {"amount_usd": amount, **more})

    def balance(self, wallet):
        answer = self.get(f"/api/wallets/{wallet}/balance")
        assert answer.status == 200, answer.body
        return answer.json["balance"]

    def with_key(self, key, **more):
        return Wallets(self.trove, key, **more)

    def other(self):
        return Wallets(self.trove)


@pytest.fixture
def wallets(trove):
    trove.credentials  # the workspace
    return Wallets(trove)
