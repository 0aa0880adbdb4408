"""The stand-in for the public wallet service at the end of a road, and books that must add up."""

import asyncio
from decimal import Decimal

from ..client.plain_wallets import PlainWallets


class Plain:
    """The service with one wallet, as a transport."""

    retries = True

    def __init__(self):
        self.service = PlainWallets()
        self.sent = []
        self.wallet, _ = self.service.create(
            {"agent_id": "bot", "name": "bot", "budget_limit_usd": Decimal(1)}
        )
        self.wallet = self.service.wallets[0]

    def send(self, request):
        self.sent.append((request.method, request.path.rsplit("/", 1)[-1]))
        return self.service(request)

    def close(self):
        pass

    @property
    def spent(self):
        return self.service.spent(self.wallet)

    @property
    def bought(self):
        return self.service.bought_from(self.wallet)

    def calls(self, name):
        return sum(each[1] == name for each in self.sent)

    def buys(self, amount, description=None):
        """Somebody else does, or a purchase arrives late."""
        self.service.purchase(self.wallet, {"amount_usd": Decimal(amount), "description": description})


class AsyncPlain:
    """As ``Plain``, of which it is a view."""

    retries = True

    def __init__(self, plain):
        self.plain = plain

    async def send(self, request):
        await asyncio.sleep(0)
        return self.plain.send(request)

    async def aclose(self):
        pass


def micros(usd):
    return int(usd * 1_000_000)


def totals(journal):
    """What the journal has, summed from its rows: bought, drawn on, and the pool that its triggers keep."""
    with journal._lock:
        one = lambda query: journal._connection.execute(query).fetchone()
        (bought, purchases), (drawn,) = (
            one("SELECT coalesce(sum(micros), 0), count(*) FROM purchases"),
            one("SELECT coalesce(sum(drawn), 0) FROM payments"),
        )
    return bought, purchases, drawn


def adds_up(journal, plain):
    """What the wallet says was spent is what payments use and what is credit, to the micro-dollar."""
    bought, purchases, drawn = totals(journal)
    pool = journal.pool(plain.wallet["id"])
    assert (pool.credit, pool.purchases) == (bought - drawn, purchases)
    assert bought == micros(plain.spent)
    assert len(plain.bought) == purchases
