"""HTTP of wallets beyond the public service's calls: to list, read, change and divide them."""

import functools
import importlib.metadata

from trove_agents.server.http import Request
from trove_agents.server.routing import Family, Route
from trove_agents.server.wallets.routes import caller, identity
from trove_agents.server.wallets.service import Wallets
from trove_agents.wire import wallets as wire


def routes(family: Family, wallets: Wallets) -> list[Route]:
    def create_child(request: Request, body: wire.WalletRequest) -> wire.WalletAnswer:
        return wallets.create(caller(request), body, parent=identity(request, "wallet_id"))

    def listing(request: Request, query: wire.WalletsQuery) -> wire.WalletsAnswer:
        return wallets.own(caller(request), query)

    def read(request: Request) -> wire.WalletAnswer:
        return wallets.one(caller(request), identity(request, "wallet_id"))

    def change(request: Request, body: wire.WalletChange) -> wire.WalletAnswer:
        return wallets.change(caller(request), identity(request, "wallet_id"), body)

    def limits(request: Request) -> wire.LimitsAnswer:
        return wallets.limits(caller(request), identity(request, "wallet_id"))

    def limit(request: Request, body: wire.Limits) -> wire.LimitsAnswer:
        return wallets.limit(caller(request), identity(request, "wallet_id"), body)

    def capabilities(_: Request) -> wire.Capabilities:
        return _about()

    one = "/api/wallets/{wallet_id}"
    return [
        Route(
            "POST",
            one + "/children",
            create_child,
            run="hop",
            access="family",
            summary="Create a wallet whose budget is a part of this one's",
            body=wire.WalletRequest,
            reply=wire.WalletAnswer,
            errors=(403, 404, 409),
            once=True,
            family=family,
        ),
        Route(
            "GET",
            "/api/wallets",
            listing,
            run="hop",
            access="family",
            summary="List the wallets of the key",
            query=wire.WalletsQuery,
            reply=wire.WalletsAnswer,
            family=family,
        ),
        Route(
            "GET",
            one,
            read,
            run="inline",
            access="family",
            summary="A wallet",
            reply=wire.WalletAnswer,
            errors=(404,),
            family=family,
        ),
        Route(
            "PATCH",
            one,
            change,
            run="hop",
            access="family",
            summary="Set another budget or name, or freeze",
            body=wire.WalletChange,
            reply=wire.WalletAnswer,
            errors=(403, 404, 422),
            once=True,
            family=family,
        ),
        Route(
            "GET",
            one + "/limits",
            limits,
            run="inline",
            access="family",
            summary="The limits beside the budget",
            reply=wire.LimitsAnswer,
            errors=(404,),
            family=family,
        ),
        Route(
            "PUT",
            one + "/limits",
            limit,
            run="hop",
            access="family",
            summary="Put limits in the place of those that were",
            body=wire.Limits,
            reply=wire.LimitsAnswer,
            errors=(403, 404),
            once=True,
            family=family,
        ),
        Route(
            "GET",
            "/api/capabilities",
            capabilities,
            run="inline",
            access="family",
            summary="What there is beside the public service's calls",
            reply=wire.Capabilities,
            family=family,
        ),
    ]


@functools.cache
def _about() -> wire.Capabilities:
    """Every client asks for it, and to find out the version takes milliseconds."""
    return wire.Capabilities(version=importlib.metadata.version("trove-agents"))
