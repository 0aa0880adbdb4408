"""A lease as a context manager: what is sent, waiting, and what becomes of it; against a real server too."""

import asyncio
import threading

import msgspec
import pytest

import trove_agents as ta
from trove_agents import LeaseLost, NotSupported, TroveConflictError, WorkspaceLeased
from trove_agents.embedded import Trove

from .conftest import Colour, reply

ME = {"workspace_id": "ws-1", "key_id": "k", "key_name": "n", "scope": "workspace", "namespace": None}
LEASE = {"lease_id": "lease-1", "namespace": "ns", "holder": "me", "token": 7, "expires_at": "t"}
LEASED = {"detail": "leased by 'other'", "code": "workspace-leased", "holder": "other", "expires_at": "t"}
LOST = {"detail": "lost", "code": "lease-lost"}


class Server:
    """A stand-in that refuses a lease as often as it is told, and loses it when told."""

    def __init__(self, *capabilities, refusals=0, lost=False):
        self.capabilities = capabilities
        self.refusals = refusals
        self.lost = lost

    def __call__(self, request):
        if request.path == "/v1/me":
            return reply(200, msgspec.json.encode({**ME, "capabilities": self.capabilities}))
        if request.path == "/v1/leases" and request.method == "GET":
            return reply(200, msgspec.json.encode({"holder": None}))
        if request.path == "/v1/leases" and request.method == "POST":
            if self.refusals:
                self.refusals -= 1
                return reply(409, msgspec.json.encode(LEASED), retry_after="0")
            return reply(201, msgspec.json.encode(LEASE))
        if self.lost:
            return reply(409, msgspec.json.encode(LOST))
        if request.method == "DELETE":
            return reply(200, b'{"released": true}')
        if request.path == "/v1/leases/lease-1":
            return reply(200, msgspec.json.encode({**LEASE, "expires_at": "later"}))
        return reply(200, b'{"path": "workspace/a", "size_bytes": 1}')


def hold(colour, client, work, **options):
    """Does ``work(call, held)`` under a lease, whichever the colour."""
    if colour.name == "sync":
        with client.lease(**options) as held:
            return work(lambda result: result, held)

    async def main():
        async with client.lease(**options) as held:
            for step in work(None, held) or ():
                await step
        return

    return asyncio.run(main())


def sent(transport):
    return [
        (request.method, request.path, dict(request.headers).get("x-trove-lease"))
        for request in transport.requests
    ]


def test_it_is_asked_for_used_renewed_and_given_back(colour: Colour):
    transport = colour.transport(Server("leases"))
    client = colour.client(transport)

    def work(call, held):
        assert (held.lease.token, held.lease.holder) == (7, "me")
        return [held.client.write("a", "x"), held.renew(), held.renew(5)]

    hold(colour, client, work, ttl=30, holder="me")
    assert sent(transport) == [
        ("GET", "/v1/me", None),
        ("POST", "/v1/leases", None),
        ("POST", "/write", "lease-1"),
        ("POST", "/v1/leases/lease-1", "lease-1"),
        ("POST", "/v1/leases/lease-1", "lease-1"),
        ("DELETE", "/v1/leases/lease-1", "lease-1"),
    ]
    bodies = [msgspec.json.decode(body) for body in transport.bodies[1:5] if b"ttl" in body]
    assert bodies == [{"ttl": 30, "holder": "me"}, {"ttl": 30}, {"ttl": 5}]
    colour.call(client, "write", "a", "x")
    assert sent(transport)[-1] == ("POST", "/write", None)


def test_another_is_waited_for(colour: Colour):
    transport = colour.transport(Server("leases", refusals=3))
    hold(colour, colour.client(transport), lambda call, held: None, wait=60)
    assert [path for _, path, _ in sent(transport)] == ["/v1/me", *["/v1/leases"] * 4, "/v1/leases/lease-1"]


def test_who_does_not_wait_is_told_who_holds_it(colour: Colour):
    transport = colour.transport(Server("leases", refusals=1))
    with pytest.raises(WorkspaceLeased, match="other") as caught:
        hold(colour, colour.client(transport), lambda call, held: None)
    assert isinstance(caught.value, TroveConflictError)
    assert (caught.value.holder, caught.value.retry_after, caught.value.recovery) == ("other", 0.0, "retry")
    assert len(transport.requests) == 2


def test_one_that_is_lost_says_so_once(colour: Colour):
    server = Server("leases")
    transport = colour.transport(server)

    def work(call, held):
        server.lost = True
        return [held.client.write("a", "x")]

    with pytest.raises(LeaseLost) as caught:
        hold(colour, colour.client(transport), work)
    assert (caught.value.code, caught.value.status_code) == ("lease-lost", 409)
    assert transport.requests[-1].method == "DELETE"


def test_a_lease_that_cannot_be_given_back_is_left_to_end(colour: Colour):
    server = Server("leases")

    def work(call, held):
        server.lost = True

    hold(colour, colour.client(colour.transport(server)), work)


def test_a_public_server_is_sent_nothing(colour: Colour):
    transport = colour.transport(Server("exec.stdin"))
    client = colour.client(transport)
    with pytest.raises(NotSupported, match="leases"):
        hold(colour, client, lambda call, held: None)
    with pytest.raises(NotSupported, match="leases"):
        colour.call(client, "lease_holder")
    assert sent(transport) == [("GET", "/v1/me", None)]


def test_nobody_holds_it(colour: Colour):
    assert colour.call(colour.client(colour.transport(Server("leases"))), "lease_holder") is None


def test_anothers_is_ended_by_its_token(colour: Colour):
    transport = colour.transport(Server("leases", "leases.end"))
    assert colour.call(colour.client(transport), "end_lease", 7) is True
    [_, ended] = transport.requests
    assert (ended.method, ended.path, ended.query) == ("DELETE", "/v1/leases", "token=7")
    with pytest.raises(NotSupported, match=r"leases\.end"):
        colour.call(colour.client(colour.transport(Server("leases"))), "end_lease", 7)


def test_it_goes_with_a_step(colour: Colour):
    transport = colour.transport(Server("leases", "steps"))
    hold(
        colour,
        colour.client(transport).with_step(thread="t"),
        lambda call, held: [held.client.with_step(call="c").write("a", "x")],
    )
    headers = dict(transport.requests[2].headers)
    assert (headers["x-trove-lease"], headers["x-trove-step"]) == ("lease-1", 'thread="t", call="c"')


def test_two_clients_of_a_real_server(tmp_path):
    with Trove.local(tmp_path / "state") as trove:
        one, other = trove.client("ns"), trove.client("ns")
        with one.lease(holder="one") as held:
            held.client.write("f", "1")
            assert other.lease_holder() == ta.LeaseHolder("one", held.lease.token, held.lease.expires_at)
            with pytest.raises(WorkspaceLeased, match="one"):
                other.write("f", "2")
            with pytest.raises(WorkspaceLeased, match="one"):
                one.write("f", "2")
            with pytest.raises(WorkspaceLeased), other.lease():
                pass
            held.renew()
            late = held.client
        other.write("f", "3")
        with pytest.raises(LeaseLost):
            late.write("f", "4")
        assert one.read_text("f") == "3"


async def test_two_asynchronous_clients_take_turns(tmp_path):
    async with Trove.local(tmp_path / "state") as trove:
        seen = []

        async def work(name):
            client = trove.async_client("ns")
            async with client.lease(holder=name, wait=30) as held:
                await held.client.write("f", name)
                await asyncio.sleep(0)
                assert await client.read_text("f") == name
                seen.append(held.lease.token)

        await asyncio.gather(work("a"), work("b"))
        assert seen == sorted(set(seen))
        assert len(seen) == 2


def test_a_waiting_client_gets_it_when_it_is_given_back(tmp_path):
    with Trove.local(tmp_path / "state") as trove:
        asked = threading.Event()
        got = []

        def wait():
            client = trove.client("ns")
            asked.set()
            with client.lease(wait=30) as held:
                got.append(held.client.read_text("f"))

        with trove.client("ns").lease() as held:
            waiting = threading.Thread(target=wait)
            waiting.start()
            asked.wait()
            held.client.write("f", "done")
        waiting.join(30)
        assert got == ["done"]


def test_one_that_was_given_to_somebody_who_was_cancelled_is_given_back(tmp_path):
    async def main(trove):
        client = trove.async_client("ns")
        await client.write("f", "x")

        async def work():
            async with client.lease():
                raise AssertionError("cancelled before")

        working = asyncio.create_task(work())
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it has asked
        while not working.done():
            working.cancel()
            await asyncio.sleep(0)
        assert await client.lease_holder() is None
        await client.write("f", "y")

    with Trove.local(tmp_path / "state") as trove:
        trove.client("ns").me()
        asyncio.run(main(trove))
