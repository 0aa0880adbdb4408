"""HTTP of approvals."""

from trove_agents.server.http import Request
from trove_agents.server.routing import Family, Route
from trove_agents.server.wallets.approvals import Approvals
from trove_agents.server.wallets.routes import caller, identity
from trove_agents.wire import wallets as wire


def routes(family: Family, approvals: Approvals) -> list[Route]:
    def ask(request: Request, body: wire.ApprovalRequest) -> wire.ApprovalAnswer:
        return approvals.ask(caller(request), identity(request, "wallet_id"), body)

    def listing(request: Request, query: wire.ApprovalsQuery) -> wire.ApprovalsAnswer:
        return approvals.listing(caller(request), identity(request, "wallet_id"), query)

    def one(request: Request) -> wire.ApprovalAnswer:
        return approvals.one(caller(request), identity(request, "approval_id"))

    def approve(request: Request, _: wire.Nothing) -> wire.ApprovalAnswer:
        return approvals.answer(caller(request), identity(request, "approval_id"), "approved")

    def deny(request: Request, _: wire.Nothing) -> wire.ApprovalAnswer:
        return approvals.answer(caller(request), identity(request, "approval_id"), "denied")

    return [
        Route(
            "POST",
            "/api/wallets/{wallet_id}/approvals",
            ask,
            run="hop",
            access="family",
            summary="Ask a person about a payment",
            body=wire.ApprovalRequest,
            reply=wire.ApprovalAnswer,
            errors=(404,),
            once=True,
            family=family,
        ),
        Route(
            "GET",
            "/api/wallets/{wallet_id}/approvals",
            listing,
            run="hop",
            access="family",
            summary="List the approvals, newest first",
            query=wire.ApprovalsQuery,
            reply=wire.ApprovalsAnswer,
            errors=(404,),
            family=family,
        ),
        Route(
            "GET",
            "/api/approvals/{approval_id}",
            one,
            run="inline",
            access="family",
            summary="An approval",
            reply=wire.ApprovalAnswer,
            errors=(404,),
            family=family,
        ),
        *(
            Route(
                "POST",
                f"/api/approvals/{{approval_id}}/{name}",
                endpoint,
                run="hop",
                access="family",
                summary=summary,
                body=wire.Nothing,
                body_optional=True,
                reply=wire.ApprovalAnswer,
                errors=(403, 404),
                once=True,
                family=family,
            )
            for name, endpoint, summary in (
                ("approve", approve, "Say yes to a payment"),
                ("deny", deny, "Say no to a payment"),
            )
        ),
    ]
