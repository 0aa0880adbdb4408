"""The rules of wallets: who sees which, and what may be bought."""

import msgspec
from msgspec import UNSET

from trove_agents.server import texts
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import NotFound
from trove_agents.server.wallets import announcements, paging, shapes, store
from trove_agents.server.wallets.answers import once
from trove_agents.server.wallets.approvals import use
from trove_agents.server.wallets.keys import WalletPrincipal
from trove_agents.server.wallets.ledger import Movement, note, set_budget
from trove_agents.server.wallets.limits import encoded
from trove_agents.server.wallets.refusals import (
    AgentTaken,
    BudgetTooLow,
    OverRefund,
    amount,
    invalid,
    positive,
)
from trove_agents.server.wallets.settling import shift
from trove_agents.server.wallets.spending import counters_now, find, spend, take
from trove_agents.server.wallets.tallies import About
from trove_agents.wire import namespaces
from trove_agents.wire.steps import Step
from trove_agents.wire.wallets import (
    DEPTH,
    LARGEST_ID,
    BalanceAnswer,
    Limits,
    LimitsAnswer,
    PageQuery,
    PartRequest,
    PurchaseRequest,
    TransactionAnswer,
    TransactionsAnswer,
    WalletAnswer,
    WalletChange,
    WalletRequest,
    WalletsAnswer,
    WalletsQuery,
)


class Wallets:
    """Wallets of all keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, principal: WalletPrincipal, request: WalletRequest, *, parent: int | None = None
    ) -> WalletAnswer:
        """A wallet for an agent. What a ``parent``'s child spends is spent from both.

        Raises:
            Forbidden: a key that only spends.
            AgentTaken: the key has one for that agent.
            NotFound: there is no such parent of this key.
            Unprocessable: a budget over the parent's, too many ancestors, a text cannot be stored, the budget is no amount, or the
                namespace can be none.
        """
        principal.owns()
        texts.check("agent_id", request.agent_id)
        texts.check("name", request.name)
        if request.namespace is not None and not namespaces.valid(request.namespace):
            raise invalid("namespace", "a namespace is 1 to 128 characters of A-Z, a-z, 0-9, _ and -")
        budget = amount("budget_limit_usd", request.budget_limit_usd)

        def commit(tx: Connection) -> WalletAnswer:
            tx.alone(f"wallet agents {principal.owner}")
            if (taken := store.by_agent(tx, principal.owner, request.agent_id)) is not None:
                raise AgentTaken(taken)
            above = None if parent is None else find(tx, principal, parent)
            if above is not None and budget > above.counters.budget:
                raise invalid("budget_limit_usd", "the budget of a child is at most its parent's")
            if above is not None and len(above.path) > DEPTH:
                raise invalid("wallet_id", f"a wallet has at most {DEPTH} ancestors")
            row = store.add(
                tx,
                owner=principal.owner,
                ancestors=[] if above is None else above.path,
                agent=request.agent_id,
                name=request.name,
                budget=budget,
                namespace=request.namespace,
                created_us=self._database.now_ns() // 1000,
            )
            return WalletAnswer(wallet=shapes.wallet(row))

        return self._database.write(once(principal, commit))

    def own(self, principal: WalletPrincipal, query: WalletsQuery) -> WalletsAnswer:
        """A page of the wallets that a key sees, oldest first."""
        with self._database.read() as db:
            rows, place = store.own(db, principal.owner, query, only=principal.wallet)
        return WalletsAnswer(wallets=[shapes.wallet(row) for row in rows], pagination=place)

    def one(self, principal: WalletPrincipal, wallet_id: int) -> WalletAnswer:
        """A wallet.

        Raises:
            NotFound: no such wallet of this key.
        """
        with self._database.read() as db:
            return WalletAnswer(wallet=shapes.wallet(find(db, principal, wallet_id)))

    def change(self, principal: WalletPrincipal, wallet_id: int, request: WalletChange) -> WalletAnswer:
        """Another budget or name, or freezes.

        Raises:
            Forbidden: a key that only spends.
            BudgetTooLow: more than the new budget was spent, is held or is in doubt.
            NotFound: no such wallet of this key.
            Unprocessable: the budget is no amount, or the name cannot be stored.
        """
        principal.owns()
        texts.check("name", request.name)
        limit = (
            None
            if request.budget_limit_usd is UNSET
            else amount("budget_limit_usd", request.budget_limit_usd)
        )

        def commit(tx: Connection) -> WalletAnswer:
            now_us = self._database.now_ns() // 1000
            wallet = find(tx, principal, wallet_id)
            if limit is not None:
                if (moved := set_budget(tx, wallet.id, limit)) is None:
                    raise BudgetTooLow("budget_limit_usd: more than that was spent, is held or is in doubt")
                note(tx, moved, Movement("budget"), principal=principal, now_us=now_us)
            if request.name is not None:
                store.rename(tx, wallet.id, request.name)
            if request.frozen is not None:
                store.freeze(tx, wallet.id, now_us if request.frozen else None)
            return WalletAnswer(wallet=shapes.wallet(find(tx, principal, wallet_id)))

        return self._database.write(once(principal, commit))

    def limits(self, principal: WalletPrincipal, wallet_id: int) -> LimitsAnswer:
        """The limits of a wallet.

        Raises:
            NotFound: no such wallet of this key.
        """
        with self._database.read() as db:
            kept = find(db, principal, wallet_id).limits
        return LimitsAnswer(limits=Limits() if kept is None else msgspec.json.decode(kept, type=Limits))

    def limit(self, principal: WalletPrincipal, wallet_id: int, limits: Limits) -> LimitsAnswer:
        """Puts limits in the place of those that were. What was taken before counts too.

        Raises:
            Forbidden: a key that only spends.
            NotFound: no such wallet of this key.
            Unprocessable: an amount is none, or a text cannot be stored.
        """
        principal.owns()
        kept = encoded(limits)

        def commit(tx: Connection) -> LimitsAnswer:
            store.set_limits(tx, find(tx, principal, wallet_id).id, kept)
            return LimitsAnswer(limits=limits)

        return self._database.write(once(principal, commit))

    def purchase(
        self, principal: WalletPrincipal, wallet_id: int, request: PurchaseRequest
    ) -> TransactionAnswer:
        """Spends at once. What is exactly left can be spent.

        Raises:
            InsufficientFunds: more than is left; nothing was changed.
            ApprovalUnfit: the approval that it names is not for this payment, or not given.
            NotFound: no such wallet of this key.
            Unprocessable: the amount is none, or a text cannot be stored.
        """
        texts.check("description", request.description)
        texts.check("vendor", request.vendor)
        asked = positive("amount_usd", request.amount_usd)

        def commit(tx: Connection) -> TransactionAnswer:
            now_ns = self._database.now_ns()
            wallet = find(tx, principal, wallet_id)
            step = principal.step or Step()
            approved = use(tx, principal, wallet.id, request.approval, asked=asked, now_us=now_ns // 1000)
            about = About(request.vendor, None, step.run, step.thread, now_ns // 1000, approved)
            # Before the wallet is changed: from then on others wait for this transaction
            row = store.add_transaction(
                tx,
                wallet=wallet.id,
                kind="debit",
                amount=asked,
                description=request.description,
                vendor=request.vendor,
                created_us=now_ns // 1000,
            )
            movement = Movement("debit", spent=asked, transaction=row.id, about=about)
            moved = take(tx, wallet, movement)
            note(tx, moved, movement, principal=principal, now_us=now_ns // 1000)
            after = moved[wallet.id].after
            announcements.captured(tx, principal, wallet, row, after, now_ns=now_ns)
            return TransactionAnswer(
                transaction=shapes.transaction(row), wallet=shapes.spent(wallet.id, after)
            )

        return spend(self._database, principal, wallet_id, once(principal, commit))

    def refund(
        self, principal: WalletPrincipal, transaction_id: int, request: PartRequest
    ) -> TransactionAnswer:
        """Gives back what was spent, or a part of it.

        Raises:
            Forbidden: a key that only spends.
            OverRefund: more than is left of it; of a credit or a write-off there is nothing to give back.
            NotFound: no such transaction of this key's.
            Unprocessable: the amount is none.
        """
        principal.owns()
        asked = None if request.amount_usd is UNSET else positive("amount_usd", request.amount_usd)

        def commit(tx: Connection) -> TransactionAnswer:
            now_us = self._database.now_ns() // 1000
            spent = store.transaction(tx, transaction_id) if transaction_id <= LARGEST_ID else None
            if spent is None:
                raise NotFound("transaction not found")
            wallet = find(tx, principal, spent.wallet)
            left = spent.amount - store.refunded(tx, spent.id) if spent.kind == "debit" else 0
            back = left if asked is None else asked
            if back > left or back == 0:
                raise OverRefund(back, left)
            row = store.add_transaction(
                tx,
                wallet=wallet.id,
                kind="credit",
                amount=back,
                description=spent.description,
                vendor=spent.vendor,
                created_us=now_us,
                hold=spent.hold,
                refunds=spent.id,
            )
            movement = Movement(
                "credit",
                spent=-back,
                transaction=row.id,
                hold=spent.hold,
                about=store.about(tx, spent),
            )
            after = shift(tx, principal, wallet, movement, now_us=now_us)
            return TransactionAnswer(
                transaction=shapes.transaction(row), wallet=shapes.spent(wallet.id, after)
            )

        return self._database.write(once(principal, commit))

    def balance(self, principal: WalletPrincipal, wallet_id: int) -> BalanceAnswer:
        """The counters of a wallet.

        Raises:
            NotFound: no such wallet of this key.
        """
        with self._database.read() as db:
            wallet = find(db, principal, wallet_id)
            now_us = self._database.now_ns() // 1000
            counters = counters_now(db, wallet, wallet.counters, now_us=now_us)
        return BalanceAnswer(
            wallet=shapes.name(wallet), balance=shapes.balance(counters, wallet.transactions)
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
        return TransactionsAnswer(
            wallet=shapes.name(wallet),
            transactions=[shapes.transaction(row) for row in rows],
            pagination=paging.place(query, wallet.transactions),
        )
