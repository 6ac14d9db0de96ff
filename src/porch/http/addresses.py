"""Where a request comes from, as far as it can be told."""

import ipaddress

from starlette.requests import HTTPConnection


def caller_address(request: HTTPConnection) -> str | None:
    """The address that a request comes from; of one from a private network, the last that a proxy there has added.

    `X-Forwarded-For` is whatever its sender wants unless a proxy wrote its end, and a proxy that stands before this
    server speaks to it from this machine or its network. Use it for limits, and for nothing that gives access.
    """
    client = request.client.host if request.client else None
    if client is None or not _is_near(client):
        return client
    named = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    return named if named and _is_address(named) else client


def _is_near(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in _NEAR if network.version == found.version)


_NEAR = [
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
