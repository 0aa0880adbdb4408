"""The logic of payments, as flows. Order: journal, hold, journal, tool, journal, capture or void, journal.

A hold is given back only on positive evidence that nothing was charged. Anything else is in doubt and keeps it.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

from msgspec.structs import replace

from trove_agents.client import wallets
from trove_agents.client.money import dollars
from trove_agents.errors import BudgetExceededError, TroveError
from trove_agents.guard import guarantees, policies, telemetry
from trove_agents.guard.driving import Consult, GuardFlow, Pause, ask, do
from trove_agents.guard.errors import (
    AlreadyPaid,
    PaymentConflict,
    PaymentDenied,
    PaymentInDoubt,
    UnsettledWarning,
)
from trove_agents.guard.guarantees import Guarantees
from trove_agents.guard.journal import Journal
from trove_agents.guard.money import Holds, Money, refuses
from trove_agents.guard.policies import Policy, Proposal, Verdict
from trove_agents.guard.prepay import Prepay
from trove_agents.guard.prices import micros
from trove_agents.guard.states import Entry, Receipt, State, as_usd

Outcome: TypeAlias = Literal["charged", "not-charged", "write-off"]

Resolver: TypeAlias = Callable[[Receipt], Any]
"""Asks a vendor how a payment in doubt ended: ``"charged"``, ``"not-charged"``, the amount that was charged as a ``Decimal``,
or None where the vendor does not know either. A coroutine function will do for an ``AsyncGuard``."""

_LOG: Final = logging.getLogger("trove_agents.guard")
_UNDER_WAY: Final = "it is under way elsewhere, or was interrupted; after a crash `recover()` sorts it out"
_UNKNOWN: Final = "nobody knows whether it was made; `resolve()` it"
_MOVED: Final = "it was settled elsewhere meanwhile"
_UNSETTLED: Final[tuple[State, ...]] = ("intended", "running", "settling")
_GOES_ON: Final[tuple[State, ...]] = ("running", "in_doubt", "voided", "settling")
"""Where a tool that ran may find its payment when it ends."""


class Payments:
    """Payments of one wallet."""

    def __init__(
        self,
        wallet_id: int,
        journal: Journal,
        holds: Holds,
        prepay: Prepay,
        *,
        policy: Policy | None,
        resolvers: Mapping[str, Resolver],
    ) -> None:
        self._wallet_id = wallet_id
        self._journal = journal
        self._holds = holds
        self._prepay = prepay
        self._money: Money = holds
        self._guarantees: Guarantees | None = None
        self._policy = policy
        self._resolvers = resolvers
        self._left: dict[str, Entry] = {}
        """What could not be settled since the wallet was not reached."""

    def ready(self) -> GuardFlow[Guarantees]:
        """Finds out what the wallet's server has, if that is not known yet: so what holds for the payments."""
        if self._guarantees is None:
            has = yield from ask(wallets.capabilities())
            self._guarantees = found = guarantees.of(has)
            self._money = self._holds if found.mode == "holds" else self._prepay
            self._money.learn(has)
            _LOG.log(logging.INFO if found.mode == "holds" else logging.WARNING, "%s: %s", found.mode, found)
        return self._guarantees

    def begin(
        self, wanted: Entry, arguments: Mapping[str, Any] | None, *, approved: bool
    ) -> GuardFlow[Entry]:
        """Holds the money and writes down that the tool runs now, or says why it must not.

        Raises:
            TroveError: see :meth:`Guard.authorize`. The tool must not run.
        """
        yield from self._settle_left()
        there = yield from do(lambda: self._enter(wanted, approved=approved))
        if there is wanted:
            return (yield from self._start(wanted))
        if there is not None:
            there = yield from self._again(there, wanted)
            if there.state == "waiting":
                return (yield from self._resume(there))
            anew = there.state == "voided"
            wanted = replace(
                wanted, attempt=there.attempt + 1 if anew else there.attempt, created_at=there.created_at
            )
        if (why := (yield from self._needs_a_person(wanted, arguments))) and not approved:
            wanted = yield from self._money.approved(wanted, why)
        entry = yield from self._intend(there, wanted)
        return (yield from self._start(entry))

    def settle(self, entry: Entry, charged: int, result: bytes | None) -> GuardFlow[Entry]:
        """Books how a tool that ran ended. Never raises what the wallet says: the tool has run.

        Where the wallet cannot be reached, or that is cut short, the next payment or ``recover`` tells it; where it refuses,
        the payment is in doubt.
        """
        settling = yield from self._move(
            entry, _GOES_ON, "settling", settle_micros=charged, result=result, note=None
        )
        if settling.attempt != entry.attempt and charged:
            # Somebody said wrongly that nothing was charged, and it was paid anew: this one is booked all the same
            settling = yield from self._beside(entry, charged, result)
        elif settling.state != "settling":
            return settling  # somebody else said how it ended, and knew it
        try:
            return (yield from self._finish(settling))
        except TroveError as error:
            if not refuses(error):
                self._left[settling.key] = settling
                return settling
            _warn_unbooked(settling, error)
            return (yield from self._now(settling))
        except BaseException:  # a cancellation: the wallet may not have heard of it
            self._left[settling.key] = settling
            raise

    def doubt(self, entry: Entry, why: str, result: bytes | None = None) -> GuardFlow[Entry]:
        """Nobody knows what a tool that ran was charged: the journal says so, and the wallet if it can be told."""
        doubted = yield from self._move(entry, ("running",), "in_doubt", note=why, result=result)
        if doubted.state == "in_doubt":
            yield from self._of(doubted).doubt(doubted)
        return doubted

    def wait(self, entry: Entry, why: str) -> GuardFlow[Entry]:
        """The tool stopped to wait for somebody: the hold stays for when it runs again."""
        return (yield from self._move(entry, ("running", "in_doubt"), "waiting", note=why))

    def those(self, *states: State) -> GuardFlow[list[Entry]]:
        """Payments in some states, oldest first."""
        return (yield from do(lambda: self._journal.those(self._wallet_id, states)))

    def resolve(self, key: str, outcome: Outcome, charged: int | None) -> GuardFlow[Entry]:
        """Ends a payment in doubt, or one that waits, as a person says.

        Raises:
            ValueError: there is none of this key, or it cannot have been charged so much.
            TroveError: the wallet refuses, or cannot be reached: then it is still in doubt, or ``recover`` ends it.
        """
        entry = yield from do(lambda: self._journal.find(self._wallet_id, key))
        if entry is None or entry.state not in ("in_doubt", "waiting"):
            raise ValueError(f"no payment {key!r} is in doubt")
        if outcome == "write-off":
            if entry.state == "waiting":
                entry = yield from self._doubt_waiting(entry)
            ended = yield from self._of(entry).write_off(entry)
            return (yield from self._replace(entry, ended))
        if outcome == "not-charged":
            charged = 0
        elif charged is None:
            charged = _all_of(entry)
        elif charged > entry.micros:
            raise ValueError(
                f"{dollars(as_usd(charged))} is more than the {dollars(as_usd(entry.micros))} that were held"
            )
        settling = entry.to("settling", settle_micros=charged)
        if not (yield from do(_replaced(self._journal, entry, settling))):
            raise PaymentInDoubt(key, _MOVED)
        return (yield from self._finish(settling))

    def recover(self, older_than: float) -> GuardFlow[list[Entry]]:
        """Sorts out what a crash left some seconds ago or earlier, and returns what changed."""
        until = time.time() - older_than
        done = []
        for entry in (yield from self.those("in_doubt")):
            yield from self._of(entry).doubt(entry)  # the wallet may not have heard of it
            found = yield from self._look(entry)
            known_charged = bool(entry.settle_micros)
            if found is not None and not (known_charged and found.state == "voided"):
                done.append((yield from self._replace(entry, found)))
            elif (resolved := (yield from self._consult(entry))).state != "in_doubt":
                done.append(resolved)
        for entry in (yield from self.those(*_UNSETTLED)):
            if older_than and entry.updated_at > until:
                continue
            if entry.state == "running":
                doubted = yield from self.doubt(entry, "the program ended while the tool ran")
                if doubted.state == "in_doubt":
                    done.append((yield from self._consult(doubted)))
                continue
            ending = entry if entry.state == "settling" else entry.to("settling", settle_micros=0)
            if ending is entry or (yield from do(_replaced(self._journal, entry, ending))):
                with suppress(PaymentInDoubt):  # not known yet
                    done.append((yield from self._finish_or_doubt(ending)))
        yield from self._money.reconcile()
        return done

    def _enter(self, wanted: Entry, *, approved: bool) -> Entry | None:
        """The payment of that key. What was wanted itself: there was none, nobody has to be asked, and now it is written down."""
        # Most are new, so it is written at once: that it was there shows then
        if self._policy is None and (approved or not self._doubted(wanted)) and self._journal.add(wanted):
            return wanted
        return self._journal.find(wanted.wallet_id, wanted.key)

    def _again(self, there: Entry, wanted: Entry) -> GuardFlow[Entry]:
        """A payment of the same key that was there before: returned if it may be made now."""
        if there.fingerprint != wanted.fingerprint:
            raise PaymentConflict(
                f"the key {wanted.key!r} belongs to a payment of another price, tool, vendor or other arguments"
            )
        if there.state == "in_doubt":
            there = yield from self._consult(there)
        if there.state == "settling":
            try:
                there = yield from self._finish(there)
            except TroveError as error:
                if not there.settle_micros:
                    raise
                if refuses(error):
                    there = yield from self._now(there)
        if there.state in ("captured", "written_off") or (there.state == "settling" and there.settle_micros):
            raise AlreadyPaid(Receipt.of(there), there.result)
        if there.state in ("voided", "denied", "waiting"):
            return there
        raise PaymentInDoubt(wanted.key, _UNKNOWN if there.state == "in_doubt" else _UNDER_WAY)

    def _consult(self, entry: Entry) -> GuardFlow[Entry]:
        """A payment in doubt after its vendor was asked, if there is a resolver for it."""
        resolver = self._resolvers.get(entry.vendor or "")
        if resolver is None or entry.state != "in_doubt":
            return entry
        try:
            said = yield Consult(resolver, Receipt.of(entry))
            charged = _charged(said, entry)
        except Exception as error:  # noqa: BLE001 (then nobody knows, as before)
            _LOG.warning("the resolver of %s failed for %r: %r", entry.vendor, entry.key, error)
            return entry
        if charged is None:
            return entry
        settling = entry.to("settling", settle_micros=charged, note=None)
        if not (yield from do(_replaced(self._journal, entry, settling))):
            return (yield from self._now(entry))
        return (yield from self._finish_or_doubt(settling))

    def _look(self, entry: Entry) -> GuardFlow[Entry | None]:
        """A payment in doubt as somebody else ended it in the wallet; None also where the wallet does not tell of it."""
        try:
            return (yield from self._of(entry).look(entry))
        except TroveError as error:
            if not refuses(error):
                raise
            _LOG.warning("the wallet does not say what became of %r: %s", entry.key, error)
            return None

    def _settle_left(self) -> GuardFlow[None]:
        """Settles what an earlier call could not, now that there is another call to the wallet anyway."""
        for key in list(self._left):
            if (entry := self._left.pop(key, None)) is not None:
                try:
                    yield from self._finish(entry)
                except PaymentInDoubt:  # not known yet: for `recover`, or its next call
                    continue
                except TroveError as error:
                    if not refuses(error):
                        self._left[key] = entry
                        return
                    _warn_unbooked(entry, error)

    def _needs_a_person(self, wanted: Entry, arguments: Mapping[str, Any] | None) -> GuardFlow[str]:
        """Why; empty if not.

        Raises:
            PaymentDenied: the policy says no.
        """
        verdict = self._verdict(wanted, arguments)
        if isinstance(verdict, policies.Deny):
            raise PaymentDenied(f"the payment was refused: {verdict.reason}", limiting_rule="policy")
        if others := (yield from do(lambda: self._doubted(wanted))):
            return f"nobody knows whether the same was paid before, as {others[0]!r}"
        return (verdict.reason or "the policy asks") if isinstance(verdict, policies.Ask) else ""

    def _doubted(self, wanted: Entry) -> list[str]:
        """The other keys under which the same may have been paid."""
        if wanted.intent is None:
            return []
        doubted = self._journal.those(self._wallet_id, ("in_doubt",), intent=wanted.intent)
        return [entry.key for entry in doubted if entry.key != wanted.key]

    def _verdict(self, wanted: Entry, arguments: Mapping[str, Any] | None) -> Verdict:
        if self._policy is None:
            return policies.Approve()
        proposal = Proposal(
            key=wanted.key,
            price_usd=as_usd(wanted.micros),
            tool=wanted.tool,
            vendor=wanted.vendor,
            arguments=arguments,
        )
        try:
            verdict = self._policy(proposal)
            if not isinstance(verdict, Verdict):
                raise TypeError(f"a policy answers a verdict, not {verdict!r}")  # noqa: TRY301 (it failed)
        except Exception as error:
            raise PaymentDenied(f"the payment was refused, since the policy failed: {error!r}") from error
        return verdict

    def _intend(self, there: Entry | None, wanted: Entry) -> GuardFlow[Entry]:
        if there is None:
            done = yield from do(lambda: self._journal.add(wanted))
        else:
            there.to("intended")
            done = yield from do(_replaced(self._journal, there, wanted))
        if not done:  # another process was faster
            raise PaymentInDoubt(wanted.key, _UNDER_WAY)
        return wanted

    def _start(self, entry: Entry) -> GuardFlow[Entry]:
        """Holds the money, and writes down that the tool runs now."""
        running = None
        try:
            try:
                running = yield from self._money.take(entry)
            except BudgetExceededError as refused:
                if refused.limiting_rule != "approval_above" or entry.approval is not None:
                    raise
                approved = yield from self._money.approved(entry, "the wallet's limit asks for it")
                yield from do(_replaced(self._journal, entry, approved))
                entry = approved
                running = yield from self._money.take(entry)
            if not (yield from do(_replaced(self._journal, entry, running))):
                running = None
            yield Pause()
        except GeneratorExit:
            raise
        except BaseException as error:
            after = self._money.untaken(entry, error)
            ours = yield from do(_replaced(self._journal, entry, after))
            if not ours and running is not None:
                after = running.to("settling", settle_micros=0)
                ours = yield from do(_replaced(self._journal, running, after))
            if ours and after.state == "settling":
                self._left[after.key] = after
            raise
        if running is None:
            # `recover` of another process took it for left behind, and it gives the hold back, or did
            raise PaymentInDoubt(entry.key, _MOVED)
        return running

    def _resume(self, there: Entry) -> GuardFlow[Entry]:
        running, resumed = there.to("running"), False
        try:
            resumed = yield from do(_replaced(self._journal, there, running))
            yield Pause()
        except GeneratorExit:
            raise
        except BaseException:
            if resumed:  # its tool has not run: it waits as before
                yield from do(_replaced(self._journal, running, there))
            raise
        if not resumed:
            raise PaymentInDoubt(there.key, _UNDER_WAY)
        return running

    def _doubt_waiting(self, entry: Entry) -> GuardFlow[Entry]:
        """A payment that waits, as one in doubt.

        Raises:
            PaymentInDoubt: its tool runs again, or somebody else has ended it.
        """
        doubted = entry.to("in_doubt")
        if not (yield from do(_replaced(self._journal, entry, doubted))):
            raise PaymentInDoubt(entry.key, _MOVED)
        yield from self._of(doubted).doubt(doubted)
        return doubted

    def _move(self, entry: Entry, where: Iterable[State], state: State, **changes: Any) -> GuardFlow[Entry]:
        """Writes down where a payment that we began goes on from, whichever of some states it is in by now.

        `recover` of another process may have taken it for left behind meanwhile, and somebody may have said that nothing
        was charged. Returned is where it is then.
        """
        now = entry
        while now.attempt == entry.attempt and now.state in where and not _known_charged(now):
            after = replace(entry, state=now.state).to(state, **changes)
            if (yield from do(_replaced(self._journal, now, after))):
                return after
            now = yield from self._now(entry)
        return now

    def _beside(self, entry: Entry, charged: int, result: bytes | None) -> GuardFlow[Entry]:
        """An attempt that was charged, as a payment of its own: its key belongs to another attempt by now."""
        beside = replace(
            entry,
            key=f"{entry.key} (attempt {entry.attempt})",
            state="settling",
            drawn=0,
            settle_micros=charged,
            result=result,
        )
        yield from do(lambda: self._journal.add(beside))
        return beside

    def _of(self, entry: Entry) -> Money:
        """Who moves the money of a payment. The server may have learnt to hold money since it was bought."""
        return self._prepay if entry.drawn else self._money

    def _finish(self, entry: Entry) -> GuardFlow[Entry]:
        """Tells the wallet how a payment ended, as often as needed: it books it once."""
        if entry.hold_id is None and not entry.drawn:
            # What would be given back may be held by now for the next try, which is the same to the wallet
            there = yield from self._now(entry)
            if (there.state, there.attempt) != ("settling", entry.attempt):
                return there
        try:
            ended = yield from self._of(entry).settle(entry)
        except TroveError as error:
            if refuses(error) and entry.hold_id is not None:
                # The hold has ended otherwise, or may not be touched: a person has to look
                yield from do(_replaced(self._journal, entry, entry.to("in_doubt", note=str(error))))
            raise
        return (yield from self._replace(entry, ended))

    def _finish_or_doubt(self, entry: Entry) -> GuardFlow[Entry]:
        """As :meth:`_finish`; in doubt where the wallet refuses."""
        try:
            return (yield from self._finish(entry))
        except TroveError as error:
            if not refuses(error):
                raise
            return (yield from self._now(entry))

    def _replace(self, entry: Entry, ended: Entry) -> GuardFlow[Entry]:
        """Writes the end down. Need not reach the disk at once: told again, the wallet says the same."""
        if (yield from do(_replaced(self._journal, entry, ended, durable=False))):
            return ended
        return (yield from self._now(entry))

    def _now(self, entry: Entry) -> GuardFlow[Entry]:
        found = yield from do(lambda: self._journal.find(entry.wallet_id, entry.key))
        assert found is not None, "nothing is ever deleted"
        return found


def _known_charged(entry: Entry) -> bool:
    """Whether a payment is being settled since it was charged."""
    return entry.state == "settling" and bool(entry.settle_micros)


def _all_of(entry: Entry) -> int:
    """Micro-USD that a payment did cost of which nothing more is said than that it was charged."""
    return entry.micros if entry.settle_micros is None else entry.settle_micros


def _charged(said: object, entry: Entry) -> int | None:
    """Micro-USD, from what a resolver says."""
    if said is None:
        return None
    if said in ("charged", "not-charged"):
        return _all_of(entry) if said == "charged" else 0
    if not isinstance(said, Decimal):
        raise TypeError(f"a resolver does not say {said!r}")
    if (charged := micros(said)) > entry.micros:
        raise ValueError(f"{dollars(said)} is more than was held")
    return charged


def _warn_unbooked(entry: Entry, error: TroveError) -> None:
    if entry.settle_micros:
        said = f"the payment {entry.key!r} could not be booked and is in doubt: {error}"
        warnings.warn(said, UnsettledWarning, stacklevel=2)


def _replaced(journal: Journal, before: Entry, after: Entry, *, durable: bool = True) -> Any:
    def replaced() -> bool:
        done = journal.replace(before, after, durable=durable)
        if done:
            telemetry.moved(before, after)
        return done

    return replaced
