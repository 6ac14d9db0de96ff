"""A provider over HTTP, whatever its dialect: endpoint, request, transport and decoder joined."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from porch.contract.errors import ModelError
from porch.contract.events import AnyEvent
from porch.egress import Egress, EgressError, Reply
from porch.providers.assembly import Assembly
from porch.providers.endpoint import Endpoint, Locate
from porch.providers.failures import Asked, egress_failure, endless_wait
from porch.providers.request import ModelRequest, StepOutcome, Takes
from porch.providers.transport import NothingYet, Retries, open_stream

SETTLE_SECONDS = 10.0
DEFAULT_RETRIES = Retries()
JSON_HEADERS = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}


class Decoder(Protocol):
    """Reads one answer's bytes; its events come out of the assembly it was made with.

    `ended` says that a connection lost from here on costs nothing; `done`, that nothing more will count; `idle`,
    where it is not 0, that the last bytes said nothing but that the connection is alive.
    """

    done: bool
    ended: bool
    idle: int

    def feed(self, data: bytes) -> None:
        """More of the body. Raises ModelError."""
        ...

    def finish(self) -> None:
        """The body is over. Raises ModelError."""
        ...

    def give_up(self, error: ModelError) -> ModelError:
        """The body broke off: what is known all the same is told, such as the usage. Answers with the error."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request as its dialect words it, and the decoder of what comes back.

    `path` is below the endpoint; `settle` is how long, in seconds, the body's end is waited for once the answer
    has ended.
    """

    asked: Asked
    path: str
    headers: Mapping[str, str]
    body: bytes
    decoder: Decoder
    settle: float = SETTLE_SECONDS


class HttpProvider:
    """A provider at the endpoint that `locate` finds. A dialect says in `_call` what is sent and how it is read,
    and in `takes` what can be sent beside words.
    """

    takes = Takes(pictures=False, papers=False)

    def __init__(self, egress: Egress, locate: Locate, retries: Retries = DEFAULT_RETRIES) -> None:
        self._egress = egress
        self._locate = locate
        self._retries = retries

    def _call(
        self, endpoint: Endpoint, request: ModelRequest, assembly: Assembly, outcome: StepOutcome
    ) -> Call:
        raise NotImplementedError

    async def stream(
        self, request: ModelRequest, assembly: Assembly, outcome: StepOutcome
    ) -> AsyncGenerator[list[AnyEvent], None]:
        """One model call; see `Provider`."""
        begun = await self._open(request, assembly, outcome)
        call, reply, decoder, patience = begun.call, begun.reply, begun.call.decoder, begun.patience
        pouring, waiting = _Pouring(decoder, assembly, patience), True

        try:
            if begun.events:
                yield begun.events
            while not (decoder.done or begun.over):
                if decoder.ended and waiting:
                    waiting = False
                    reply.expect_silence(min(call.settle, self._egress.settings.idle_seconds))
                try:
                    if not await reply.pour(pouring.take):
                        break
                except EgressError as error:
                    if not decoder.ended:
                        raise decoder.give_up(egress_failure(call.asked, error)) from error
                    break
                if events := assembly.take():
                    patience.since = None
                    yield events
                elif patience.ends():
                    break
            if not begun.over:
                decoder.finish()
                if events := assembly.take():
                    yield events
            self._egress.settle(reply)
        finally:
            reply.close()

    async def _open(self, request: ModelRequest, assembly: Assembly, outcome: StepOutcome) -> "_Begun":
        endpoint = await self._locate()
        call = self._call(endpoint, request, assembly, outcome)
        calls = [call]

        async def begin(reply: Reply, data: bytes) -> _Begun:
            # What one attempt left in its decoder is no part of the next one's answer.
            fresh = calls.pop() if calls else self._call(endpoint, request, assembly, outcome)
            patience = _Patience(fresh, self._egress.settings.event_seconds)
            return await _begin(fresh, assembly, reply, data, patience)

        return await open_stream(
            self._egress,
            call.asked,
            path=call.path,
            headers=call.headers,
            body=call.body,
            retries=self._retries,
            begin=begin,
        )


class _Begun(NamedTuple):
    """An answer from its first events on; `over` when it ended with them."""

    reply: Reply
    call: Call
    events: list[AnyEvent]
    patience: "_Patience"
    over: bool = False


class _Pouring:
    """What comes of an answer on its way to the reader, as long as it needs no more than that."""

    __slots__ = ("_assembly", "_decoder", "_patience")

    def __init__(self, decoder: Decoder, assembly: Assembly, patience: "_Patience") -> None:
        self._decoder = decoder
        self._assembly = assembly
        self._patience = patience

    def take(self, data: bytes) -> bool:
        """False for bytes that say something other than words, or nothing."""
        decoder = self._decoder
        decoder.feed(data)
        if decoder.ended or decoder.done or not self._assembly.hand_on():
            return False
        self._patience.since = None
        return True


class _Patience:
    """How long an answer may only be kept alive, which no silence ends; seconds."""

    __slots__ = ("_call", "_seconds", "_time", "since")

    def __init__(self, call: Call, seconds: float) -> None:
        self.since: float | None = None  # the first sign of life after what said something
        self._call = call
        self._seconds = seconds
        self._time = asyncio.get_running_loop().time

    def ends(self) -> bool:
        """Look at bytes that gave no event. True when no more are waited for; raises ModelError in mid-answer."""
        decoder = self._call.decoder
        if not decoder.idle:
            self.since = None
            return False
        now = self._time()
        if self.since is None:
            self.since = now
        if decoder.ended:
            return now - self.since >= min(self._call.settle, self._seconds)
        if now - self.since < self._seconds:
            return False
        raise decoder.give_up(endless_wait(self._call.asked, self._seconds))


async def _begin(call: Call, assembly: Assembly, reply: Reply, data: bytes, patience: _Patience) -> _Begun:
    """Read to the first event. Raises NothingYet when the answer fails before it, ModelError when with it."""
    decoder = call.decoder
    try:
        while data:
            decoder.feed(data)
            events = assembly.take()
            if events or decoder.ended or decoder.done:
                return _Begun(reply, call, events, patience)
            patience.ends()
            data = await reply.read()
        decoder.finish()
        return _Begun(reply, call, assembly.take(), patience, over=True)
    except EgressError as error:
        failure = decoder.give_up(egress_failure(call.asked, error))
    except ModelError as error:
        failure = error
    left = assembly.take()
    for event in left:
        assembly.add(event)
    raise failure if left else NothingYet(failure)


def bearer(endpoint: Endpoint) -> dict[str, str]:
    """The key as most servers want it, where there is one."""
    return {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
