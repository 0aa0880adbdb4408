"""Wallets beyond the public service's calls: list, read, change and divide them, and give money back."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from trove_agents.client.call import Call, get, patch, post
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.holds import part
from trove_agents.client.money import Amount, usd
from trove_agents.client.wallets import (
    NAMESPACES,
    WalletInfo,
    WalletTransaction,
    new,
    transaction,
    wallet_info,
    wallets_page,
)

_PATH = ("api", "wallets")


def get_wallet(wallet_id: int) -> Call[WalletInfo]:
    """One wallet."""
    return get((*_PATH, str(wallet_id)), wallet_info)


def update_wallet(
    wallet_id: int,
    *,
    budget_limit_usd: Amount | None = None,
    name: str | None = None,
    frozen: bool | None = None,
) -> Call[WalletInfo]:
    """Sets what is given."""
    given: dict[str, Any] = {
        "budget_limit_usd": None if budget_limit_usd is None else usd(budget_limit_usd),
        "name": name,
        "frozen": frozen,
    }
    body = {field: said for field, said in given.items() if said is not None}
    return patch((*_PATH, str(wallet_id)), wallet_info, body)


def create_child(
    wallet_id: int, agent_id: str, name: str, budget_limit_usd: Amount, namespace: str | None = None
) -> Call[WalletInfo]:
    """Makes a wallet below another. Repeated, it would say that it is there."""
    body = new(agent_id, name, budget_limit_usd, namespace)
    return post((*_PATH, str(wallet_id), "children"), wallet_info, body, once=True)


def refund(transaction_id: int, amount_usd: Amount | None = None) -> Call[WalletTransaction]:
    """Gives back. Not repeated by itself: it would give back twice."""
    path = ("api", "transactions", str(transaction_id), "refund")
    return post(path, transaction, part(amount_usd), once=True)


class AccountsMethods(Driver):
    """Wallets of one key, for servers that have more than the public calls: others raise ``NotSupported``."""

    def list_wallets(self) -> Iterator[WalletInfo]:
        """The wallets of the key, oldest first, read page by page."""
        yield from self.pages(
            lambda cursor: self._capabilities.need("wallet_updates", wallets_page(cursor)),
            lambda page: page.wallets,
        )

    def get_wallet(self, wallet_id: int) -> WalletInfo:
        """A wallet as it is now."""
        return self.run(self._capabilities.need("wallet_updates", get_wallet(wallet_id)))

    def update_wallet(
        self,
        wallet_id: int,
        *,
        budget_limit_usd: Amount | None = None,
        name: str | None = None,
        frozen: bool | None = None,
    ) -> WalletInfo:
        """Sets what is given, and leaves the rest.

        Args:
            wallet_id: The wallet.
            budget_limit_usd: Not less than what was spent, is held or is in doubt (422 ``budget-too-low``).
            name: For people.
            frozen: Nothing can be spent or held then; what is held can still be captured and voided.
        """
        step = update_wallet(wallet_id, budget_limit_usd=budget_limit_usd, name=name, frozen=frozen)
        return self.run(self._capabilities.need("wallet_updates", step))

    def create_child(
        self,
        wallet_id: int,
        agent_id: str,
        name: str,
        budget_limit_usd: Amount,
        *,
        namespace: str | None = None,
    ) -> WalletInfo:
        """Makes a wallet for another agent whose budget is a part of this one's: what it spends, this one spends.

        Args:
            wallet_id: The wallet above it.
            agent_id: The other agent; it has one wallet of this key.
            name: For people.
            budget_limit_usd: At most the budget of the wallet above.
            namespace: The other agent's: see ``create_wallet``.

        Raises:
            WalletExists: the agent has one.
            NotSupported: the server has no children, or a namespace is given and it does not keep it.
        """
        step = create_child(wallet_id, agent_id, name, budget_limit_usd, namespace)
        needed = self._capabilities.need("children", step)
        return self.run(self._capabilities.need(NAMESPACES, needed, when=namespace is not None))

    def refund(self, transaction_id: int, amount_usd: Amount | None = None) -> WalletTransaction:
        """Gives a purchase or a capture back to the budget, as a transaction of the type ``credit``.

        Args:
            transaction_id: What is given back.
            amount_usd: How much of it; None: all that is left of it. More than that: 422 ``over-refund``.
        """
        return self.run(self._capabilities.need("refunds", refund(transaction_id, amount_usd)))


class AsyncAccountsMethods(AsyncDriver):
    """As ``AccountsMethods``."""

    async def list_wallets(self) -> AsyncIterator[WalletInfo]:
        """See :meth:`WalletClient.list_wallets`; iterate with ``async for``."""
        pages = self.pages(
            lambda cursor: self._capabilities.need("wallet_updates", wallets_page(cursor)),
            lambda page: page.wallets,
        )
        async for each in pages:
            yield each

    async def get_wallet(self, wallet_id: int) -> WalletInfo:
        """See :meth:`WalletClient.get_wallet`."""
        return await self.run(self._capabilities.need("wallet_updates", get_wallet(wallet_id)))

    async def update_wallet(
        self,
        wallet_id: int,
        *,
        budget_limit_usd: Amount | None = None,
        name: str | None = None,
        frozen: bool | None = None,
    ) -> WalletInfo:
        """See :meth:`WalletClient.update_wallet`."""
        step = update_wallet(wallet_id, budget_limit_usd=budget_limit_usd, name=name, frozen=frozen)
        return await self.run(self._capabilities.need("wallet_updates", step))

    async def create_child(
        self,
        wallet_id: int,
        agent_id: str,
        name: str,
        budget_limit_usd: Amount,
        *,
        namespace: str | None = None,
    ) -> WalletInfo:
        """See :meth:`WalletClient.create_child`."""
        step = create_child(wallet_id, agent_id, name, budget_limit_usd, namespace)
        needed = self._capabilities.need("children", step)
        return await self.run(self._capabilities.need(NAMESPACES, needed, when=namespace is not None))

    async def refund(self, transaction_id: int, amount_usd: Amount | None = None) -> WalletTransaction:
        """See :meth:`WalletClient.refund`."""
        return await self.run(self._capabilities.need("refunds", refund(transaction_id, amount_usd)))
