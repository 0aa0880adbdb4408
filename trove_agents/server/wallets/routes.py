"""HTTP of wallets: the public service's calls, under its own paths."""

from typing import Final, cast

from trove_agents.server.http import Request
from trove_agents.server.routing import Family, Route
from trove_agents.server.wallets.keys import WalletPrincipal
from trove_agents.server.wallets.refusals import invalid
from trove_agents.server.wallets.service import Wallets
from trove_agents.wire import wallets as wire

_DIGITS: Final = 19


def caller(request: Request) -> WalletPrincipal:
    """Who calls a route of the family."""
    return cast("WalletPrincipal", request.principal)


def identity(request: Request, name: str) -> int:
    """A number in the path.

    Raises:
        Unprocessable: it is none.
    """
    text = request.params[name]
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise invalid(name, "an id is a whole number")
    return int(text)


def routes(family: Family, wallets: Wallets) -> list[Route]:
    def create(request: Request, body: wire.WalletRequest) -> wire.WalletAnswer:
        return wallets.create(caller(request), body)

    def purchase(request: Request, body: wire.PurchaseRequest) -> wire.TransactionAnswer:
        return wallets.purchase(caller(request), identity(request, "wallet_id"), body)

    def balance(request: Request) -> wire.BalanceAnswer:
        return wallets.balance(caller(request), identity(request, "wallet_id"))

    def transactions(request: Request, query: wire.PageQuery) -> wire.TransactionsAnswer:
        return wallets.transactions(caller(request), identity(request, "wallet_id"), query)

    one = "/api/wallets/{wallet_id}"
    return [
        Route(
            "POST",
            "/api/wallets",
            create,
            run="hop",
            access="family",
            summary="Create a wallet for an agent",
            body=wire.WalletRequest,
            reply=wire.WalletAnswer,
            errors=(403, 409),
            once=True,
            family=family,
        ),
        Route(
            "POST",
            one + "/purchase",
            purchase,
            run="hop",
            access="family",
            summary="Spend from a wallet",
            body=wire.PurchaseRequest,
            reply=wire.TransactionAnswer,
            errors=(402, 404),
            once=True,
            family=family,
        ),
        Route(
            "GET",
            one + "/balance",
            balance,
            run="inline",
            access="family",
            summary="What was spent and what is left",
            reply=wire.BalanceAnswer,
            errors=(404,),
            family=family,
        ),
        Route(
            "GET",
            one + "/transactions",
            transactions,
            run="hop",
            access="family",
            summary="List the transactions, newest first",
            query=wire.PageQuery,
            reply=wire.TransactionsAnswer,
            errors=(404,),
            family=family,
        ),
    ]
