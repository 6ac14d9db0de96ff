"""Origins: what an owner may write, and how browsers would spell it."""

import pytest

from porch.contract.errors import InvalidInput
from porch.identity.origins import MAX_ORIGINS, is_sent_origin, parse_origin, parse_origins


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://example.com", "https://example.com"),
        ("HTTPS://Example.COM", "https://example.com"),
        ("https://example.com:443", "https://example.com"),
        ("https://example.com:0443", "https://example.com"),
        ("https://example.com:8443", "https://example.com:8443"),
        ("https://example.com:80", "https://example.com:80"),
        ("https://Bücher.example", "https://xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://straße.example", "https://xn--strae-oqa.example"),
        ("https://例え.テスト", "https://xn--r8jz45g.xn--zckzah"),
        ("https://my_site.example", "https://my_site.example"),
        ("https://localhost", "https://localhost"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://LOCALHOST:80", "http://localhost"),
        ("http://127.0.0.1:5173", "http://127.0.0.1:5173"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
        ("https://192.0.2.7:8443", "https://192.0.2.7:8443"),
        ("https://[2001:DB8::0:1]", "https://[2001:db8::1]"),
    ],
)
def test_an_origin_is_spelled_as_browsers_send_it(written: str, origin: str) -> None:
    assert parse_origin(written) == origin
    assert parse_origin(origin) == origin
    assert is_sent_origin(origin)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "no origin"),
        ("null", "no origin"),
        ("example.com", "no origin"),
        ("//example.com", "no origin"),
        ("https:example.com", "no origin"),
        (" https://example.com", "no origin"),
        ("https://example.com\n", "no host"),
        ("https://", "no host"),
        ("https://:443", "no host"),
        ("https://*.example.com", "wildcard"),
        ("*", "wildcard"),
        ("https://example.com/", "leave out '/'"),
        ("https://example.com/shop", "leave out '/shop'"),
        ("https://example.com?x", "leave out"),
        ("https://example.com#x", "leave out"),
        ("https://example.com\\@evil.example", "leave out"),
        ("https://user@example.com", "no host"),
        ("https://user:pass@example.com", "no host"),
        ("https://example.com.", "no host"),
        ("https://.example.com", "no host"),
        ("https://a..b", "no host"),
        ("https://exa mple.com", "no host"),
        ("https://ex%61mple.com", "no host"),
        ("https://a,b.example", "no host"),
        ("https://a;b.example", "no host"),
        ("https://-", "no host"),
        ("https://" + "a" * 64 + ".example", "no host"),
        ("https://" + "a." * 140 + "example", "no host"),
        ("https://" + "a" * 400, "no origin"),
        ("https://0x7f.1", "no host"),
        ("https://127.1", "no host"),
        ("https://1.2.3.4.5", "no host"),
        ("https://256.1.1.1", "no host"),
        ("https://[::1", "no host"),
        ("https://[::ffff:192.0.2.7]", "no host"),
        ("https://[fe80::1%25eth0]", "no host"),
        ("https://example.com:0", "port"),
        ("https://example.com:65536", "port"),
        ("https://example.com:", "no host"),
        ("https://example.com:8x", "no host"),
        ("https://example.com:٣", "no host"),
        ("http://example.com", "not encrypted"),
        ("http://192.168.1.7", "not encrypted"),
        ("http://localhost.example", "not encrypted"),
        ("http://127.0.0.2", "not encrypted"),
        ("ftp://example.com", "'ftp:'"),
        ("chrome-extension://abcdef", "'chrome-extension:'"),
        ("javascript://example.com", "'javascript:'"),
        ("file:///", "'file:'"),
        ("https://\x00.example", "no host"),
        ("https://\ud800.example", "no host"),
    ],
)
def test_what_is_no_origin_is_refused_in_a_sentence(written: str, why: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_origin(written)
    assert why in caught.value.message
    assert caught.value.message.endswith(".")
    assert len(caught.value.message) < 400


def test_all_that_is_wrong_with_a_list_is_told_with_its_place() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_origins(["https://good.example", "http://bad.example", "nonsense"])
    assert [error["pointer"] for error in caught.value.errors] == ["/origins/1", "/origins/2"]
    assert "(1 more in errors.)" in caught.value.message


def test_the_same_site_twice_is_one_and_the_order_stays() -> None:
    given = ["https://b.example", "https://a.example", "HTTPS://B.example:443"]
    assert parse_origins(given) == ["https://b.example", "https://a.example"]


def test_more_than_the_limit_is_refused() -> None:
    many = [f"https://a{n}.example" for n in range(MAX_ORIGINS + 1)]
    assert parse_origins(many[:MAX_ORIGINS]) == many[:MAX_ORIGINS]
    with pytest.raises(InvalidInput, match="the limit is 50"):
        parse_origins(many)


@pytest.mark.parametrize(
    "sent",
    ["null", "", "*", "https://Example.com", "https://a b", "https://a,https://b", "https://é.example"],
)
def test_what_no_browser_sends_as_a_website_s_origin(sent: str) -> None:
    assert not is_sent_origin(sent)
