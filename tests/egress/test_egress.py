"""The one way out keeps its rules whatever is asked of it."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from porch.contract.errors import SetupError
from porch.egress import Egress, EgressError, EgressSettings
from tests.providers.upstream import Exchange, hang, plain, upstream


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(EgressSettings(connect_seconds=1, first_byte_seconds=0.2, idle_seconds=0.2)) as egress:
        yield egress


async def cause(egress: Egress, url: str, headers: dict[str, str] | None = None) -> str:
    with pytest.raises(EgressError) as caught:
        await egress.post(url, headers=headers or {}, body=b"{}")
    return caught.value.cause


async def test_a_redirect_is_an_answer_and_nobody_else_is_asked(egress: Egress) -> None:
    async with upstream(plain(200)) as elsewhere, upstream(plain(307, b"", Location=elsewhere.url)) as place:
        reply = await egress.post(place.url, headers={"Authorization": "Bearer x"}, body=b"{}")
        reply.close()
    assert reply.status == 307
    assert elsewhere.requests == []


async def test_cookies_are_not_kept_from_one_request_to_the_next(egress: Egress) -> None:
    async with upstream(plain(200, b"x", Set_Cookie="session=1; Path=/")) as place:
        for _ in range(2):
            reply = await egress.post(place.url, headers={}, body=b"{}")
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
        reply = await egress.post(place.url, headers={}, body=b"{}")
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
            reply = await egress.post(url, headers={}, body=b"{}")
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
            reply = await egress.post(place.url, headers={}, body=b"{}")
            await reply.read()
            egress.settle(reply)
            assert egress.draining
        await place.hung_up.wait()
        assert not egress.draining
