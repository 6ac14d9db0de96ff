"""What a URL of anyone's may say, in every spelling that has been tried against others."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from porch.egress.failures import EgressError
from porch.egress.reach import Place, check_public, name_place, read_place, read_url, refuse_user, same_origin

FORBIDDEN = [
    "http://127.0.0.1/",
    "http://127.0.0.1:8642/",
    "http://10.1.2.3/",
    "https://169.254.169.254/latest/meta-data/",
    "http://0.0.0.0/",
    "http://0/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0X7F000001/",
    "http://0x7f.1/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://0177.0.0.1/",
    "http://0177.0.0.01/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.1./",
    "http://8.8.8.8./",
    "http://8.8.8/",
    "http://256.1.1.1/",
    "http://example.0x7f/",
    "http://example.1/",
    "http://127.0.0.1/",
    "http://127。0。0。1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.1%2f.example.com/",
    "http://127.0.0.1%00.example.com/",
    "http://127.0.0.1%23.example.com/",
    "http://exa%6dple.com/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[fec0::1]/",
    "http://[fd00::1]/",
    "http://[ff02::1]/",
    "http://[:::]/",
    "http://exa mple.com/",
    "http://a..b/",
    "http://-a.example/",
    "http://*.example/",
    f"http://{'a' * 64}.example/",
    f"http://{'a.' * 127}example/",
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_no_spelling_of_a_local_address_is_asked(url: str) -> None:
    with pytest.raises(EgressError) as caught:
        check_public(read_url(url))
    assert caught.value.cause == "forbidden"


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/",
        "https://example.com/v1",
        "https://example.com./v1",
        "https://EXAMPLE.com:8443/v1",
        "https://bücher.example/",
        "https://under_score.example/",
        "https://1and1.example/",
        "https://0x7f.example/",
        "https://4.3.2.1.example/",
        "https://[2606:4700:4700::1111]/",
    ],
)
def test_names_and_public_addresses_may_be_asked(url: str) -> None:
    check_public(read_url(url))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "//example.com/",
        "/path",
        "http://",
        "http:///path",
        "http:example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "data:text/plain,x",
        "unix:/run/x.sock",
        "http://[::1",
        "http://[127.0.0.1]/",
        "http://[]@/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:80a/",
        "http://loc\u00adalhost/",
    ],
)
def test_what_is_no_http_url_is_not_asked(url: str) -> None:
    with pytest.raises(EgressError) as caught:
        read_url(url)
    assert caught.value.cause == "address"


@pytest.mark.parametrize(
    "url",
    [
        "http://user@example.com/",
        "http://user:pw@example.com/",
        "http://a@b@example.com/",
        "http://:x@h.example/",
    ],
)
def test_a_user_in_a_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(EgressError, match="leave it out") as caught:
        refuse_user(read_url(url))
    assert caught.value.cause == "address"


def test_what_stands_before_the_at_sign_is_never_the_host() -> None:
    for url in (
        "http://example.com@127.0.0.1/",
        "http://example.com:80@127.0.0.1/",
        "http://1.1.1.1 &@127.0.0.1#@8.8.8.8/",
    ):
        with pytest.raises(EgressError, match=r"'127\.0\.0\.1' is not on the public internet"):
            check_public(read_url(url))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "x.localhost",
        "intranet",
        "printer.local",
        "metadata.google.internal",
        "x.home.arpa",
    ],
)
def test_where_a_proxy_resolves_the_names_of_local_networks_are_refused_as_such(host: str) -> None:
    url = read_url(f"http://{host}/")
    check_public(url)
    with pytest.raises(EgressError, match="PORCH_EGRESS_ALLOW"):
        check_public(url, resolved_here=False)
    check_public(read_url("http://example.com/"), resolved_here=False)
    check_public(read_url("http://8.8.8.8/"), resolved_here=False)
    check_public(read_url("http://[2606:4700:4700::1111]/"), resolved_here=False)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("ollama.lan:11434", Place("ollama.lan", 11434)),
        (" Ollama.LAN.:80 ", Place("ollama.lan", 80)),
        ("127.0.0.1:8000", Place("127.0.0.1", 8000)),
        ("[::1]:8000", Place("::1", 8000)),
        ("[0:0:0:0:0:0:0:1]:8000", Place("::1", 8000)),
        ("bücher.example:443", Place("xn--bcher-kva.example", 443)),
    ],
)
def test_a_place_is_read_in_the_spelling_that_urls_have(text: str, place: Place) -> None:
    assert read_place(text) == place
    assert read_place(str(place)) == place
    assert name_place(URL(f"http://{text.strip()}/v1")) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:",
        ":80",
        "host:0",
        "host:65536",
        "host:x",
        "http://host:80",
        "host:80/v1",
        "u@host:80",
        "::1:80",
        "*:80",
        "[x]:80",
        "[:::]:80",
        "[]@:80",
        "é" * 80 + ":80",
    ],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        read_place(text)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert same_origin("https://Index.example/simple", "https://index.example:443/files/x")
    for other in (
        "http://index.example/",
        "https://index.example:8443/",
        "https://index.example.evil/",
        "nonsense",
    ):
        assert not same_origin("https://index.example/simple", other)


@given(
    st.text(min_size=1, max_size=80) | st.text(alphabet="0123456789.:[]%xabf@/\\\t\u3002\uff10", max_size=30)
)
def test_any_text_as_a_host_is_refused_or_a_plain_name_or_a_public_address(text: str) -> None:
    try:
        url = read_url(f"http://{text}/")
        check_public(url)
    except EgressError:
        return
    host = name_place(url).host
    if ":" in host or host.replace(".", "").isdigit():
        assert ipaddress.ip_address(host).is_global
    else:
        assert all(letter.isascii() and (letter.isalnum() or letter in "-_.") for letter in host)
