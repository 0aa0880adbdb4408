"""Wallets: the calls of the public wallet service. Amounts are ``Decimal``, in USD."""

import warnings
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Final

import msgspec

from trove_agents.client.approvals import APPROVALS, WalletApproval, used
from trove_agents.client.call import Call, Flow, get, post, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.money import Amount, dollars, total, usd
from trove_agents.client.transport import Reply
from trove_agents.client.wallet_pages import Pagination
from trove_agents.errors import (
    TroveAuthError,
    TroveError,
    TroveNotFoundError,
    WalletBudgetWarning,
    WalletExists,
)
from trove_agents.wire.wallets import PAGE

NAMESPACES: Final = "namespaces"
"""The capability: wallets know their agent's namespace."""
_WALLETS: Final = ("api", "wallets")
_UNKNOWN: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})
"""What a server answers that has no such call."""


class WalletInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet: the budget of one agent."""

    id: int
    agent_id: str
    name: str
    budget_limit_usd: Decimal
    created_at: str
    frozen: bool = False
    """Nothing can be spent or held."""
    parent_id: int | None = None
    """The wallet whose budget this one's is a part of."""
    namespace: str | None = None
    """The agent's: its feed has the wallet's events too."""


class WalletTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """One movement of money."""

    id: int
    wallet_id: int
    amount_usd: Decimal
    type: str
    """``debit``; of a Trove server also ``credit`` (a refund) and ``write_off``."""
    created_at: str
    description: str | None = None
    vendor: str | None = None
    hold_id: int | None = None
    """The hold that it ended, if it ended one."""
    refunds: int | None = None
    """Of a credit: the transaction that it gives back from."""


class WalletBalance(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent from a wallet, and what is left. Decide on ``remaining_budget``."""

    total_spent: Decimal
    remaining_budget: Decimal
    transaction_count: int
    held_usd: Decimal = Decimal(0)
    """Kept for payments that are under way."""
    in_doubt_usd: Decimal = Decimal(0)
    """Kept for payments of which nobody knows how they ended."""

    @property
    def budget_usd(self) -> Decimal:
        """The whole budget."""
        return total(self.total_spent, self.remaining_budget, self.held_usd, self.in_doubt_usd)


class WalletsPage(msgspec.Struct, frozen=True):
    """Wallets, oldest first."""

    wallets: list[WalletInfo]
    next_cursor: str | None
    """The number of the page after it."""


class TransactionsPage(msgspec.Struct, frozen=True):
    """Transactions, newest first."""

    transactions: list[WalletTransaction]
    next_cursor: str | None
    """The number of the page after it."""


def create_wallet(
    agent_id: str, name: str, budget_limit_usd: Amount, namespace: str | None = None
) -> Call[WalletInfo]:
    """Makes a wallet. Repeated, it would say that it is there."""
    return post(_WALLETS, wallet_info, new(agent_id, name, budget_limit_usd, namespace), once=True)


def new(agent_id: str, name: str, budget_limit_usd: Amount, namespace: str | None) -> dict[str, Any]:
    """The body of a call that makes a wallet."""
    body = {"agent_id": agent_id, "name": name, "budget_limit_usd": usd(budget_limit_usd)}
    return body if namespace is None else body | {"namespace": namespace}


def wallets_page(cursor: str | None = None) -> Call[WalletsPage]:
    """One page of the wallets that a key sees, oldest first."""
    return get(_WALLETS, _wallets, (("page", cursor or "1"), ("limit", str(PAGE))))


def purchase(
    wallet_id: int,
    amount_usd: Amount,
    *,
    description: str | None = None,
    vendor: str | None = None,
    approval: WalletApproval | None = None,
) -> Call[WalletTransaction]:
    """Spends. Not repeated by itself: it would spend twice."""
    body: dict[str, Any] = {"amount_usd": usd(amount_usd)}
    given = {
        "description": description,
        "vendor": vendor,
        "approval": None if approval is None else used(approval),
    }
    body |= {field: said for field, said in given.items() if said is not None}
    return post(_one(wallet_id, "purchase"), transaction, body, once=True)


def balance(wallet_id: int) -> Call[WalletBalance]:
    """What is left."""
    return get(_one(wallet_id, "balance"), _balance)


def transactions_page(wallet_id: int, cursor: str | None = None) -> Call[TransactionsPage]:
    """One page, newest first."""
    query = (("page", cursor or "1"), ("limit", str(PAGE)))
    return get(_one(wallet_id, "transactions"), _transactions, query)


def wallet_of(
    agent_id: str, *, budget_usd: Amount, name: str | None = None, namespace: str | None = None
) -> Flow[tuple[int, Decimal]]:
    """Makes the agent's wallet or finds it: its id, and the budget that it has.

    Raises:
        WalletExists: there is one, and the server does not say which.
        TroveAuthError: the key may make none, and sees none of that agent.
    """
    try:
        made = yield from create_wallet(agent_id, agent_id if name is None else name, budget_usd, namespace)
    except WalletExists as there:
        if there.wallet_id is None:
            raise
        found = yield from balance(there.wallet_id)
        return there.wallet_id, found.budget_usd
    except TroveAuthError as refused:
        made = yield from _spent_from(agent_id, refused)
    return made.id, made.budget_limit_usd


def _spent_from(agent_id: str, refused: TroveAuthError) -> Flow[WalletInfo]:
    """The wallet that a key is for which only spends, and so was refused to make one."""
    if refused.status_code != HTTPStatus.FORBIDDEN:
        raise refused
    try:
        seen = yield from wallets_page()
    except TroveNotFoundError:  # a server without such keys, which has other reasons
        raise refused from None
    for each in seen.wallets:
        if each.agent_id == agent_id:
            return each
    raise refused


def capabilities() -> Flow[frozenset[str]]:
    """What the server has beside the public service's calls; nothing, where it does not know the question."""
    try:
        return (yield from get(("api", "capabilities"), _names))
    except TroveError as error:
        if error.status_code not in _UNKNOWN:
            raise
        return frozenset()


class Unseen:
    """Passes on each transaction once. What is bought while pages are read moves others to the next page."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def of(self, page: TransactionsPage) -> list[WalletTransaction]:
        """Those of a page that were on none before."""
        fresh = [each for each in page.transactions if each.id not in self._seen]
        self._seen.update(each.id for each in fresh)
        return fresh


class WalletsMethods(Driver):
    """Wallets of one wallet key. An unknown or foreign wallet raises ``TroveNotFoundError``."""

    def capabilities(self) -> frozenset[str]:
        """What the server has beside the public service's calls, by name; asked once. Empty: nothing.

        ``holds``, ``idempotency``, ``refunds``, ``limits``, ``children``, ``approvals``, ``key_roles``,
        ``wallet_updates``, ``namespaces``, ``steps``.
        """
        return self.run(self._capabilities.names())

    def create_wallet(
        self, agent_id: str, name: str, budget_limit_usd: Amount, *, namespace: str | None = None
    ) -> WalletInfo:
        """Makes a wallet for an agent.

        Args:
            agent_id: The agent; it has one wallet of this key.
            name: For people.
            budget_limit_usd: What it may spend altogether; 0 is allowed.
            namespace: The agent's, whose feed then has the wallet's events too.

        Raises:
            WalletExists: the agent has one.
            NotSupported: a namespace is given, and the server does not keep it.
            TypeError: the budget is a float.
            ValueError: the budget is negative or too large, or has more than six decimals.
        """
        step = create_wallet(agent_id, name, budget_limit_usd, namespace)
        return self.run(self._capabilities.need(NAMESPACES, step, when=namespace is not None))

    def purchase(
        self,
        wallet_id: int,
        amount_usd: Amount,
        *,
        description: str | None = None,
        vendor: str | None = None,
        approval: WalletApproval | None = None,
    ) -> WalletTransaction:
        """Spends from a wallet; all that remains may be spent.

        When no answer came (``TroveConnectionError`` with ``may_have_committed``) the money may be spent: look at
        ``transactions`` before going on. A Trove server recognises a repetition, so over a network the client asks
        it again by itself.

        Args:
            wallet_id: The wallet.
            amount_usd: More than 0.
            description: For people.
            vendor: Who is paid.
            approval: A person's yes to this payment, which it uses up.

        Raises:
            BudgetExceededError: it is more than what remains, or than a limit allows; nothing was spent.
            NotSupported: it names an approval, and the server has none.
            TroveConflictError: the approval was not given, or not for this payment (``approval-unfit``).
            TypeError: the amount is a float.
            ValueError: the amount is negative or too large, or has more than six decimals.
        """
        step = purchase(wallet_id, amount_usd, description=description, vendor=vendor, approval=approval)
        return self.run(self._capabilities.need(APPROVALS, step, when=approval is not None))

    def balance(self, wallet_id: int) -> WalletBalance:
        """What was spent from a wallet, and what is left."""
        return self.send(balance(wallet_id))

    def transactions(self, wallet_id: int) -> Iterator[WalletTransaction]:
        """What moved, newest first, read page by page as it is asked for."""
        yield from self.pages(lambda cursor: transactions_page(wallet_id, cursor), Unseen().of)

    def wallet(
        self, agent_id: str, *, budget_usd: Amount, name: str | None = None, namespace: str | None = None
    ) -> "Wallet":
        """The agent's wallet, made if it has none.

        One that is there keeps its budget; when that is another, ``WalletBudgetWarning`` is issued. With a key that only
        spends it is the wallet of that key.

        Args:
            agent_id: The agent.
            budget_usd: What a new wallet may spend altogether.
            name: Of a new wallet, for people; None: the agent's.
            namespace: Of a new wallet: see ``create_wallet``.

        Raises:
            WalletExists: there is one, and the server does not say which.
            TroveAuthError: the key only spends, and from another agent's wallet.
            NotSupported: a namespace is given, and the server does not keep it.
            TypeError: the budget is a float.
            ValueError: the budget is negative or too large, or has more than six decimals.
        """
        step = wallet_of(agent_id, budget_usd=budget_usd, name=name, namespace=namespace)
        wallet_id, budget = self.run(self._capabilities.need(NAMESPACES, step, when=namespace is not None))
        _warn_of_another(agent_id, budget, budget_usd)
        return Wallet(self, wallet_id, agent_id)


class AsyncWalletsMethods(AsyncDriver):
    """As ``WalletsMethods``."""

    async def capabilities(self) -> frozenset[str]:
        """See :meth:`WalletClient.capabilities`."""
        return await self.run(self._capabilities.names())

    async def create_wallet(
        self, agent_id: str, name: str, budget_limit_usd: Amount, *, namespace: str | None = None
    ) -> WalletInfo:
        """See :meth:`WalletClient.create_wallet`."""
        step = create_wallet(agent_id, name, budget_limit_usd, namespace)
        return await self.run(self._capabilities.need(NAMESPACES, step, when=namespace is not None))

    async def purchase(
        self,
        wallet_id: int,
        amount_usd: Amount,
        *,
        description: str | None = None,
        vendor: str | None = None,
        approval: WalletApproval | None = None,
    ) -> WalletTransaction:
        """See :meth:`WalletClient.purchase`."""
        step = purchase(wallet_id, amount_usd, description=description, vendor=vendor, approval=approval)
        return await self.run(self._capabilities.need(APPROVALS, step, when=approval is not None))

    async def balance(self, wallet_id: int) -> WalletBalance:
        """See :meth:`WalletClient.balance`."""
        return await self.send(balance(wallet_id))

    async def transactions(self, wallet_id: int) -> AsyncIterator[WalletTransaction]:
        """See :meth:`WalletClient.transactions`; iterate with ``async for``."""
        async for each in self.pages(lambda cursor: transactions_page(wallet_id, cursor), Unseen().of):
            yield each

    async def wallet(
        self, agent_id: str, *, budget_usd: Amount, name: str | None = None, namespace: str | None = None
    ) -> "AsyncWallet":
        """See :meth:`WalletClient.wallet`."""
        step = wallet_of(agent_id, budget_usd=budget_usd, name=name, namespace=namespace)
        wallet_id, budget = await self.run(
            self._capabilities.need(NAMESPACES, step, when=namespace is not None)
        )
        _warn_of_another(agent_id, budget, budget_usd)
        return AsyncWallet(self, wallet_id, agent_id)


class Wallet:
    """The wallet of one agent, over the client that made it."""

    def __init__(self, client: WalletsMethods, wallet_id: int, agent_id: str) -> None:
        self.client = client
        self.id = wallet_id
        self.agent_id = agent_id

    def purchase(
        self,
        amount_usd: Amount,
        *,
        description: str | None = None,
        vendor: str | None = None,
        approval: WalletApproval | None = None,
    ) -> WalletTransaction:
        """As ``WalletClient.purchase`` from this wallet."""
        return self.client.purchase(
            self.id, amount_usd, description=description, vendor=vendor, approval=approval
        )

    def balance(self) -> WalletBalance:
        """What was spent, and what is left."""
        return self.client.balance(self.id)

    def transactions(self) -> Iterator[WalletTransaction]:
        """What moved, newest first, read page by page as it is asked for."""
        return self.client.transactions(self.id)

    def __repr__(self) -> str:
        return f"Wallet(id={self.id}, agent_id={self.agent_id!r})"


class AsyncWallet:
    """As ``Wallet``."""

    def __init__(self, client: AsyncWalletsMethods, wallet_id: int, agent_id: str) -> None:
        self.client = client
        self.id = wallet_id
        self.agent_id = agent_id

    async def purchase(
        self,
        amount_usd: Amount,
        *,
        description: str | None = None,
        vendor: str | None = None,
        approval: WalletApproval | None = None,
    ) -> WalletTransaction:
        """As ``Wallet.purchase``."""
        return await self.client.purchase(
            self.id, amount_usd, description=description, vendor=vendor, approval=approval
        )

    async def balance(self) -> WalletBalance:
        """As ``Wallet.balance``."""
        return await self.client.balance(self.id)

    def transactions(self) -> AsyncIterator[WalletTransaction]:
        """As ``Wallet.transactions``; iterate with ``async for``."""
        return self.client.transactions(self.id)

    def __repr__(self) -> str:
        return f"AsyncWallet(id={self.id}, agent_id={self.agent_id!r})"


class _WalletAnswer(msgspec.Struct, frozen=True):
    wallet: WalletInfo


class _WalletsAnswer(msgspec.Struct, frozen=True):
    wallets: list[WalletInfo]
    pagination: Pagination


class _TransactionAnswer(msgspec.Struct, frozen=True):
    transaction: WalletTransaction


class _BalanceAnswer(msgspec.Struct, frozen=True):
    balance: WalletBalance


class _TransactionsAnswer(msgspec.Struct, frozen=True):
    transactions: list[WalletTransaction]
    pagination: Pagination


_WALLET_ANSWER = value(_WalletAnswer)
_WALLETS_ANSWER = value(_WalletsAnswer)
_TRANSACTION_ANSWER = value(_TransactionAnswer)
_BALANCE_ANSWER = value(_BalanceAnswer)
_TRANSACTIONS_ANSWER = value(_TransactionsAnswer)
_CAPABILITIES = value(dict)


def _one(wallet_id: int, *rest: str) -> tuple[str, ...]:
    return (*_WALLETS, str(wallet_id), *rest)


def wallet_info(reply: Reply) -> WalletInfo:
    """The parser of answers about one wallet."""
    return _WALLET_ANSWER(reply).wallet


def _wallets(reply: Reply) -> WalletsPage:
    answer = _WALLETS_ANSWER(reply)
    return WalletsPage(answer.wallets, answer.pagination.following(answer.wallets))


def transaction(reply: Reply) -> WalletTransaction:
    """The parser of answers about one movement of money."""
    return _TRANSACTION_ANSWER(reply).transaction


def _balance(reply: Reply) -> WalletBalance:
    return _BALANCE_ANSWER(reply).balance


def _transactions(reply: Reply) -> TransactionsPage:
    answer = _TRANSACTIONS_ANSWER(reply)
    return TransactionsPage(answer.transactions, answer.pagination.following(answer.transactions))


def _names(reply: Reply) -> frozenset[str]:
    named = frozenset(name for name, there in _CAPABILITIES(reply).items() if there is True) - {"success"}
    return named | {"steps"} if "holds" in named else named  # a part of holds, without a name of their own


def _warn_of_another(agent_id: str, budget: Decimal, asked: Amount) -> None:
    if budget != Decimal(asked):
        message = f"the wallet of {agent_id!r} is there, with a budget of {dollars(budget)}, not {dollars(Decimal(asked))}: it was left as it is"
        warnings.warn(message, WalletBudgetWarning, stacklevel=3)
