"""The form in which an ended run is kept: its frames compressed in blocks, so that any stretch is read alone."""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from porch.contract.errors import PorchError

CODEC = "zlib"
LEVEL = 6
# Large enough to compress as well as the whole, small enough that a late cursor does not unpack it.
BLOCK_BYTES = 256 * 1024
DAMAGED = "The stored journal of this run is damaged: it is not what was packed. Restore it from a backup."


@dataclass(frozen=True, slots=True)
class JournalRow:
    """Consecutive frames of a run as they were sent."""

    first: int
    last: int
    epoch: int
    frames: bytes


class Block(NamedTuple):
    """Where consecutive frames of one epoch stand in a pack: `size` bytes as sent, `length` bytes from `offset`."""

    first: int
    last: int
    epoch: int
    size: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Pack:
    """All frames of a run. `checksum` is the SHA-256 of its `size` bytes as they were sent."""

    last: int
    codec: str
    blocks: Sequence[int]
    size: int
    checksum: bytes
    frames: bytes


class Damaged(PorchError):
    """Raised when what is stored of a run is not what was packed."""

    code = "journal_damaged"


def pack(rows: Iterable[JournalRow]) -> Pack:
    """A run's rows, in order and without a gap, as a pack that was seen to unpack to the very same bytes."""
    packer = Packer()
    for row in rows:
        packer.add(row)
    return packer.finish()


class Packer:
    """Takes the rows of one run one by one, and holds no more of them than a block."""

    def __init__(self) -> None:
        self._blocks: list[int] = []
        self._packed: list[bytes] = []
        self._sum = hashlib.sha256()
        self._size = 0
        self._rows: list[JournalRow] = []
        self._held = 0
        self._last = 0

    def add(self, row: JournalRow) -> None:
        """The next row. Raises ValueError for one that does not follow."""
        if row.first != self._last + 1:
            raise ValueError(f"the row from {row.first} does not follow {self._last}")
        if self._rows and (row.epoch != self._rows[0].epoch or self._held + len(row.frames) > BLOCK_BYTES):
            self._close()
        self._rows.append(row)
        self._held += len(row.frames)
        self._last = row.last

    def finish(self) -> Pack:
        """The whole run."""
        if self._rows:
            self._close()
        frames = b"".join(self._packed)
        return Pack(self._last, CODEC, self._blocks, self._size, self._sum.digest(), frames)

    def _close(self) -> None:
        raw = b"".join(row.frames for row in self._rows)
        packed = zlib.compress(raw, LEVEL)
        if unpack(CODEC, packed, len(raw)) != raw:
            raise Damaged("A block of the journal does not unpack to what was packed.")
        self._blocks += (self._rows[0].first, self._rows[0].epoch, len(raw), len(packed))
        self._packed.append(packed)
        self._sum.update(raw)
        self._size += len(raw)
        self._rows, self._held = [], 0


def index(numbers: Sequence[int], last: int) -> list[Block]:
    """The blocks of a pack, from its four numbers for each; `last` is the pack's last seq."""
    blocks: list[Block] = []
    offset = 0
    for at in range(0, len(numbers), 4):
        first, epoch, size, length = numbers[at : at + 4]
        end = numbers[at + 4] - 1 if at + 4 < len(numbers) else last
        blocks.append(Block(first, end, epoch, size, offset, length))
        offset += length
    return blocks


def unpack(codec: str, data: bytes, size: int) -> bytes:
    """The `size` bytes of one block. Raises Damaged."""
    if codec != CODEC:
        raise Damaged(f"This journal is packed by {codec!r}, which this version of Porch does not know.")
    decoder = zlib.decompressobj()
    try:
        raw = decoder.decompress(data, size + 1)
    except zlib.error as error:
        raise Damaged(DAMAGED) from error
    if len(raw) != size or not decoder.eof or decoder.unused_data:
        raise Damaged(DAMAGED)
    return raw


def check(stored: Pack) -> None:
    """Raise Damaged unless all of the pack unpacks to what its checksum says."""
    total = hashlib.sha256()
    end = 0
    for block in index(stored.blocks, stored.last):
        end = block.offset + block.length
        total.update(unpack(stored.codec, stored.frames[block.offset : end], block.size))
    if total.digest() != stored.checksum or end != len(stored.frames):
        raise Damaged(DAMAGED)
