"""Faults for guards: a public kit that crashes, disturbs and doubles payments, and compares the vendor's truth with the
ledger.

It knows what it tries by a small protocol, :class:`Bench` and :class:`Subject`, so a guard of another make is an adapter
away. ``python -m trove_agents.guard.faults --help`` runs it; this package's own guards are in
``trove_agents.guard.faults.ours``, which needs the extra ``server``.
"""

from trove_agents.guard.faults.draw import Crashes, Histories, Job, Pairs, history, jobs
from trove_agents.guard.faults.kills import Stem, killed
from trove_agents.guard.faults.kit import BenchMaker, play, play_beside, scratch
from trove_agents.guard.faults.lives import Play, Run, played
from trove_agents.guard.faults.moments import Crash, Fault, Moments, Outside, What
from trove_agents.guard.faults.scenario import ENDINGS, PRICES, Ending, Scenario, Step
from trove_agents.guard.faults.seams import AsyncFaultyTransport, FaultyJournal, FaultyTransport, Late
from trove_agents.guard.faults.sheet import Sheet, markdown, table
from trove_agents.guard.faults.subject import Bench, Books, Declined, Place, Subject
from trove_agents.guard.faults.vendor import Vendor

__all__ = [
    "ENDINGS",
    "PRICES",
    "AsyncFaultyTransport",
    "Bench",
    "BenchMaker",
    "Books",
    "Crash",
    "Crashes",
    "Declined",
    "Ending",
    "Fault",
    "FaultyJournal",
    "FaultyTransport",
    "Histories",
    "Job",
    "Late",
    "Moments",
    "Outside",
    "Pairs",
    "Place",
    "Play",
    "Run",
    "Scenario",
    "Sheet",
    "Stem",
    "Step",
    "Subject",
    "Vendor",
    "What",
    "history",
    "jobs",
    "killed",
    "markdown",
    "play",
    "play_beside",
    "played",
    "scratch",
    "table",
]
