"""What is the public internet and what is not, over every form an address can take."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.egress.addresses import refuse_address

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2a00:1450:4001:81b::200e",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_may_be_asked(address: str) -> None:
    assert refuse_address(address) is None


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"),
        ("10.255.255.255", "private"),
        ("100.64.0.1", "shared"),
        ("100.100.100.200", "shared"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("168.63.129.16", "cloud"),
        ("169.254.169.254", "link-local"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.192", "reserved"),
        ("192.0.2.1", "documentation"),
        ("192.88.99.1", "6to4"),
        ("192.168.1.1", "private"),
        ("198.18.0.1", "benchmarks"),
        ("198.51.100.1", "documentation"),
        ("203.0.113.1", "documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "IPv4"),
        ("::ffff:8.8.8.8", "IPv4"),
        ("::ffff:7f00:1", "IPv4"),
        ("::127.0.0.1", "IPv4"),
        ("::ffff:0:127.0.0.1", "reserved"),
        ("64:ff9b::127.0.0.1", "NAT64"),
        ("64:ff9b::8.8.8.8", "NAT64"),
        ("64:ff9b:1::10.0.0.1", "NAT64"),
        ("100::1", "reserved"),
        ("2001::1", "Teredo"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
        ("2001:2::1", "reserved"),
        ("2001:20::1", "reserved"),
        ("2001:db8::1", "documentation"),
        ("2002:7f00:1::", "6to4"),
        ("2002:808:808::1", "6to4"),
        ("3fff::1", "documentation"),
        ("5f00::1", "reserved"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("2606:4700::1%eth0", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
        ("ff0e::1", "multicast"),
    ],
)
def test_every_other_address_is_refused_for_what_it_is(address: str, kind: str) -> None:
    assert kind in (refuse_address(address) or "")


@pytest.mark.parametrize(
    "address", ["", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "010.0.0.1", "1.1.1.1 "]
)
def test_what_is_no_address_in_its_usual_spelling_is_refused(address: str) -> None:
    assert refuse_address(address) == "not an address"


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_is_let_through_that_the_standard_library_calls_special(
    address: ipaddress.IPv4Address,
) -> None:
    special = not address.is_global or address.is_multicast
    assert refuse_address(str(address)) is not None or not special


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_is_let_through_that_the_standard_library_calls_special(
    address: ipaddress.IPv6Address,
) -> None:
    special = not address.is_global or address.is_multicast
    assert refuse_address(str(address)) is not None or not special


@given(
    st.ip_addresses(v=4), st.sampled_from(["::ffff:0:0", "::", "64:ff9b::", "64:ff9b:1::", "::ffff:0:0:0"])
)
def test_no_ipv4_address_passes_in_the_clothes_of_ipv6(address: ipaddress.IPv4Address, prefix: str) -> None:
    dressed = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(address))
    assert refuse_address(str(dressed)) is not None
    assert refuse_address(dressed.exploded) is not None


@given(st.ip_addresses(v=4), st.integers(0, (1 << 80) - 1))
def test_no_ipv4_address_passes_by_6to4_or_teredo(address: ipaddress.IPv4Address, rest: int) -> None:
    assert refuse_address(str(ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80) | rest))) == "6to4"
    teredo = (0x20010000 << 96) | (int(address) << 64) | (rest & ((1 << 64) - 1))
    assert refuse_address(str(ipaddress.IPv6Address(teredo))) == "Teredo"
