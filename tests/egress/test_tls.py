"""The address is pinned, and the certificate must all the same be that of the name."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from porch.egress import Egress, EgressError, EgressSettings, Reach
from tests.egress.conftest import Names
from tests.providers.upstream import plain, upstream

Sni = list[str | None]


@pytest.fixture
def server(tmp_path: Path) -> tuple[ssl.SSLContext, str, Sni]:
    """TLS of good.example, the file that vouches for it, and the names that clients asked for."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=good.example", "-addext", "subjectAltName=DNS:good.example"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    asked: Sni = []

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        asked.append(name)

    context.sni_callback = note
    return context, str(cert), asked


@pytest.mark.parametrize("reach", list(Reach))
async def test_a_pinned_address_must_show_the_certificate_of_the_name(
    server: tuple[ssl.SSLContext, str, Sni], call_public: Callable[[str], None], reach: Reach
) -> None:
    context, ca_file, sni = server
    call_public("127.0.0.1")
    names = Names(good_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
    async with (
        upstream(plain(200, b"hello"), tls=context) as place,
        Egress(EgressSettings(ca_file=ca_file), names=names) as egress,
    ):
        port = urlsplit(place.url).port
        for host in ("good.example", "GOOD.example", "good.example."):
            reply = await egress.post(f"https://{host}:{port}/", headers={}, body=b"{}", reach=reach)
            assert await reply.read_all(10) == b"hello"
            egress.settle(reply)
        # A kept connection to the same address is another name's.
        for host in ("other.example", "127.0.0.1"):
            with pytest.raises(EgressError, match="certificate does not verify") as caught:
                await egress.post(f"https://{host}:{port}/", headers={}, body=b"{}", reach=reach)
            assert caught.value.cause == "tls"
    assert len(place.requests) == 3
    assert set(sni) == {"good.example", "other.example", None}


async def test_a_server_that_never_shakes_hands_has_the_time_for_a_connection_and_no_more() -> None:
    gone = asyncio.Event()

    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
    async with server, Egress(EgressSettings(connect_seconds=0.3)) as egress:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(EgressError, match=r"No connection came about within 0\.3 seconds") as caught:
            await egress.post(url, headers={}, body=b"{}", reach=Reach.OPERATOR)
        await gone.wait()
    assert caught.value.cause == "timeout"
