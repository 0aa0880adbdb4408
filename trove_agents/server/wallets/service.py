"""The rules of wallets: who sees which, and what may be bought."""

from typing import Final, NoReturn

from trove_agents.server import texts
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import NotFound
from trove_agents.server.wallets import announcements, shapes, store
from trove_agents.server.wallets.keys import WalletPrincipal
from trove_agents.server.wallets.ledger import Movement, move, note
from trove_agents.server.wallets.refusals import AgentTaken, InsufficientFunds, amount, positive
from trove_agents.server.wallets.store import WalletRow
from trove_agents.wire.wallets import (
    BalanceAnswer,
    PageQuery,
    Pagination,
    PurchaseRequest,
    TransactionAnswer,
    TransactionsAnswer,
    WalletAnswer,
    WalletRequest,
)

_LARGEST_ID: Final = 2**63 - 1


class Wallets:
    """Wallets of all keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, principal: WalletPrincipal, request: WalletRequest) -> WalletAnswer:
        """A wallet for an agent.

        Raises:
            AgentTaken: the key has one for that agent.
            Unprocessable: a text cannot be stored, or the budget is no amount.
        """
        texts.check("agent_id", request.agent_id)
        texts.check("name", request.name)
        budget = amount("budget_limit_usd", request.budget_limit_usd)

        def commit(tx: Connection) -> WalletAnswer:
            tx.alone(f"wallet agents {principal.key}")
            if (taken := store.by_agent(tx, principal.key, request.agent_id)) is not None:
                raise AgentTaken(taken)
            row = store.add(
                tx,
                owner=principal.key,
                agent=request.agent_id,
                name=request.name,
                budget=budget,
                created_us=self._database.now_ns() // 1000,
            )
            return WalletAnswer(wallet=shapes.wallet(row))

        return self._database.write(commit)

    def purchase(
        self, principal: WalletPrincipal, wallet_id: int, request: PurchaseRequest
    ) -> TransactionAnswer:
        """Spends at once. What is exactly left can be spent.

        Raises:
            InsufficientFunds: more than is left; nothing was changed.
            NotFound: no such wallet of this key.
            Unprocessable: the amount is none, or a text cannot be stored.
        """
        texts.check("description", request.description)
        texts.check("vendor", request.vendor)
        asked = positive("amount_usd", request.amount_usd)

        def commit(tx: Connection) -> TransactionAnswer:
            now_ns = self._database.now_ns()
            wallet = find(tx, principal, wallet_id)
            if (moved := move(tx, wallet.path, Movement("debit", spent=asked))) is None:
                refuse(tx, wallet, asked)
            row = store.add_transaction(
                tx,
                wallet=wallet.id,
                kind="debit",
                amount=asked,
                description=request.description,
                vendor=request.vendor,
                created_us=now_ns // 1000,
            )
            movement = Movement("debit", spent=asked, transaction=row.id)
            note(tx, moved, movement, principal=principal, now_us=now_ns // 1000)
            after = moved[wallet.id][1]
            announcements.captured(tx, principal, wallet, row, after, now_ns=now_ns)
            return TransactionAnswer(
                transaction=shapes.transaction(row), wallet=shapes.spent(wallet.id, after)
            )

        try:
            return self._database.write(commit)
        except InsufficientFunds as refusal:
            announcements.denied(self._database, principal, wallet_id, refusal)
            raise

    def balance(self, principal: WalletPrincipal, wallet_id: int) -> BalanceAnswer:
        """The counters of a wallet.

        Raises:
            NotFound: no such wallet of this key.
        """
        with self._database.read() as db:
            wallet = find(db, principal, wallet_id)
        return BalanceAnswer(
            wallet=shapes.name(wallet), balance=shapes.balance(wallet.counters, wallet.transactions)
        )

    def transactions(
        self, principal: WalletPrincipal, wallet_id: int, query: PageQuery
    ) -> TransactionsAnswer:
        """A page of what changed what was spent, newest first.

        Raises:
            NotFound: no such wallet of this key.
        """
        with self._database.read() as db:
            wallet = find(db, principal, wallet_id)
            rows = store.page(db, wallet.id, skip=(query.page - 1) * query.limit, count=query.limit)
        total = wallet.transactions
        return TransactionsAnswer(
            wallet=shapes.name(wallet),
            transactions=[shapes.transaction(row) for row in rows],
            pagination=Pagination(
                page=query.page, limit=query.limit, total=total, pages=-(-total // query.limit)
            ),
        )


def find(db: Connection, principal: WalletPrincipal, wallet_id: int) -> WalletRow:
    """A wallet of the caller's.

    Raises:
        NotFound: there is none, or it is another key's: the two look the same.
    """
    row = store.wallet(db, wallet_id) if wallet_id <= _LARGEST_ID else None
    if row is None or row.owner != principal.key:
        raise NotFound("wallet not found")
    return row


def refuse(tx: Connection, wallet: WalletRow, asked: int) -> NoReturn:
    """Says of the wallet, or of the ancestor that has least, what is left.

    Raises:
        InsufficientFunds: always.
    """
    rows = [row for identity in wallet.path if (row := store.wallet(tx, identity)) is not None]
    short = min(rows, key=lambda row: row.counters.remaining)
    rule = "budget" if short.id == wallet.id else "parent-budget"
    raise InsufficientFunds(asked, max(short.counters.remaining, 0), rule=rule)
