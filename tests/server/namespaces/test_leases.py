"""Leases: docs/wire.md, "Leases". Who may change a namespace, and that no clock brings a lease back to life."""

import io
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trove_agents.embedded import Trove
from trove_agents.server import timelines
from trove_agents.server.auth import Principal
from trove_agents.server.blobs import BlobStore
from trove_agents.server.db import Database
from trove_agents.server.errors import LeaseLost, WorkspaceLeased
from trove_agents.server.files.service import Files
from trove_agents.server.namespaces.leases import Leases, check
from trove_agents.server.settings import Settings
from trove_agents.wire.leases import LeaseRenewal, LeaseRequest

SECOND = 10**9


class Clock:
    """The time that a test says."""

    def __init__(self):
        self.now = time.time_ns()

    def __call__(self):
        return self.now

    def move(self, seconds):
        self.now += int(seconds * SECOND)


@pytest.fixture
def trove(tmp_path, place):
    folder = tmp_path / "state"
    where = place(folder)
    url = where if isinstance(where, str) else None
    with Trove(Settings(folder, database_url=url, sandbox="none")) as trove:
        yield trove


@pytest.fixture
def clock(trove):
    clock = trove.server.database.now_ns = Clock()
    return clock


def acquire(api, **body):
    return api("POST", "/v1/leases", body=body or None)


def given_lease(api, **body):
    answer = acquire(api, **body)
    assert answer.status == 201, answer.body
    return answer.json


def under(lease):
    return [("X-Trove-Lease", lease if isinstance(lease, str) else lease["lease_id"])]


def write(api, content="x", lease=None):
    headers = [] if lease is None else under(lease)
    return api("POST", "/write", body={"path": "f", "content": content}, headers=headers)


def code(answer):
    return None if answer.status < 300 else answer.json["code"]


def setup(api):
    api.write("f", "1")
    taken = api.snapshot()["snapshot_id"]
    version = api("GET", "/v1/history").json["entries"][0]["version"]
    return taken, str(version)


def archive():
    """A tar of one file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        member = tarfile.TarInfo("f")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"2"))
    return made.getvalue()


LEASED = {
    "POST /write": lambda api, made, **more: api("POST", "/write", body={"path": "f", "content": ""}, **more),
    "PUT /files/{path...}": lambda api, made, **more: api.put("f", b"2", **more),
    "PUT /v1/tree": lambda api, made, **more: api("PUT", "/v1/tree", data=archive(), **more),
    "POST /delete": lambda api, made, **more: api.delete("f", **more),
    "POST /v1/files/mkdir": lambda api, made, **more: api(
        "POST", "/v1/files/mkdir", body={"path": "d"}, **more
    ),
    "POST /v1/files/move": lambda api, made, **more: api(
        "POST", "/v1/files/move", body={"from": "f", "to": "g"}, **more
    ),
    "POST /v1/files/copy": lambda api, made, **more: api(
        "POST", "/v1/files/copy", body={"from": "f", "to": "g"}, **more
    ),
    "POST /v1/exec": lambda api, made, **more: api("POST", "/v1/exec", body={"command": "echo > g"}, **more),
    "POST /exec": lambda api, made, **more: api("POST", "/exec", body={"command": "true"}, **more),
    "POST /v1/snapshots/{snapshot_id}/restore": lambda api, made, **more: api(
        "POST", f"/v1/snapshots/{made[0]}/restore", **more
    ),
    "POST /v1/restore": lambda api, made, **more: api("POST", "/v1/restore", body={"to": made[1]}, **more),
}
FREE = {
    "POST /v1/snapshots": lambda api, made: api("POST", "/v1/snapshots"),
    "DELETE /v1/snapshots/{snapshot_id}": lambda api, made: api("DELETE", f"/v1/snapshots/{made[0]}"),
    "POST /v1/forks": lambda api, made: api("POST", "/v1/forks", body={"namespace": "copy"}),
    "POST /v1/references": lambda api, made: api("POST", "/v1/references"),
    "POST /v1/references/delete": lambda api, made: api("POST", "/v1/references/delete", body={"ids": []}),
}
OTHERS = {
    "DELETE /v1/references/{reference_id}",
    "POST /v1/leases",
    "DELETE /v1/leases",
    "POST /v1/leases/{lease_id}",
    "DELETE /v1/leases/{lease_id}",
}


def test_it_is_known_of_every_call_whether_it_needs_the_lease(trove):
    acting = {
        f"{route.method} {route.path}"
        for route in trove.server.app.routes
        if route.access == "runtime" and route.method != "GET"
    }
    assert acting == {*LEASED, *FREE, *OTHERS}


@pytest.mark.parametrize("name", LEASED)
def test_others_are_refused_and_the_holder_is_not(api, name):
    made = setup(api)
    lease = given_lease(api, holder="agent 7")
    before = api("GET", "/v1/history").json["entries"]
    refused = LEASED[name](api, made)
    assert (refused.status, code(refused)) == (409, "workspace-leased")
    assert refused.headers["retry-after"] in {"1", "2"}
    assert (refused.json["holder"], refused.json["expires_at"]) == ("agent 7", lease["expires_at"])
    assert lease["lease_id"] not in refused.body.decode()
    stale = LEASED[name](api, made, headers=under("lease-0"))
    assert (stale.status, code(stale)) == (409, "lease-lost")
    assert api("GET", "/v1/history").json["entries"] == before
    assert LEASED[name](api, made, headers=under(lease)).status == 200


@pytest.mark.parametrize("name", FREE)
def test_what_needs_no_lease(api, name):
    made = setup(api)
    given_lease(api)
    assert FREE[name](api, made).status in {200, 201}
    assert api.read("f").status == 200


def test_who_holds_it(api, clock):
    assert api("GET", "/v1/leases").json == {"holder": None, "token": None, "expires_at": None}
    lease = given_lease(api)
    assert lease["holder"] == api("GET", "/v1/me").json["key_name"]
    shown = api("GET", "/v1/leases").json
    assert shown == {name: lease[name] for name in ("holder", "token", "expires_at")}
    clock.move(60)
    assert api("GET", "/v1/leases").json["holder"] is None


def test_one_at_a_time_with_a_token_that_grows(api, clock):
    tokens = []
    for seconds in (0, 61, -3000, 0, 10_000, -20_000):
        clock.move(seconds)
        lease = given_lease(api)
        tokens.append(lease["token"])
        assert code(acquire(api)) == "workspace-leased"
        assert code(api("DELETE", f"/v1/leases/{lease['lease_id']}")) is None
    assert tokens == sorted(set(tokens))


def test_a_token_grows_over_a_deletion_which_ends_the_lease(api):
    lease = given_lease(api)
    assert api("DELETE", "/v1/namespaces/main", namespace=None).status == 200
    assert code(write(api, lease=lease)) == "lease-lost"
    assert code(write(api)) is None
    assert code(write(api, lease=lease)) == "lease-lost"
    assert given_lease(api)["token"] > lease["token"]


def test_it_runs_out_and_is_renewed(api, clock):
    lease = given_lease(api, ttl=10)
    one = f"/v1/leases/{lease['lease_id']}"
    clock.move(9)
    renewed = api("POST", one, body={"ttl": 20}).json
    assert renewed["expires_at"] > lease["expires_at"]
    assert (renewed["token"], renewed["lease_id"]) == (lease["token"], lease["lease_id"])
    clock.move(19)
    assert code(write(api, lease=lease)) is None
    assert code(write(api)) == "workspace-leased"
    clock.move(1)
    assert code(write(api, lease=lease)) == code(api("POST", one)) == "lease-lost"
    assert code(write(api)) is None
    assert api("DELETE", one).json == {"released": False}


def test_a_holder_that_was_fenced_out_writes_late(api, clock):
    first = given_lease(api)
    clock.move(60)
    second = given_lease(api)
    assert code(write(api, "second", lease=second)) is None
    assert code(write(api, "late", lease=first)) == "lease-lost"
    clock.move(-30)  # by this clock the first one's time is not over
    assert code(write(api, "late", lease=first)) == "lease-lost"
    assert api.read("f").json["content"] == "second"


def test_what_others_changed_after_it_ran_out_is_safe_when_the_clock_goes_back(api, clock):
    lease = given_lease(api)
    clock.move(60)
    assert code(write(api, "others")) is None
    clock.move(-30)
    assert code(write(api, "late", lease=lease)) == "lease-lost"
    assert code(api("POST", f"/v1/leases/{lease['lease_id']}")) == "lease-lost"
    assert api.read("f").json["content"] == "others"


def test_a_clock_that_was_ahead_keeps_nobody_out_for_long(api, clock):
    clock.move(365 * 86_400)
    given_lease(api, ttl=3600)
    clock.move(-365 * 86_400)
    assert code(write(api)) is None


def test_a_release_ends_it(api):
    lease = given_lease(api)
    one = f"/v1/leases/{lease['lease_id']}"
    assert api("DELETE", one).json == {"released": True}
    assert api("DELETE", one).json["released"] is False
    assert code(write(api, lease=lease)) == "lease-lost"
    assert code(write(api)) is None


@pytest.mark.parametrize("name", ["lease-0", "%FF", "%00", "%ED%A0%80"])
def test_an_id_that_was_never_given(api, name):
    api.write("f")
    assert api("DELETE", f"/v1/leases/{name}").json == {"released": False}
    assert code(api("POST", f"/v1/leases/{name}")) == "lease-lost"
    assert code(write(api, lease="\xff")) == code(write(api, lease="")) == "lease-lost"


def test_one_whose_holder_is_gone_is_ended_by_its_token(api, clock):
    lease = given_lease(api)
    for token in (lease["token"] - 1, lease["token"] + 1):
        assert api("DELETE", "/v1/leases", query={"token": token}).json == {"released": False}
    assert code(acquire(api)) == "workspace-leased"
    assert api("DELETE", "/v1/leases", query={"token": lease["token"]}).json == {"released": True}
    assert code(api("POST", f"/v1/leases/{lease['lease_id']}")) == "lease-lost"
    assert given_lease(api)["token"] > lease["token"]
    assert api("DELETE", "/v1/leases", query={"token": lease["token"]}).json == {"released": False}
    clock.move(61)
    assert api("DELETE", "/v1/leases", query={"token": lease["token"]}).json == {"released": False}
    assert (
        api("DELETE", "/v1/leases").status == api("DELETE", "/v1/leases", query={"token": "x"}).status == 422
    )


def test_another_namespace_is_another_matter(api):
    lease = given_lease(api)
    assert code(write(api.with_key(api.key, "other"))) is None
    assert code(write(api.with_key(api.key, "other"), lease=lease)) == "lease-lost"
    one = f"/v1/leases/{lease['lease_id']}"
    assert code(api("POST", one, namespace="other")) == "lease-lost"
    assert api("DELETE", one, namespace="other").json["released"] is False
    assert code(write(api)) == "workspace-leased"


@pytest.mark.parametrize(
    "body",
    [
        {"ttl": 0},
        {"ttl": 3601},
        {"ttl": 1.5},
        {"holder": ""},
        {"holder": "x" * 129},
        {"holder": "a\nb"},
        {"holder": "\ud800"},
    ],
)
def test_what_is_malformed(api, body):
    assert acquire(api, **body).status == 422
    assert api("GET", "/v1/leases").json["holder"] is None


def test_where_there_is_none_nothing_is_asked():
    """The namespace's row was read and locked anyway."""
    connection = None
    check(connection, timelines.Namespace(1, "ws-1", "main", timelines.At(1, 1), 0, 0), PRINCIPAL, now_ns=1)


def test_others_are_told_at_once_while_the_holder_runs_a_command(api, tmp_path):
    lease = given_lease(api)
    script = f"touch {tmp_path}/started; until [ -e {tmp_path}/go ]; do sleep 0.02; done"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(api, "POST", "/v1/exec", body={"command": script}, headers=under(lease))
        wait_for(tmp_path / "started")
        try:
            assert code(api("POST", "/v1/exec", body={"command": "true"})) == "workspace-leased"
            assert code(write(api)) == "workspace-leased"
        finally:
            (tmp_path / "go").touch()
        assert code(running.result()) is None


def wait_for(path):
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("leased", [True, False])
def test_a_command_whose_time_is_over_leaves_nothing(api, clock, tmp_path, leased):
    write(api, "before")
    lease = given_lease(api) if leased else None
    script = (
        f"touch {tmp_path}/started; until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo late > workspace/f"
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            api, "POST", "/v1/exec", body={"command": script}, headers=under(lease) if lease else ()
        )
        wait_for(tmp_path / "started")
        clock.move(60 if leased else 0)
        other = given_lease(api)
        assert code(write(api, "other", lease=other)) is None
        (tmp_path / "go").touch()
        assert code(running.result()) == ("lease-lost" if leased else "workspace-leased")
    assert api.read("f").json["content"] == "other"
    assert [event["type"] for event in api.events()["events"]].count("exec.completed") == 0
    assert code(api("POST", "/v1/exec", body={"command": "cat workspace/f"}, headers=under(other))) is None


def test_of_many_who_ask_at_once_one_gets_it(api):
    api.write("f")
    start = threading.Barrier(8)

    def ask(_):
        start.wait()
        return acquire(api)

    for _ in range(5):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(8)))
        assert sorted(answer.status for answer in answers) == [201] + [409] * 7
        [lease] = [answer.json for answer in answers if answer.status == 201]
        api("DELETE", f"/v1/leases/{lease['lease_id']}")


def test_nobody_slips_in_between_two_changes_of_a_holder(api):
    api.write("f")
    ended = threading.Event()

    def intrude(number):
        done = 0
        while not ended.is_set():
            done += code(write(api, f"other {number} {done}")) is None
        return done

    marked = [("X-Trove-Step", 'thread="holder"')]
    try:
        with ThreadPoolExecutor(3) as pool:
            others = [pool.submit(intrude, number) for number in range(3)]
            for _ in range(6):
                lease = given_lease(api)
                for content in ("a", "b", "c"):
                    sent = api(
                        "POST",
                        "/write",
                        body={"path": "f", "content": content},
                        headers=under(lease) + marked,
                    )
                    assert code(sent) is None
                api("DELETE", f"/v1/leases/{lease['lease_id']}")
            ended.set()
            assert sum(other.result() for other in others) > 0
    finally:
        ended.set()
    found, cursor = [], None
    while True:
        page = api("GET", "/v1/history", query={} if cursor is None else {"cursor": cursor}).json
        found += page["entries"]
        if (cursor := page["next_cursor"]) is None:
            break
    mine = "".join("h" if entry["step"] else "o" for entry in found).strip("o")
    assert {len(run) % 3 for run in mine.replace("o", " ").split()} == {0}
    assert mine.count("h") == 18


PRINCIPAL = Principal("ws-1", "key-1", "key", "workspace", None)
ACTORS = st.integers(0, 2)
ACTS = st.one_of(
    st.tuples(st.just("acquire"), ACTORS, st.sampled_from([1, 60, 3600])),
    st.tuples(st.just("renew"), ACTORS, st.sampled_from([1, 60, 3600])),
    st.tuples(st.just("release"), ACTORS, st.none()),
    st.tuples(st.just("write"), ACTORS, st.booleans()),
    st.tuples(
        st.just("jump"),
        st.none(),
        st.sampled_from([0.5, 1, 30, 60, 3600, 10**7]).flatmap(lambda s: st.sampled_from([s, -s])),
    ),
)


class World:
    """The services over one database with a clock of the test's."""

    def __init__(self, where, folder):
        self.clock = Clock()
        self.database = Database.open(where, clock=self.clock)
        self.files = Files(self.database, BlobStore.local(folder / "blobs"))
        self.leases = Leases(self.database)
        self.namespaces = 0


@pytest.fixture
def world(tmp_path, place):
    world = World(place(tmp_path), tmp_path)
    yield world
    world.database.close()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(ACTS, max_size=25))
def test_under_any_clock_a_holder_that_may_write_was_alone(world, acts):
    """Each outcome is foretold by a model, and apart from it: between a lease and a change under it nobody else changed
    anything, and tokens grow."""
    world.namespaces += 1
    name = f"n{world.namespaces}"
    mine = {}  # actor -> the last lease it got
    current, until = None, 0  # of the model
    happened = []
    for act, actor, value in acts:
        now = world.clock.now // 1000
        live = current is not None and now < until <= now + 7_200_000_000
        if act == "jump":
            world.clock.move(value)
        elif act == "acquire":
            try:
                lease = world.leases.acquire(PRINCIPAL, name, LeaseRequest(value))
            except WorkspaceLeased:
                assert live
            else:
                assert not live
                mine[actor], current, until = lease, lease, now + value * 1_000_000
                happened.append(("lease", lease))
        elif act == "write":
            lease = mine.get(actor) if value else None
            who = (
                PRINCIPAL
                if lease is None
                else Principal("ws-1", "key-1", "key", "workspace", None, lease=lease.lease_id)
            )
            try:
                world.files.write(who, name, "f", f"{len(happened)}")
            except WorkspaceLeased:
                assert live
                assert lease is None
            except LeaseLost:
                assert not live or lease.lease_id != current.lease_id
            else:
                assert live == (lease is not None)
                if lease is None:
                    current = None
                happened.append(("write", lease))
        elif actor in mine:
            lease = mine[actor]
            held = live and lease.lease_id == current.lease_id
            if act == "renew":
                try:
                    world.leases.renew(PRINCIPAL, name, lease.lease_id, LeaseRenewal(value))
                except LeaseLost:
                    assert not held
                else:
                    assert held
                    until = now + value * 1_000_000
            else:
                assert world.leases.release(PRINCIPAL, name, lease.lease_id).released == held
                if current is not None and lease.lease_id == current.lease_id:
                    current = None
    tokens = [lease.token for kind, lease in happened if kind == "lease"]
    assert tokens == sorted(set(tokens))
    for index, (kind, lease) in enumerate(happened):
        if kind == "write" and lease is not None:
            since = happened.index(("lease", lease))
            assert all(each == ("write", lease) for each in happened[since + 1 : index])
