"""The public internet, played by this machine: an address that counts as public for one test, and its names."""

import socket
from collections.abc import Callable

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from porch.egress import addresses, reach, wall


class Names(AbstractResolver):
    """Answers each name with its lists of addresses in turn, the last one again and again."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): lists for name, lists in answers.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        host = host.rstrip(".")
        turn = self.asked.count(host)
        self.asked.append(host)
        if host not in self.answers:
            raise OSError(None, "no such name")
        lists = self.answers[host]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in lists[min(turn, len(lists) - 1)]
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
def call_public(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let an address of this machine count as public."""

    def call(address: str) -> None:
        def refuse(asked: str) -> str | None:
            return None if asked == address else addresses.refuse_address(asked)

        monkeypatch.setattr(wall, "refuse_address", refuse)
        monkeypatch.setattr(reach, "refuse_address", refuse)

    return call
