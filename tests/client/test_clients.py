import asyncio

import pytest

from trove_agents import (
    AsyncTroveAdminClient,
    AsyncTroveClient,
    TroveAdminClient,
    TroveAuthError,
    TroveClient,
)

from .conftest import AsyncRecorder, Colour, Recorder, reply

ME = reply(
    200,
    b'{"workspace_id": "ws-9", "key_id": "k", "key_name": "n", "scope": "admin", "capabilities": ["exec.stdin"]}',
)


def test_a_client_says_who_it_is_for(colour: Colour) -> None:
    transport = colour.transport(lambda _: ME)
    me = colour.call(colour.client(transport, timeout=7.5), "me")
    assert (me.workspace_id, me.capabilities) == ("ws-9", ["exec.stdin"])
    assert transport.requests[0].headers == (("authorization", "Bearer key"), ("x-namespace", "ns"))
    assert transport.requests[0].timeout == 7.5


def test_a_locked_key_needs_no_namespace(colour: Colour) -> None:
    transport = colour.transport(lambda _: ME)
    colour.call(colour.client(transport, namespace=None), "me")
    assert transport.requests[0].headers == (("authorization", "Bearer key"),)


def test_a_client_for_another_namespace_shares_the_connections_and_says_nothing_else(colour: Colour) -> None:
    transport = colour.transport(lambda _: ME)
    client = colour.client(transport)
    other = client.with_step(thread="t").for_namespace("other")
    assert (client.namespace, other.namespace, repr(other)[-20:]) == ("ns", "other", "t(namespace='other')")
    colour.call(other, "me")
    assert transport.requests[0].headers == (("authorization", "Bearer key"), ("x-namespace", "other"))
    colour.call(other, "close" if colour.name == "sync" else "aclose")
    assert transport.closed == 0
    with pytest.raises(ValueError, match="is no namespace"):
        client.for_namespace("a/b")


def test_the_admin_client_sends_no_namespace(colour: Colour) -> None:
    transport = colour.transport(lambda _: ME)
    colour.call(colour.admin(transport), "me")
    assert transport.requests[0].headers == (("authorization", "Bearer key"),)


@pytest.mark.parametrize("kind", [TroveClient, AsyncTroveClient])
@pytest.mark.parametrize("namespace", ["", "a/b", "a b", "x" * 129, "a\n", "ä"])
def test_a_name_that_cannot_be_a_namespace_is_refused(kind: type, namespace: str) -> None:
    with pytest.raises(ValueError, match="is no namespace"):
        kind("key", namespace)


@pytest.mark.parametrize("kind", [TroveClient, AsyncTroveClient, TroveAdminClient, AsyncTroveAdminClient])
@pytest.mark.parametrize("key", ["", " \n", "trove-sk-\u00e4", "trove-sk-1\nx", "trove-sk-1\x00"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(kind: type, key: str) -> None:
    with pytest.raises(ValueError, match="api_key") as caught:
        kind(key, "ws")
    assert "trove-sk" not in str(caught.value)


def test_white_space_around_a_key_is_dropped() -> None:
    transport = Recorder(lambda _: ME)
    TroveClient(" key\n", transport=transport).me()
    assert transport.requests[0].headers == (("authorization", "Bearer key"),)


def test_no_client_shows_its_key() -> None:
    clients = [
        TroveClient("trove-sk-1", "ns"),
        AsyncTroveClient("trove-sk-1", "ns"),
        TroveAdminClient("trove-sk-1", "ws-1"),
        AsyncTroveAdminClient("trove-sk-1", "ws-1"),
    ]
    assert [repr(each) for each in clients] == [
        "TroveClient(namespace='ns')",
        "AsyncTroveClient(namespace='ns')",
        "TroveAdminClient(workspace_id='ws-1')",
        "AsyncTroveAdminClient(workspace_id='ws-1')",
    ]


def test_clients_close_their_transport() -> None:
    transport = Recorder(lambda _: ME)
    with TroveClient("k", transport=transport) as client, TroveAdminClient("k", "ws-1", transport=transport):
        assert isinstance(client, TroveClient)
    assert transport.closed == 2

    async def main() -> int:
        transport = AsyncRecorder(lambda _: ME)
        async with (
            AsyncTroveClient("k", transport=transport),
            AsyncTroveAdminClient("k", "ws-1", transport=transport),
        ):
            pass
        return transport.closed

    assert asyncio.run(main()) == 2


def test_clients_over_a_network_close_it() -> None:
    with TroveClient("k", "ns"), TroveAdminClient("k", "ws-1"):
        pass

    async def main() -> None:
        async with AsyncTroveClient("k", "ns"), AsyncTroveAdminClient("k", "ws-1"):
            pass

    asyncio.run(main())


class Mine(TroveAdminClient):
    pass


class AsyncMine(AsyncTroveAdminClient):
    pass


def test_the_workspace_of_a_key_is_found_out() -> None:
    transport = Recorder(lambda _: ME)
    admin = Mine.from_api_key("k", transport=transport)
    assert (type(admin), admin.workspace_id, transport.closed) == (Mine, "ws-9", 0)

    async def main() -> None:
        transport = AsyncRecorder(lambda _: ME)
        admin = await AsyncMine.from_api_key("k", transport=transport)
        assert (type(admin), admin.workspace_id, transport.closed) == (AsyncMine, "ws-9", 0)

    asyncio.run(main())


def test_a_key_that_is_not_valid_leaves_nothing_open() -> None:
    refused = reply(401, b'{"detail": "unknown key"}')
    transport = Recorder(lambda _: refused)
    with pytest.raises(TroveAuthError, match="unknown key"):
        TroveAdminClient.from_api_key("k", transport=transport)
    assert transport.closed == 1

    async def main() -> int:
        transport = AsyncRecorder(lambda _: refused)
        with pytest.raises(TroveAuthError):
            await AsyncTroveAdminClient.from_api_key("k", transport=transport)
        return transport.closed

    assert asyncio.run(main()) == 1
