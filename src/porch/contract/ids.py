"""Ids: a UUIDv7 behind a type prefix (`run_0199…`), sortable by time and greppable.

Source: RFC 9562, section 5.7.
"""

import os
import re
import time
from uuid import UUID

from porch.contract.errors import NotFound


class _Clock:
    """Unix time in 1/4096 ms that never gives the same twice (RFC 9562, section 6.2, method 3)."""

    last = 0

    def tick(self) -> int:
        milliseconds, rest = divmod(time.time_ns(), 1_000_000)
        self.last = max(self.last + 1, milliseconds << 12 | (rest << 12) // 1_000_000)
        return self.last


_clock = _Clock()

# UUID() reads a number in many spellings; an id has one.
HEX = re.compile(r"[0-9a-f]{32}")


def new_uuid() -> UUID:
    """A fresh UUIDv7. Those of one process ascend, so that an answer sorts behind its question."""
    milliseconds, fraction = divmod(_clock.tick(), 4096)
    value = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62
    return UUID(int=value | int.from_bytes(os.urandom(8), "big") >> 2)


def format_id(prefix: str, value: UUID) -> str:
    """`run_` + 32 lower-case hex digits."""
    return f"{prefix}_{value.hex}"


def new_id(prefix: str) -> str:
    """A fresh id with this prefix."""
    return format_id(prefix, new_uuid())


def parse_id(prefix: str, text: str) -> UUID:
    """The UUID within an id. Raises NotFound for anything that is not an id of this kind."""
    head, _, tail = text.partition("_")
    if head == prefix and HEX.fullmatch(tail):
        return UUID(hex=tail)
    raise NotFound(f"There is no {text[:80]!r} here. An id of this kind looks like {prefix}_0199….")
