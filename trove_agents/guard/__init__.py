"""The guard: a payment is never made twice and never forgotten, whatever happens to the program that makes it."""

from trove_agents.guard.errors import (
    AlreadyPaid,
    ApprovalNeeded,
    NotCharged,
    PaymentConflict,
    PaymentDenied,
    PaymentInDoubt,
    UnsettledWarning,
)
from trove_agents.guard.guard import AsyncGuard, Guard, Paid, Payment
from trove_agents.guard.journal import Journal, SqliteJournal
from trove_agents.guard.policies import Approve, Ask, Deny, Policy, Proposal, Verdict, ask_above
from trove_agents.guard.prices import Metered, Price, at_rate
from trove_agents.guard.states import Entry, Receipt, State

__all__ = [
    "AlreadyPaid",
    "ApprovalNeeded",
    "Approve",
    "Ask",
    "AsyncGuard",
    "Deny",
    "Entry",
    "Guard",
    "Journal",
    "Metered",
    "NotCharged",
    "Paid",
    "Payment",
    "PaymentConflict",
    "PaymentDenied",
    "PaymentInDoubt",
    "Policy",
    "Price",
    "Proposal",
    "Receipt",
    "SqliteJournal",
    "State",
    "UnsettledWarning",
    "Verdict",
    "ask_above",
    "at_rate",
]
