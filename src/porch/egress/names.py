"""Looking up names that anyone may have written, where a slow one holds up nobody else."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Final, cast

from aiohttp.abc import AbstractResolver, ResolveResult

# The loop's own lookups share very few threads (uvloop's: two at a time).
THREADS: Final = 32


class StrangersNames(AbstractResolver):
    """The system's resolver on threads of its own: names of strangers' making can be slow on purpose."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host` that this machine's networks can use. Raises OSError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _look_up, host, port, family)

    async def close(self) -> None:
        """Wait for nothing: a lookup under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=_spell(cast("tuple[str, int] | tuple[str, int, int, int]", where)),
            port=port,
            family=found_family,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for found_family, _, protocol, _, where in found
    ]


def _spell(where: tuple[str, int] | tuple[str, int, int, int]) -> str:
    zone = where[3] if len(where) == 4 else 0
    return f"{where[0]}%{zone}" if zone else where[0]
