"""The guard: a payment is never made twice and never forgotten, whatever happens to the program that makes it."""

from trove_agents.guard.errors import (
    AlreadyPaid,
    ApprovalNeeded,
    DoubleChargeWarning,
    EchoWarning,
    NotCharged,
    PaymentConflict,
    PaymentDenied,
    PaymentInDoubt,
    UnsettledWarning,
)
from trove_agents.guard.evidence import Evidence, answered, any_of, not_sent, turned_away
from trove_agents.guard.guarantees import Guarantees
from trove_agents.guard.guard import AsyncGuard, Guard, Paid, Payment
from trove_agents.guard.journal import Journal, SqliteJournal
from trove_agents.guard.paid import AsyncPaidFunction, PaidFunction, paid, paying_for
from trove_agents.guard.payments import Outcome, Resolver
from trove_agents.guard.policies import Approve, Ask, Deny, Policy, Proposal, Verdict, ask_above
from trove_agents.guard.prices import Metered, Price, at_rate, highest_usd
from trove_agents.guard.states import Entry, Pool, Purchase, Receipt, State

__all__ = [
    "AlreadyPaid",
    "ApprovalNeeded",
    "Approve",
    "Ask",
    "AsyncGuard",
    "AsyncPaidFunction",
    "Deny",
    "DoubleChargeWarning",
    "EchoWarning",
    "Entry",
    "Evidence",
    "Guarantees",
    "Guard",
    "Journal",
    "Metered",
    "NotCharged",
    "Outcome",
    "Paid",
    "PaidFunction",
    "Payment",
    "PaymentConflict",
    "PaymentDenied",
    "PaymentInDoubt",
    "Policy",
    "Pool",
    "Price",
    "Proposal",
    "Purchase",
    "Receipt",
    "Resolver",
    "SqliteJournal",
    "State",
    "UnsettledWarning",
    "Verdict",
    "answered",
    "any_of",
    "ask_above",
    "at_rate",
    "highest_usd",
    "not_sent",
    "paid",
    "paying_for",
    "turned_away",
]
