"""Which addresses are the public internet: only these are asked when just anyone may have written a URL.

Sources: the IANA registries of special-purpose IPv4 and IPv6 addresses (RFC 6890), read as a list of what is
refused for IPv4, and for IPv6 as the one block that holds global unicast addresses (RFC 4291) less its exceptions.
The standard library's `is_global` is not asked, since its answers change between Python's releases.
"""

import ipaddress
from functools import lru_cache
from typing import Final

_IPV4: Final = {
    "0.0.0.0/8": "unspecified",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier (CGNAT)",
    "127.0.0.0/8": "loopback",
    # A virtual address inside Azure that hands out credentials, though its number is a public one.
    "168.63.129.16/32": "a cloud's own service",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "documentation",
    "192.88.99.0/24": "6to4",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}

_IPV6_UNICAST: Final = ipaddress.IPv6Network("2000::/3")

_IPV6: Final = {
    "2001::/32": "Teredo",
    "2001::/23": "reserved",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4",
    "3fff::/20": "documentation",
    "::/128": "unspecified",
    "::1/128": "loopback",
    "::ffff:0:0/96": "an IPv4 address in IPv6",
    "::/96": "an IPv4 address in IPv6",
    "64:ff9b::/96": "NAT64",
    "64:ff9b:1::/48": "NAT64",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
}

_REFUSED_IPV4: Final = [(ipaddress.IPv4Network(network), kind) for network, kind in _IPV4.items()]
_REFUSED_IPV6: Final = [(ipaddress.IPv6Network(network), kind) for network, kind in _IPV6.items()]


@lru_cache(maxsize=4096)
def refuse_address(address: str) -> str | None:
    """Why an address is not the public internet, in a word or two; None for one that is.

    What is no address in its usual spelling is refused too, and so is one with a zone.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "not an address"
    if isinstance(found, ipaddress.IPv4Address):
        return next((kind for network, kind in _REFUSED_IPV4 if found in network), None)
    if found.scope_id is not None:
        return "link-local"
    kind = next((kind for network, kind in _REFUSED_IPV6 if found in network), None)
    return kind or (None if found in _IPV6_UNICAST else "reserved")
