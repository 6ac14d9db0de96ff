"""The one way out keeps its rules whatever is asked of it."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar, cast

import aiohttp
import pytest

from porch.background import end
from porch.contract.errors import SetupError
from porch.egress import Egress, EgressError, EgressSettings, Place, Reach, Redirected, client
from porch.egress.reply import TURN_BYTES, Reply
from porch.settings import Settings
from tests.providers.upstream import Exchange, hang, plain, upstream


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(EgressSettings(connect_seconds=1, first_byte_seconds=0.2, idle_seconds=0.2)) as egress:
        yield egress


async def cause(egress: Egress, url: str, headers: dict[str, str] | None = None) -> str:
    with pytest.raises(EgressError) as caught:
        await egress.post(url, headers=headers or {}, body=b"{}", reach=Reach.OPERATOR)
    return caught.value.cause


async def test_a_redirect_is_an_error_that_names_the_host_and_nobody_else_is_asked(egress: Egress) -> None:
    async with upstream(plain(200)) as elsewhere:
        away = elsewhere.url.replace("http://", "http://user:secret@") + "?token=x"
        async with upstream(plain(307, b"", Location=away)) as place:
            headers = {"Authorization": "Bearer x"}
            with pytest.raises(Redirected) as caught:
                await egress.post(place.url, headers=headers, body=b"{}", reach=Reach.OPERATOR)
    assert caught.value.message == "It redirects to '127.0.0.1' (307), which is not followed."
    assert (caught.value.status_code, caught.value.cause) == (307, "redirect")
    assert elsewhere.requests == []


async def test_cookies_are_not_kept_from_one_request_to_the_next(egress: Egress) -> None:
    async with upstream(plain(200, b"x", Set_Cookie="session=1; Path=/")) as place:
        for _ in range(2):
            reply = await egress.post(place.url, headers={}, body=b"{}", reach=Reach.OPERATOR)
            assert await reply.read_all(10) == b"x"
            egress.settle(reply)
    assert place.connections == 1
    assert "cookie" not in place.requests[1].head.lower()


async def test_proxies_of_the_environment_are_not_followed(
    egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with upstream(plain(200, b"direct")) as place, upstream(plain(200, b"proxy")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        reply = await egress.post(place.url, headers={}, body=b"{}", reach=Reach.OPERATOR)
        assert await reply.read_all(100) == b"direct"
        reply.close()
    assert proxy.requests == []


async def test_a_proxy_that_is_set_is_used() -> None:
    async with upstream(plain(200, b"proxy")) as proxy, Egress(EgressSettings(proxy=proxy.url)) as egress:
        reply = await egress.post("http://provider.example/v1", headers={}, body=b"{}")
        assert await reply.read_all(100) == b"proxy"
        reply.close()
    assert proxy.requests[0].head.startswith("POST http://provider.example/v1 ")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1/", "refused"),
        ("http://nowhere.invalid/", "dns"),
        ("ftp://127.0.0.1/", "address"),
        ("http://", "address"),
        ("nonsense", "address"),
        ("http://127.0.0.1:99999/", "address"),
    ],
)
async def test_an_address_that_cannot_be_asked_says_why(egress: Egress, url: str, expected: str) -> None:
    assert await cause(egress, url) == expected


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """A server's side of TLS under a certificate that nobody vouches for."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_refused_unless_it_is_named(
    certificate: ssl.SSLContext, tmp_path: Path
) -> None:
    async with upstream(plain(200, b"hello"), tls=certificate) as place:
        url = place.url.replace("http://", "https://")
        async with Egress(EgressSettings()) as egress:
            assert await cause(egress, url) == "tls"
        assert place.requests == []
        async with Egress(EgressSettings(ca_file=str(tmp_path / "cert.pem"))) as egress:
            reply = await egress.post(url, headers={}, body=b"{}", reach=Reach.OPERATOR)
            assert await reply.read_all(10) == b"hello"
            reply.close()


async def test_a_server_without_tls_at_an_https_address_is_told_apart(egress: Egress) -> None:
    async def speak_plainly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(speak_plainly, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await cause(egress, f"https://127.0.0.1:{port}/") == "tls"


async def test_a_header_with_a_line_break_is_not_sent(egress: Egress) -> None:
    async with upstream(plain(200)) as place:
        assert await cause(egress, place.url, {"X": "a\r\nY: b"}) == "protocol"
    assert place.requests == []


async def test_a_user_in_the_operators_address_is_sent_and_stands_in_nobodys_way(egress: Egress) -> None:
    async with upstream(plain(200, b"x")) as place:
        url = place.url.replace("http://", "http://me:word@")
        reply = await egress.post(url, headers={"X-Api-Key": "k"}, body=b"{}", reach=Reach.OPERATOR)
        reply.close()
        with pytest.raises(EgressError, match="a user in it and a key is sent too") as caught:
            await egress.post(url, headers={"authorization": "Bearer k"}, body=b"{}", reach=Reach.OPERATOR)
    assert caught.value.cause == "address"
    assert "word" not in caught.value.message
    assert "authorization: basic bwu6d29yza==" in place.requests[0].head.lower()
    assert len(place.requests) == 1


async def test_what_drips_is_read_for_so_long_and_no_longer(egress: Egress) -> None:
    async def drip(exchange: Exchange) -> None:
        await exchange.write(b"HTTP/1.1 500 Bad\r\nContent-Length: 1000\r\n\r\n")
        while not exchange.writer.is_closing():
            await exchange.write(b"x")
            await asyncio.sleep(0.01)

    async with upstream(drip) as place:
        reply = await egress.post(place.url, headers={}, body=b"{}", reach=Reach.OPERATOR)
        body = await asyncio.wait_for(reply.read_all(1000, seconds=0.3), 30)
        reply.close()
        await place.hung_up.wait()
    assert body.strip(b"x") == b""
    assert len(body) < 1000


async def test_no_answer_in_time_is_a_timeout(egress: Egress) -> None:
    async with upstream(hang) as place:
        assert await cause(egress, place.url) == "timeout"


async def test_what_is_not_open_says_so() -> None:
    with pytest.raises(SetupError):
        await Egress().post("http://127.0.0.1:1/", headers={}, body=b"")


async def test_closing_frees_every_connection_even_those_that_drain() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.chunks(b"x")
        await exchange.hold()

    async with upstream(endless) as place:
        async with Egress() as egress:
            reply = await egress.post(place.url, headers={}, body=b"{}", reach=Reach.OPERATOR)
            await reply.read()
            egress.settle(reply)
            assert egress.draining
        await place.hung_up.wait()
        assert not egress.draining


def test_an_installations_settings_bound_its_way_out() -> None:
    told = Settings(
        provider_connect_timeout=1,
        provider_first_byte_timeout=2,
        provider_idle_timeout=3,
        provider_event_timeout=4,
        egress_allow=("GPU.lan.:8000", "[0::1]:80"),
        egress_proxy="http://proxy.lan:3128",
    )
    found = EgressSettings.read(told)
    assert (found.connect_seconds, found.first_byte_seconds, found.idle_seconds) == (1, 2, 3)
    assert found.event_seconds == 4
    assert found.allow == {Place("gpu.lan", 8000), Place("::1", 80)}
    assert found.proxy == "http://proxy.lan:3128"
    for proxy in ("http://me:word@proxy.lan:99999", "http://[::1", "http://[]@", "ftp://proxy.lan"):
        with pytest.raises(SetupError, match=r"egress_proxy cannot be used: write http://") as caught:
            EgressSettings.read(Settings(egress_proxy=proxy))
        assert "word" not in caught.value.message
    with pytest.raises(SetupError, match=r"'\[:::\]:80' is not host:port"):
        EgressSettings.read(Settings(egress_allow=("[:::]:80",)))


class Ready:
    """A body that is always there already, so that reading it never waits."""

    async def readany(self) -> bytes:
        """The next 16 KB."""
        return b"x" * 16384


class Flowing:
    """The answer of a server that sends faster than it is read."""

    status = 200
    headers: ClassVar[dict[str, str]] = {}
    content = Ready()

    def close(self) -> None:
        """Nothing to give up."""


async def test_a_body_that_is_always_ready_leaves_others_their_turn() -> None:
    response = cast("aiohttp.ClientResponse", Flowing())
    reply = Reply(response, idle_seconds=60, answer_seconds=60, max_bytes=1 << 30)
    turns = 0

    async def work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    working = asyncio.create_task(work())
    received = 0
    while received < 64 * 16384:
        received += len(await reply.read())
    working.cancel()
    reply.close()
    assert turns >= 64 * 16384 // (2 * TURN_BYTES)


async def test_a_peer_that_reads_nothing_does_not_hold_up_the_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CLOSE_SECONDS", 0.1)
    connected = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cast("asyncio.Transport", writer.transport).pause_reading()
        connected.set()

    place = await asyncio.start_server(hold, "127.0.0.1", 0)
    egress = Egress()
    await egress.open()
    url = f"http://127.0.0.1:{place.sockets[0].getsockname()[1]}/"
    asking = asyncio.create_task(
        egress.post(url, headers={}, body=bytes(30_000_000), reach=Reach.OPERATOR), name="asking"
    )
    await connected.wait()
    async with asyncio.timeout(5):
        await egress.close()
    assert not asking.done()
    await end(asking)
    place.close()
