"""The wall around requests that anyone may have caused: at the name's resolution, and again at the very socket."""

import logging
import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from porch.egress.addresses import refuse_address

log = logging.getLogger(__name__)

# As aiohttp hands it over: family, type, protocol, canonical name, socket address.
AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]


class OutsidePublic(OSError):
    """Raised when a connection would have left the public internet."""


class PublicResolver(AbstractResolver):
    """Answers with a name's public addresses alone.

    The connection is made to the very addresses answered here: there is no second lookup that could say
    something else (DNS rebinding).
    """

    def __init__(self, names: AbstractResolver) -> None:
        self._names = names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The public ones among the addresses of `host`. Raises OutsidePublic when there is none."""
        found = await self._names.resolve(host, port, family)
        public = [one for one in found if refuse_address(one["host"]) is None]
        if not public:
            kinds = sorted({refuse_address(one["host"]) or "" for one in found})
            log.info("not asked: %r leads to no public address (%s)", host, ", ".join(kinds))
            raise OutsidePublic("no public address")
        return public

    async def close(self) -> None:
        """Close the resolver that was given."""
        await self._names.close()


def open_public_socket(address: AddressInfo) -> socket.socket:
    """A socket for an address that is about to be connected. Raises OutsidePublic for one that is not public."""
    family, kind, protocol, _, where = address
    if refuse_address(where[0]) is not None:
        raise OutsidePublic("not a public address")
    return socket.socket(family, kind, protocol)
