"""``trove-agents wallet``: what needs a person, and the answers, in a state directory and on a server."""

import json
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count

import pytest
from typer.testing import CliRunner

from trove_agents import Trove, WalletClient
from trove_agents.cli.app import app
from trove_agents.client.money import dollars
from trove_agents.client.transport import Outgoing
from trove_agents.guard import ApprovalNeeded, Entry, Guard, SqliteJournal, UnsettledWarning, ask_above

from ..client.plain_wallets import PlainWallets

NUMBERS = count()


pytestmark = pytest.mark.usefixtures("no_server_named")


@pytest.fixture
def wallet(trove):
    return trove.wallet(f"agent-{next(NUMBERS)}", budget_usd=5)


@pytest.fixture
def run(trove):
    """The command on the state directory: what it printed, or said while it refused."""

    def told(*words, where=("--data", trove.folder)):
        done = CliRunner().invoke(app, ["wallet", *map(str, words), *map(str, where)])
        if done.exit_code:
            assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.output
            return done.stderr
        return done.stdout

    return told


class Stopped(BaseException):
    """As the interrupt of a framework."""


def doubt(wallet, journal, key="k", price="0.30", error=TimeoutError("no answer")):
    with (
        Guard(wallet, journal=journal, signals=(Stopped,)) as guard,
        pytest.raises(type(error)),
        guard.authorize(price, key=key, tool="search", vendor="acme", arguments={"q": key}),
    ):
        raise error


def doubts(run, journal, *words):
    return run("doubts", "--journal", journal, *words, where=())


def test_people_read_what_is_in_doubt_and_how_to_end_it(wallet, journal, run):
    doubt(wallet, journal, "run-1/step-4", error=TimeoutError("no \x1b[2Janswer\n"))
    doubt(wallet, journal, "run-1/step-5", "0.0025", error=Stopped())
    said = doubts(run, journal)
    lines = said.splitlines()
    assert lines[0] == "run-1/step-4"
    assert lines[1].startswith(f"  $0.30 for search from acme, wallet {wallet.id}, since 20")
    assert lines[2] == r"  TimeoutError: no \x1b[2Janswer\n"
    assert "waits for somebody" in said
    assert "1 in doubt: $0.30; 1 waiting: $0.0025" in lines
    assert lines[-1].endswith(f"resolve KEY charged|not-charged|write-off --journal {journal}")


def test_programs_read_the_same(wallet, trove, journal, run):
    other = trove.wallet(f"agent-{next(NUMBERS)}", budget_usd=5)
    doubt(wallet, journal)
    doubt(other, journal, "l", "0.1")
    with Guard(wallet, journal=journal) as guard:
        running = guard.authorize("0.2", key="m")
        running.__enter__()
        found = json.loads(doubts(run, journal, "--json"))
        running.__exit__(None, None, None)
    assert [(each["wallet_id"], each["key"], each["held_usd"]) for each in found["doubts"]] == [
        (wallet.id, "k", "0.3"),
        (other.id, "l", "0.1"),
    ]
    assert (found["in_doubt_usd"], found["waiting_usd"], found["unsettled"]) == ("0.4", "0", 1)
    assert found["doubts"][0]["why"] == "TimeoutError: no answer"
    assert found["doubts"][0]["since"].startswith("20")


def test_nothing_in_doubt_is_said_in_words(wallet, journal, run):
    with Guard(wallet, journal=journal) as guard:
        guard.pay(lambda: 1, "0.1", key="k")
    assert doubts(run, journal) == "Nothing is in doubt.\n"


@pytest.mark.parametrize(
    ("outcome", "said", "spent"),
    [
        ("charged", "captured, $0.30 spent", "0.3"),
        ("not-charged", "voided, $0.30 is back in the budget", "0"),
        ("write-off", "written off, $0.30 taken for spent", "0.3"),
    ],
)
def test_a_person_ends_it_in_wallet_and_journal(wallet, journal, run, outcome, said, spent):
    doubt(wallet, journal)
    assert run("resolve", "k", outcome, "--journal", journal) == f"k: {said}\n"
    balance = wallet.balance()
    assert (balance.total_spent, balance.in_doubt_usd) == (Decimal(spent), 0)
    assert doubts(run, journal) == "Nothing is in doubt.\n"
    assert "is not in doubt, but" in run("resolve", "k", outcome, "--journal", journal)


def test_the_bill_may_say_less_than_was_held_and_not_more(wallet, journal, run):
    doubt(wallet, journal)
    words = ("resolve", "k", "charged", "--journal", journal, "--charged-usd")
    assert "is more than the $0.30 that were held" in run(*words, "0.31")
    assert "is no amount" in run(*words, "little")
    assert run(*words, "0.11") == "k: captured, $0.11 spent\n"
    assert wallet.balance().total_spent == Decimal("0.11")


def test_what_is_under_way_is_left_to_the_program(wallet, journal, run):
    with Guard(wallet, journal=journal) as guard, guard.authorize("0.2", key="k"):
        assert "under way" in run("resolve", "k", "charged", "--journal", journal)


def test_what_somebody_settled_in_the_wallet_stays_as_it_is(wallet, trove, journal, run):
    doubt(wallet, journal)
    [hold] = trove.wallets().list_holds(wallet.id, "in_doubt")
    trove.wallets().capture(hold.id, "0.1")
    ended = json.loads(run("resolve", "k", "not-charged", "--journal", journal, "--json"))
    assert (ended["state"], ended["charged_usd"]) == ("captured", "0.1")


def test_what_waits_can_be_ended_too(wallet, journal, run):
    doubt(wallet, journal, error=Stopped())
    assert run("resolve", "k", "not-charged", "--journal", journal).startswith("k: voided")
    assert wallet.balance().held_usd == 0


def test_a_payment_without_a_hold_was_not_made_from_a_wallet_with_holds(wallet, journal, run):
    kept = SqliteJournal(journal)
    kept.add(Entry(wallet_id=wallet.id, key="k", fingerprint="f", micros=300_000, state="in_doubt"))
    kept.close()
    assert "not the wallets" in run("resolve", "k", "charged", "--journal", journal)
    assert wallet.balance().total_spent == 0


def test_what_did_cost_something_and_could_not_be_booked_says_so(wallet, trove, journal, run):
    with Guard(wallet, journal=journal) as guard:
        with pytest.warns(UnsettledWarning), guard.authorize("0.30", key="k") as payment:
            trove.wallets().void(payment.receipt.hold_id)
            trove.wallets().update_wallet(wallet.id, budget_limit_usd="0.1")
            payment.capture("0.2")
    assert "it did cost $0.20, which could not be booked: " in doubts(run, journal)
    assert "0.1" in run("resolve", "k", "charged", "--journal", journal), "the wallet says why"
    trove.wallets().update_wallet(wallet.id, budget_limit_usd=1)
    assert run("resolve", "k", "charged", "--journal", journal) == "k: captured, $0.20 spent\n"


def test_a_key_of_several_wallets_asks_which(wallet, trove, journal, run):
    other = trove.wallet(f"agent-{next(NUMBERS)}", budget_usd=5)
    doubt(wallet, journal)
    doubt(other, journal)
    assert f"wallets {wallet.id}, {other.id} have" in run("resolve", "k", "charged", "--journal", journal)
    words = ("resolve", "k", "charged", "--journal", journal)
    assert run(*words, "--wallet", other.id) == "k: captured, $0.30 spent\n"
    assert (wallet.balance().total_spent, other.balance().total_spent) == (0, Decimal("0.3"))
    assert "have payments" in run(*words), "said again it does not end the other one"


def test_a_wallet_of_another_server_with_the_same_ids_is_not_touched(journal, tmp_path, run):
    words = ("resolve", "k", "charged", "--journal", journal)
    with Trove.local(tmp_path / "mine") as mine, Trove.local(tmp_path / "other") as trove:
        wallet, other = (each.wallet("agent", budget_usd=5) for each in (mine, trove))
        doubt(wallet, journal)
        assert wallet.id == other.id
        assert "not the wallets" in run(*words, where=("--data", tmp_path / "other"))
        assert trove.wallets().hold(other.id, "0.3").id == 1, "as that of the payment"
        assert "not the wallets" in run(*words, where=("--data", tmp_path / "other"))
        assert other.balance().total_spent == 0
    assert run(*words, where=("--data", tmp_path / "mine")) == "k: captured, $0.30 spent\n"


@pytest.mark.parametrize("content", [None, b"no database", "trove.db"])
def test_what_is_no_journal_is_refused_and_left_as_it_is(tmp_path, trove, run, content):
    path = tmp_path / "payments.db"
    if content is not None:
        path.write_bytes((trove.folder / content).read_bytes() if isinstance(content, str) else content)
    before = path.stat() if path.exists() else None
    said = doubts(run, path)
    assert said.startswith("trove-agents: ") and "no journal" in said
    after = path.stat() if path.exists() else None
    assert before == after or (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)
    assert list(tmp_path.iterdir()) == ([] if content is None else [path])


def test_an_unknown_key_is_said(wallet, journal, run):
    doubt(wallet, journal)
    assert run("resolve", "x", "charged", "--journal", journal).endswith(f"no payment 'x' in {journal}\n")


def test_wallets_are_listed_with_their_numbers(tmp_path, run):
    where = ("--data", tmp_path / "state")
    with Trove.local(tmp_path / "state") as trove:
        wallets = trove.wallets()
        assert run("list", where=where) == "There are no wallets.\n"
        first = wallets.wallet("agent", budget_usd="1234.5")
        second = wallets.wallet("an \x1b[31magent", budget_usd=5)
        wallets.hold(first.id, "0.0025")
        wallets.update_wallet(second.id, frozen=True)
    assert run("list", where=where).splitlines() == [
        "wallet  agent                         budget  spent     held  in doubt    remaining",
        "1       agent                      $1,234.50  $0.00  $0.0025     $0.00  $1,234.4975",
        r"2       an \x1b[31magent (frozen)      $5.00  $0.00    $0.00     $0.00        $5.00",
    ]
    listed = json.loads(run("list", "--json", where=where))["wallets"]
    assert [(each["wallet_id"], each["frozen"], each["held_usd"]) for each in listed] == [
        (1, False, "0.0025"),
        (2, True, "0"),
    ]
    assert run("balance", 2, where=where).split()[-5:] == ["$5.00", "$0.00", "$0.00", "$0.00", "$5.00"]
    assert json.loads(run("balance", 1, "--json", where=where))["remaining_usd"] == "1234.4975"
    assert run("balance", 9, where=where) == "trove-agents: wallet not found\n"


def test_a_person_answers_a_payment_and_the_program_goes_on(wallet, journal, run):
    with Guard(wallet, journal=journal, policy=ask_above(1)) as guard:
        pay = lambda key: guard.pay(lambda: 5, "2.50", key=key, tool="video", vendor="acme")
        for key in "kl":
            with pytest.raises(ApprovalNeeded):
                pay(key)
        listed = json.loads(run("approvals", "--json"))["approvals"]
        [no, yes] = [each["id"] for each in listed if each["wallet_id"] == wallet.id]
        said = run("approvals")
        assert f"{yes}  $2.50 for video from acme, wallet {wallet.id}\n  asked 20" in said
        assert "it can cost $2.50, which is more than $1.00" in said
        assert "Waiting for a yes: 2" in said
        about = f"$2.50 for video from acme, wallet {wallet.id}\n"
        assert run("approve", yes) == f"approved: {about}"
        assert json.loads(run("approve", yes, "--json"))["state"] == "approved"
        assert run("deny", no) == f"denied: {about}"
        assert "approved" in run("deny", yes), "no longer to be answered otherwise"
        assert pay("k").result == 5
    assert run("approvals") == "Nothing waits for a yes.\n"
    assert f"{no}  $2.50" in run("approvals", "--all")


def test_a_place_without_wallets_is_refused_and_nothing_made_there(tmp_path, run):
    for place in (tmp_path, tmp_path / "nowhere"):
        assert f"no wallets were made in {place};" in run("list", where=("--data", place))
    assert list(tmp_path.iterdir()) == []


def test_the_key_of_wallets_in_another_database_is_not_replaced(tmp_path, run):
    with Trove.local(tmp_path / "state") as trove:
        trove.wallet("agent", budget_usd=1)
    key = tmp_path / "state" / "wallet-key"
    kept = key.read_text()
    for file in (tmp_path / "state").glob("trove.db*"):
        file.unlink()
    assert "no wallets were made in" in run("list", where=("--data", tmp_path / "state"))
    assert key.read_text() == kept


def test_a_server_that_an_option_or_the_environment_names(tmp_path, serving, journal, run, monkeypatch):
    with serving(tmp_path) as server:
        at = ("--base-url", server.base_url)
        with WalletClient(base_url=server.base_url) as opening:
            key = opening.create_key("mine").api_key
        assert (
            run("list", where=at)
            == f"trove-agents: no wallet key for {server.base_url}: set TROVE_WALLET_KEY\n"
        )
        monkeypatch.setenv("TROVE_WALLET_KEY", key)
        with WalletClient(key, base_url=server.base_url) as client:
            wallet = client.wallet("agent", budget_usd=5)
            doubt(wallet, journal)
            spending = client.create_key("agent", role="spend", wallet_id=wallet.id).api_key
        assert "name one of them" in run("list", where=(*at, "--data", tmp_path))
        words = ("resolve", "k", "write-off", "--journal", journal)
        monkeypatch.setenv("TROVE_WALLET_KEY", spending)
        assert "owner" in run(*words, where=at)
        monkeypatch.setenv("TROVE_WALLET_KEY", key)
        monkeypatch.setenv("TROVE_BASE_URL", server.base_url)
        assert run(*words, where=()) == "k: written off, $0.30 taken for spent\n"
        monkeypatch.setenv("TROVE_WALLET_KEY", "tvpk_wrong")
        assert "key" in run("list", where=())
        server.stop()
        assert "could not connect" in run("balance", 1, where=())


class Plain(BaseHTTPRequestHandler):
    """The public wallet service's calls alone, over HTTP."""

    service = PlainWallets()

    def do_GET(self):
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = tuple((name.lower(), value) for name, value in self.headers.items())
        reply = self.service(Outgoing(self.command, path, query, headers, body, len(body), 0.0))
        self.send_response(reply.status)
        self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


def test_a_server_of_the_public_calls_alone(journal, run, monkeypatch):
    monkeypatch.setenv("TROVE_WALLET_KEY", "tvpk_1")
    with HTTPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = ("--base-url", f"http://127.0.0.1:{server.server_port}")
        with WalletClient("tvpk_1", base_url=at[1]) as client:
            doubt(client.wallet("agent", budget_usd=1), journal)
        assert run("resolve", "k", "not-charged", "--journal", journal, where=at) == (
            "k: voided, $0.30 is credit in the journal\n"
        )
        assert run("balance", 1, where=at).split()[-5:] == ["$1.00", "$0.30", "$0.00", "$0.00", "$0.70"]
        assert "does not have" in run("list", where=at)
        assert "does not have" in run("approve", 1, where=at)
        server.shutdown()


def test_amounts_have_two_decimals_or_as_many_as_they_need():
    amounts = ["0", "5", "0.3", "0.0025", "1234567.50", "0.000001", "100"]
    assert [dollars(Decimal(each)) for each in amounts] == [
        "$0.00",
        "$5.00",
        "$0.30",
        "$0.0025",
        "$1,234,567.50",
        "$0.000001",
        "$100.00",
    ]
