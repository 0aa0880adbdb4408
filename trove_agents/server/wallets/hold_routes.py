"""HTTP of holds and refunds: what this server adds to the public service's calls."""

from trove_agents.server.http import Request
from trove_agents.server.routing import Family, Route
from trove_agents.server.wallets.holds import Holds
from trove_agents.server.wallets.routes import caller, identity
from trove_agents.server.wallets.service import Wallets
from trove_agents.wire import wallets as wire


def routes(family: Family, holds: Holds, wallets: Wallets) -> list[Route]:
    def create(request: Request, body: wire.HoldRequest) -> wire.HoldAnswer:
        return holds.create(caller(request), identity(request, "wallet_id"), body)

    def listing(request: Request, query: wire.HoldsQuery) -> wire.HoldsAnswer:
        return holds.listing(caller(request), identity(request, "wallet_id"), query)

    def one(request: Request) -> wire.HoldAnswer:
        return holds.one(caller(request), identity(request, "hold_id"))

    def capture(request: Request, body: wire.PartRequest) -> wire.TransactionAnswer:
        return holds.capture(caller(request), identity(request, "hold_id"), body)

    def void(request: Request, _: wire.Nothing) -> wire.HoldAnswer:
        return holds.void(caller(request), identity(request, "hold_id"))

    def extend(request: Request, body: wire.ExtendRequest) -> wire.HoldAnswer:
        return holds.extend(caller(request), identity(request, "hold_id"), body)

    def doubt(request: Request, _: wire.Nothing) -> wire.HoldAnswer:
        return holds.doubt(caller(request), identity(request, "hold_id"))

    def write_off(request: Request, _: wire.Nothing) -> wire.TransactionAnswer:
        return holds.write_off(caller(request), identity(request, "hold_id"))

    def refund(request: Request, body: wire.PartRequest) -> wire.TransactionAnswer:
        return wallets.refund(caller(request), identity(request, "transaction_id"), body)

    return [
        Route(
            "POST",
            "/api/wallets/{wallet_id}/holds",
            create,
            run="hop",
            access="family",
            summary="Keep money for a payment",
            body=wire.HoldRequest,
            reply=wire.HoldAnswer,
            errors=(402, 404),
            once=True,
            family=family,
        ),
        Route(
            "GET",
            "/api/wallets/{wallet_id}/holds",
            listing,
            run="hop",
            access="family",
            summary="List the holds, newest first",
            query=wire.HoldsQuery,
            reply=wire.HoldsAnswer,
            errors=(404,),
            family=family,
        ),
        Route(
            "GET",
            "/api/holds/{hold_id}",
            one,
            run="inline",
            access="family",
            summary="A hold",
            reply=wire.HoldAnswer,
            errors=(404,),
            family=family,
        ),
        *(
            Route(
                "POST",
                f"/api/holds/{{hold_id}}/{name}",
                endpoint,
                run="hop",
                access="family",
                summary=summary,
                body=body,
                body_optional=True,
                reply=reply,
                errors=(403, 404, 410) if name == "write-off" else (404, 410),
                once=True,
                family=family,
            )
            for name, endpoint, summary, body, reply in (
                ("capture", capture, "Spend what is held", wire.PartRequest, wire.TransactionAnswer),
                ("void", void, "Give back what is held", wire.Nothing, wire.HoldAnswer),
                ("extend", extend, "Let a hold last", wire.ExtendRequest, wire.HoldAnswer),
                ("doubt", doubt, "Say that nobody knows whether it was paid", wire.Nothing, wire.HoldAnswer),
                (
                    "write-off",
                    write_off,
                    "Take what is in doubt for spent",
                    wire.Nothing,
                    wire.TransactionAnswer,
                ),
            )
        ),
        Route(
            "POST",
            "/api/transactions/{transaction_id}/refund",
            refund,
            run="hop",
            access="family",
            summary="Give back what was spent",
            body=wire.PartRequest,
            body_optional=True,
            reply=wire.TransactionAnswer,
            errors=(403, 404),
            once=True,
            family=family,
        ),
    ]
