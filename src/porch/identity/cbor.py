"""CBOR (RFC 8949) as authenticators write it: whole numbers, bytes, text, lists, maps, and the simple values.

What is indefinitely long, tagged or a fraction stands in none of their messages, and is refused.
"""

from typing import cast

Value = int | bytes | str | bool | None | list["Value"] | dict[int | str, "Value"]

DEEPEST = 8
_SIMPLE: dict[int, bool | None] = {20: False, 21: True, 22: None}


class NotCbor(ValueError):
    """Raised for bytes that cannot be read so."""


def decode(data: bytes) -> Value:
    """The one value that these bytes are. Raises NotCbor."""
    value, rest = decode_first(data)
    if rest:
        raise NotCbor("there is something behind the value")
    return value


def decode_first(data: bytes) -> tuple[Value, bytes]:
    """The value that these bytes begin with, and those behind it. Raises NotCbor."""
    reader = _Reader(data)
    return reader.value(0), data[reader.at :]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise NotCbor("it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def value(self, depth: int) -> Value:
        if depth > DEEPEST:
            raise NotCbor("it nests too deep")
        first = self.take(1)[0]
        major, detail = first >> 5, first & 31
        if major == 7:
            if detail not in _SIMPLE:
                raise NotCbor("it holds a value that is not read here")
            return _SIMPLE[detail]
        number = self.number(detail)
        match major:
            case 0:
                return number
            case 1:
                return -1 - number
            case 2:
                return self.take(number)
            case 3:
                return self.text(number)
            case 4:
                self.check_room(number)
                return [self.value(depth + 1) for _ in range(number)]
            case 5:
                return self.map(number, depth)
            case _:
                raise NotCbor("it holds a tag")

    def number(self, detail: int) -> int:
        if detail < 24:
            return detail
        if detail > 27:
            raise NotCbor("it holds something of no said length")
        return int.from_bytes(self.take(1 << (detail - 24)), "big")

    def text(self, size: int) -> str:
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            raise NotCbor("it holds text that is not UTF-8") from None

    def map(self, count: int, depth: int) -> Value:
        self.check_room(2 * count)
        found: dict[int | str, Value] = {}
        for _ in range(count):
            key = self.value(depth + 1)
            if not isinstance(key, int | str) or isinstance(key, bool):
                raise NotCbor("a key of a map is neither a number nor text")
            if key in found:
                raise NotCbor("a key of a map comes twice")
            found[key] = self.value(depth + 1)
        return cast("Value", found)

    def check_room(self, items: int) -> None:
        # Each takes a byte at least: nothing is made for what cannot be there.
        if items > len(self.data) - self.at:
            raise NotCbor("it ends too early")
