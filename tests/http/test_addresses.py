"""Where a request comes from: proxies before this server are asked, strangers' words are not taken."""

import pytest
from starlette.requests import HTTPConnection

from porch.http.addresses import caller_address


def caller(client: str | None, *forwarded: str) -> str | None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    where = None if client is None else (client, 50000)
    return caller_address(HTTPConnection({"type": "http", "headers": headers, "client": where}))


@pytest.mark.parametrize("near", ["127.0.0.1", "::1", "10.1.2.3", "172.17.0.2", "192.168.1.1", "fd00::2"])
def test_a_proxy_on_this_machine_or_network_says_who_asks(near: str) -> None:
    assert caller(near, "198.51.100.7") == "198.51.100.7"
    # What stands before its own entry came from outside.
    assert caller(near, "203.0.113.1, 198.51.100.7") == "198.51.100.7"
    assert caller(near, "203.0.113.1", "198.51.100.7") == "198.51.100.7"
    assert caller(near, "2001:db8::7") == "2001:db8::7"


@pytest.mark.parametrize("sent", ["", "unknown", "nobody", "198.51.100.7:443", "<script>", "198.51.100.7,"])
def test_without_a_usable_word_it_is_the_connection_s_own(sent: str) -> None:
    assert caller("127.0.0.1", sent) == "127.0.0.1"
    assert caller("127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize("far", ["192.0.2.7", "2001:db8::1", "8.8.8.8"])
def test_a_stranger_s_word_is_not_taken(far: str) -> None:
    assert caller(far, "198.51.100.7") == far


def test_a_connection_without_an_address_has_none() -> None:
    assert caller(None, "198.51.100.7") is None
    assert caller("testclient", "198.51.100.7") == "testclient"
