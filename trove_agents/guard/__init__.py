"""The guard: a payment is never made twice and never forgotten, whatever happens to the program that makes it."""

from trove_agents.guard.failures import (
    AlreadyPaid,
    NotCharged,
    PaymentConflict,
    PaymentInDoubt,
)
from trove_agents.guard.guard import Guard, Paid, Payment
from trove_agents.guard.journal import Journal, SqliteJournal
from trove_agents.guard.states import Entry, State

__all__ = [
    "AlreadyPaid",
    "Entry",
    "Guard",
    "Journal",
    "NotCharged",
    "Paid",
    "Payment",
    "PaymentConflict",
    "PaymentInDoubt",
    "SqliteJournal",
    "State",
]
