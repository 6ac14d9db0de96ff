"""Whoever wrote the URL, the connection goes to an address that was checked, or nowhere."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from porch.egress import Egress, EgressError, EgressSettings, Place, Reach, wall
from porch.egress.wall import OutsidePublic, open_public_socket
from tests.egress.conftest import Names
from tests.providers.upstream import plain, upstream

CallPublic = Callable[[str], None]


def at(url: str, host: str) -> str:
    """The same port and path under another host."""
    return f"http://{host}:{urlsplit(url).port}/v1"


async def read(egress: Egress, url: str, **how: Any) -> bytes:
    reply = await egress.post(url, headers={}, body=b"{}", **how)
    body = await reply.read_all(100)
    egress.settle(reply)
    return body


async def cause(egress: Egress, url: str, **how: Any) -> str:
    with pytest.raises(EgressError) as caught:
        await egress.post(url, headers={}, body=b"{}", **how)
    return caught.value.cause


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that sockets of public requests were opened for."""
    addresses: list[str] = []
    opened = wall.open_public_socket

    def note(address: wall.AddressInfo) -> socket.socket:
        addresses.append(address[4][0])
        return opened(address)

    monkeypatch.setattr("porch.egress.client.open_public_socket", note)
    return addresses


async def test_who_says_nothing_reaches_the_public_internet_alone() -> None:
    names = Names(inside_example=[["127.0.0.1"]])
    async with upstream(plain(200, b"inside")) as place, Egress(names=names) as egress:
        for host in ("127.0.0.1", "localhost", "inside.example", "[::ffff:127.0.0.1]", "2130706433", "127.1"):
            names.answers.setdefault(host, [["127.0.0.1"]])
            url = at(place.url, host)
            assert await cause(egress, url) == "forbidden", host
            with pytest.raises(EgressError):
                await egress.get(url, headers={}, seconds=5, follow=True)
            with pytest.raises(EgressError):
                await egress.fetch(url, seconds=5, max_bytes=100)
    assert place.connections == 0


async def test_the_operators_own_addresses_are_asked_wherever_they_lead() -> None:
    names = Names(inside_example=[["127.0.0.1"]])
    async with upstream(plain(200, b"inside")) as place, Egress(names=names) as egress:
        assert await read(egress, place.url, reach=Reach.OPERATOR) == b"inside"
        assert await read(egress, at(place.url, "inside.example"), reach=Reach.OPERATOR) == b"inside"


async def test_a_connection_of_the_operators_is_never_used_for_a_public_request() -> None:
    names = Names(inside_example=[["127.0.0.1"]])
    async with upstream(plain(200, b"inside")) as place, Egress(names=names) as egress:
        url = at(place.url, "inside.example")
        assert await read(egress, url, reach=Reach.OPERATOR) == b"inside"
        assert await cause(egress, url) == "forbidden"
        assert await cause(egress, place.url) == "forbidden"
        assert await read(egress, url, reach=Reach.OPERATOR) == b"inside"
    assert (place.connections, len(place.requests)) == (1, 2)


async def test_what_the_operator_allows_everyone_is_asked_at_that_port_alone() -> None:
    names = Names(inside_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
    async with upstream(plain(200, b"inside")) as place:
        port = urlsplit(place.url).port or 0
        allow = frozenset({Place("inside.example", port)})
        async with Egress(EgressSettings(allow=allow), names=names) as egress:
            assert await read(egress, at(place.url, "inside.example")) == b"inside"
            assert await read(egress, at(place.url, "INSIDE.example.")) == b"inside"
            assert await cause(egress, f"http://inside.example:{port + 1}/") == "forbidden"
            assert await cause(egress, at(place.url, "other.example")) == "forbidden"
            assert await cause(egress, place.url) == "forbidden"
            assert await cause(egress, at(place.url, "user:pw@inside.example")) == "address"


async def test_a_name_that_changes_its_mind_leads_where_it_was_checked(
    call_public: CallPublic, connected: list[str]
) -> None:
    """DNS rebinding: the answer after the one that was checked is never asked for."""
    call_public("127.0.0.1")
    names = Names(rebind_example=[["127.0.0.1"], ["::1"]])
    async with upstream(plain(200, b"outside")) as place, Egress(names=names) as egress:
        assert await read(egress, at(place.url, "rebind.example")) == b"outside"
        assert (names.asked, connected) == (["rebind.example"], ["127.0.0.1"])


async def test_a_name_that_turned_inwards_is_refused_at_its_next_connection(
    call_public: CallPublic, connected: list[str]
) -> None:
    call_public("127.0.0.1")
    names = Names(rebind_example=[["127.0.0.1"], ["::1"]])
    async with upstream(plain(200, b"outside", Connection="close")) as place, Egress(names=names) as egress:
        assert await read(egress, at(place.url, "rebind.example")) == b"outside"
        # Another port is another question to the resolver, as an expired answer would be.
        assert await cause(egress, "http://rebind.example:9/") == "forbidden"
    assert names.asked == ["rebind.example", "rebind.example"]
    assert connected == ["127.0.0.1"]


async def test_of_a_names_addresses_the_public_ones_alone_are_connected(
    call_public: CallPublic, connected: list[str]
) -> None:
    call_public("127.0.0.1")
    inside = ["::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fe80::1%lo"]
    names = Names(both_example=[[*inside, "127.0.0.1"]], inside_example=[inside], none_example=[[]])
    async with upstream(plain(200, b"outside")) as place, Egress(names=names) as egress:
        assert await read(egress, at(place.url, "both.example")) == b"outside"
        assert await cause(egress, at(place.url, "inside.example")) == "forbidden"
        assert await cause(egress, at(place.url, "none.example")) == "forbidden"
    assert connected == ["127.0.0.1"]


async def test_the_refusal_tells_neither_the_address_nor_whether_it_answers() -> None:
    names = Names(inside_example=[["10.11.12.13"]])
    async with Egress(names=names) as egress:
        with pytest.raises(EgressError) as caught:
            await egress.post("http://inside.example:8000/v1", headers={}, body=b"{}")
    assert caught.value.message == (
        "'inside.example' is not on the public internet, so it is not asked. Whoever runs this Porch can allow it: "
        "PORCH_EGRESS_ALLOW=inside.example:8000."
    )


async def test_a_name_that_nobody_knows_is_a_matter_of_dns() -> None:
    async with Egress(names=Names()) as egress:
        assert await cause(egress, "http://unknown.example/") == "dns"


@pytest.mark.parametrize(
    ("family", "where"),
    [
        (socket.AF_INET, ("127.0.0.1", 80)),
        (socket.AF_INET, ("127.1", 80)),
        (socket.AF_INET, ("localhost", 80)),
        (socket.AF_INET6, ("::1", 80, 0, 0)),
        (socket.AF_INET6, ("::ffff:10.0.0.1", 80, 0, 0)),
    ],
)
def test_no_socket_is_opened_for_an_address_inside_whatever_came_before(family: int, where: Any) -> None:
    with pytest.raises(OutsidePublic):
        open_public_socket((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where))


async def test_the_socket_is_the_last_wall_when_a_resolver_let_something_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def let_through(self: wall.PublicResolver, host: str, port: int = 0, family: Any = 0) -> Any:
        return await Names(sly_example=[["127.0.0.1"]]).resolve(host, port, family)

    monkeypatch.setattr(wall.PublicResolver, "resolve", let_through)
    async with upstream(plain(200, b"inside")) as place, Egress() as egress:
        assert await cause(egress, at(place.url, "sly.example")) == "forbidden"
    assert place.connections == 0


async def test_a_proxy_gets_public_names_and_never_a_local_one() -> None:
    async with upstream(plain(200, b"proxy")) as proxy, Egress(EgressSettings(proxy=proxy.url)) as egress:
        assert await read(egress, "http://provider.example/v1") == b"proxy"
        assert await read(egress, "http://8.8.8.8/v1") == b"proxy"
        for host in ("127.0.0.1", "localhost", "intranet", "metadata.google.internal", "[::1]", "0x7f.1"):
            assert await cause(egress, f"http://{host}/") == "forbidden", host
        assert len(proxy.requests) == 2
        # The operator's own servers elsewhere are the proxy's business.
        assert await read(egress, "http://gpu.lan/v1", reach=Reach.OPERATOR) == b"proxy"


async def test_this_machine_and_what_is_allowed_are_asked_without_the_proxy() -> None:
    names = Names(inside_example=[["127.0.0.1"]])
    async with upstream(plain(200, b"proxy")) as proxy, upstream(plain(200, b"direct")) as place:
        allow = frozenset({Place("inside.example", urlsplit(place.url).port or 0)})
        async with Egress(EgressSettings(proxy=proxy.url, allow=allow), names=names) as egress:
            assert await read(egress, place.url, reach=Reach.OPERATOR) == b"direct"
            assert await read(egress, at(place.url, "inside.example")) == b"direct"
    assert proxy.requests == []


async def test_a_proxy_that_asks_for_a_password_gets_it_and_nobody_else_does() -> None:
    async with upstream(plain(200, b"proxy")) as proxy:
        secret = proxy.url.replace("http://", "http://me:word@")
        async with Egress(EgressSettings(proxy=secret)) as egress:
            assert await read(egress, "http://provider.example/v1") == b"proxy"
    assert "proxy-authorization: basic bwu6d29yza==" in proxy.requests[0].head.lower()


async def test_names_that_are_slow_on_purpose_hold_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    released, look_up = threading.Event(), socket.getaddrinfo
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    def dawdle(host: Any, *more: Any, **how: Any) -> Any:
        if host == "slow.example":
            loop.call_soon_threadsafe(begun.set)
            released.wait()
            raise socket.gaierror
        return look_up(host, *more, **how)

    monkeypatch.setattr(socket, "getaddrinfo", dawdle)
    async with upstream(plain(200, b"inside")) as place, Egress() as egress:
        # The loop's own lookups would all be taken by fewer; each port is a lookup of its own.
        slow = [asyncio.create_task(cause(egress, f"http://slow.example:{1 + n}/")) for n in range(40)]
        try:
            await begun.wait()
            async with asyncio.timeout(30):
                assert await read(egress, at(place.url, "localhost"), reach=Reach.OPERATOR) == b"inside"
        finally:
            released.set()
        await asyncio.gather(*slow)


async def test_the_systems_own_names_are_looked_up_for_the_public_too() -> None:
    async with Egress() as egress:
        assert await cause(egress, "http://localhost:9/") == "forbidden"
        assert await cause(egress, "http://nowhere.invalid/") == "dns"
