"""A stream as one reader got it: every byte with its time, read by the rules that each reader is told."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import msgspec

from porch.conformance.model import Fault
from porch.contract.events import TERMINAL_TYPES, AnyEvent, Event, decode_event

RESYNC = "stream.resync"
_END_OF_BLOCK = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_HALF = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
_ID = re.compile(r"([1-9]\d{0,9})-([1-9]\d{0,9})")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Told(NamedTuple):
    """One event: its very bytes, when they came, and what they say."""

    raw: bytes
    at: float
    type: str
    fields: dict[str, Any]
    event: AnyEvent

    @property
    def cursor(self) -> str:
        """Its id, for `Last-Event-ID`."""
        return f"{self.event.epoch}-{self.event.seq}"


class Resync(NamedTuple):
    """The frame that told this reader to forget: what it said, and how many events the reader had."""

    reason: str
    keep: int
    had: int
    raw: bytes


class Recording:
    """What is kept of one run, over as many connections as it took; `offset` events came before its first."""

    def __init__(self, run: str | None = None, *, offset: int = 0) -> None:
        self.run = run
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.told: list[Told] = []
        self.comments: list[float] = []
        self.resyncs: list[Resync] = []
        self.faults: list[tuple[Fault, bytes]] = []
        self.last = time.monotonic()
        self.lost = False
        self.offset = offset
        self._pending = b""
        self._changed = asyncio.Event()

    @property
    def data(self) -> bytes:
        """All frames that are kept, as they came."""
        return b"".join(told.raw for told in self.told)

    @property
    def events(self) -> list[AnyEvent]:
        """All that is kept; of unknown types the envelope."""
        return [told.event for told in self.told]

    @property
    def types(self) -> list[str]:
        """Of each event that is kept."""
        return [told.type for told in self.told]

    @property
    def ended(self) -> bool:
        """Whether the last event is a terminal one."""
        return bool(self.told) and self.told[-1].type in TERMINAL_TYPES

    @property
    def cursor(self) -> str | None:
        """Where to go on."""
        return self.told[-1].cursor if self.told else None

    def around(self, seq: int | None) -> list[bytes]:
        """The event of that number, with its neighbours, or the last ones."""
        if seq is None:
            return [told.raw for told in self.told[-2:]]
        return [told.raw for told in self.told if abs(told.event.seq - seq) <= 1]

    def take(self, data: bytes) -> None:
        """Bytes as they come."""
        self.last = time.monotonic()
        self._pending += data
        while found := _END_OF_BLOCK.search(self._pending):
            block, self._pending = self._pending[: found.end()], self._pending[found.end() :]
            self._take_block(block)
        self._changed.set()

    def close(self, *, lost: bool) -> None:
        """The connection is over; what it cut in the middle counts as never sent."""
        self.lost = lost
        if self._pending and not lost:
            self._fault("framing", "the stream ends in the middle of a frame", self._pending)
        self._pending = b""
        self._changed.set()

    async def until(self, reached: Callable[["Recording"], bool]) -> None:
        """Wait until that is so, or the run has ended."""
        while not (reached(self) or self.ended):
            self._changed.clear()
            await self._changed.wait()

    def _fault(self, check: str, says: str, raw: bytes, seq: int | None = None) -> None:
        self.faults.append((Fault(check, says, seq), raw))

    def _take_block(self, block: bytes) -> None:
        lines = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").strip(b"\n").split(b"\n")
        if lines[0].startswith(b":"):
            self.comments.append(self.last)
            if all(line.startswith(b":") for line in lines):
                return
        fields: dict[str, bytes] = {}
        for line in lines:
            name, _, value = line.partition(b":")
            fields.setdefault(name.decode("utf-8", "replace"), value.removeprefix(b" "))
        try:
            data: Any = msgspec.json.decode(fields.get("data", b""))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            half = "deltas" if _HALF.search(block) else "framing"
            self._fault(half, f"a frame's data is no JSON: {error}", block)
            return
        if not isinstance(data, dict):
            self._fault("framing", "a frame's data is no JSON object", block)
            return
        self._take_frame(block, fields, cast("dict[str, Any]", data))

    def _take_frame(self, block: bytes, fields: dict[str, bytes], data: dict[str, Any]) -> None:
        name = fields.get("event", b"").decode("utf-8", "replace")
        kind = str(data.get("type"))
        if kind != name:
            self._fault("framing", f"the frame is named {name!r} and its event {kind!r}", block)
        if RESYNC in (kind, name):
            self._resync(block, fields, data)
            return
        said = fields.get("id", b"").decode("utf-8", "replace")
        numbers = _ID.fullmatch(said)
        epoch, seq = (int(numbers[1]), int(numbers[2])) if numbers else (0, len(self.told) + self.offset + 1)
        if not numbers:
            self._fault("framing", f"the frame's id {said!r} is not <epoch>-<seq>", block)
        elif (data.get("epoch"), data.get("seq")) != (epoch, seq):
            self._fault("framing", f"the id {said} is not the event's epoch and seq", block, seq)
        self._check_envelope(block, data, seq)
        self._place(block, epoch, seq)
        event = self._decode(block, fields["data"], seq)
        if event is None:
            event = cast("AnyEvent", Event(v=1, run=str(data.get("run")), epoch=epoch, seq=seq))
        self.told.append(Told(block, self.last, kind, data, event))

    def _check_envelope(self, block: bytes, data: dict[str, Any], seq: int) -> None:
        if data.get("v") != 1:
            self._fault("envelope", f"v is {data.get('v')!r}, not 1", block, seq)
        for key in ("epoch", "seq"):
            if type(data.get(key)) is not int:
                self._fault("envelope", f"{key} is {data.get(key)!r}, not a number", block, seq)
        if not isinstance(data.get("ts"), str) or not _TIME.fullmatch(data["ts"]):
            self._fault("envelope", f"ts is {data.get('ts')!r}, not RFC 3339 in UTC", block, seq)
        if not isinstance(data.get("run"), str) or (self.run and data["run"] != self.run):
            self._fault("envelope", f"run is {data.get('run')!r}, not {self.run or 'a text'}", block, seq)
        elif self.run is None:
            self.run = data["run"]

    def _place(self, block: bytes, epoch: int, seq: int) -> None:
        due = len(self.told) + self.offset + 1
        if seq < due and self.told and epoch > self.told[-1].event.epoch:
            says = (
                f"epoch {epoch} goes on from {seq} with {due - 1} events told, and no stream.resync says so"
            )
            self._fault("resync", says, block, seq)
        elif seq != due:
            self._fault("dense", f"seq {due} was due, and {seq} came", block, seq)
        if self.ended:
            self._fault("bounds", "an event follows the terminal one", block, seq)

    def _decode(self, block: bytes, data: bytes, seq: int) -> AnyEvent | None:
        try:
            return decode_event(data)
        except msgspec.DecodeError as error:
            self._fault("fields", f"an event is not as the contract says: {error}", block, seq)
            return None

    def _resync(self, block: bytes, fields: dict[str, bytes], data: dict[str, Any]) -> None:
        had = len(self.told) + self.offset
        keep, reason = data.get("keep_through"), data.get("reason")
        if "id" in fields or "seq" in data:
            self._fault(
                "framing", "stream.resync has an id or a seq, which would move readers' cursors", block
            )
        if reason not in ("takeover", "overflow") or not isinstance(keep, int):
            self._fault("fields", f"stream.resync says reason {reason!r}, keep_through {keep!r}", block)
            return
        if keep > had:
            self._fault("resync", f"stream.resync keeps {keep} events, and {had} were told", block)
        self.resyncs.append(Resync(str(reason), keep, had, block))
        del self.told[max(keep - self.offset, 0) :]
        self.offset = min(self.offset, keep)
