"""The way of figures and spans to a collector of OpenTelemetry, where the settings name one."""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol
from urllib.parse import unquote

from porch import __version__
from porch.background import end
from porch.contract.errors import SetupError
from porch.egress import Egress, EgressError, Reach
from porch.runs.ledger import Ledger
from porch.runs.stopwatch import RunTimes
from porch.runs.traces import spans_of
from porch.telemetry.instruments import Telemetry
from porch.telemetry.meters import Instrument
from porch.telemetry.spans import Span, Value

log = logging.getLogger(__name__)

EVERY_SECONDS = 10.0
STOP_SECONDS = 3.0
BATCH = 512
MOST_WAITING = 8192
# Where a collector says "not now" (OTLP's specification, failures that may be retried).
NOT_NOW = frozenset({429, 502, 503, 504})
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


class Encoders(Protocol):
    """What `porch.telemetry.otlp` does."""

    def encode_spans(self, spans: list[Span], resource: Mapping[str, Value]) -> bytes:
        """A request for `/v1/traces`."""
        ...

    def encode_metrics(
        self, instruments: Iterable[Instrument], resource: Mapping[str, Value], began: float, now: float
    ) -> bytes:
        """A request for `/v1/metrics`."""
        ...


class Collector:
    """Sends what this process measures, every few seconds; while nobody takes it, it keeps what there is room for."""

    def __init__(self, endpoint: str, telemetry: Telemetry, egress: Egress) -> None:
        """Raises SetupError where the extra is missing, or the headers of the environment cannot be read."""
        self._encoders = load_encoders()
        self._endpoint = endpoint.rstrip("/")
        self._headers = {
            "Content-Type": "application/x-protobuf",
            **read_headers(os.environ.get(HEADERS, "")),
        }
        self._telemetry = telemetry
        self._egress = egress
        self._began = time.time()
        self._spans: deque[Span] = deque(maxlen=MOST_WAITING)
        self._resource: dict[str, Value] = {
            "service.name": "porch",
            "service.version": __version__,
            "service.instance.id": os.urandom(16).hex(),
        }
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    def run_ended(self, run: RunTimes) -> None:
        """A run whose spans are to be sent."""
        self._spans.extend(spans_of(run))

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._repeat(), name="collector")

    async def stop(self) -> None:
        """Send what is there, then stop."""
        if self._task is None:
            return
        await end(self._task)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.send()
        except TimeoutError:
            log.warning("The last figures could not be sent to the collector in %g s.", STOP_SECONDS)

    async def send(self) -> None:
        """Send all spans that wait, and the instruments as they stand."""
        while self._spans:
            batch = [self._spans.popleft() for _ in range(min(BATCH, len(self._spans)))]
            try:
                taken = await self._post("/v1/traces", self._encoders.encode_spans(batch, self._resource))
            except asyncio.CancelledError:
                self._put_back(batch)
                raise
            if not taken:
                self._put_back(batch)
                break
        told = self._encoders.encode_metrics(
            self._telemetry.instruments, self._resource, self._began, time.time()
        )
        await self._post("/v1/metrics", told)

    def _put_back(self, batch: list[Span]) -> None:
        room = MOST_WAITING - len(self._spans)
        self._spans.extendleft(reversed(batch[-room:] if room else []))

    async def _post(self, path: str, body: bytes) -> bool:
        """Whether it need not be sent again."""
        try:
            reply = await self._egress.post(
                self._endpoint + path, headers=self._headers, body=body, reach=Reach.OPERATOR
            )
            await reply.read_whole()
            self._egress.settle(reply)
        except EgressError as error:
            self._tell(f"cannot be reached: {error}")
            return False
        if reply.status >= 400:
            self._tell(f"answers {reply.status} to {path}")
            return reply.status not in NOT_NOW
        if self._failing:
            log.info("The collector at otlp_endpoint takes figures again.")
        self._failing = False
        return True

    def _tell(self, what: str) -> None:
        """Once, not every few seconds."""
        if not self._failing:
            log.warning("The collector at otlp_endpoint %s", what)
        self._failing = True

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.send()
            except Exception:
                log.exception("Sending figures to the collector failed")


@asynccontextmanager
async def collecting(endpoint: str | None, ledger: Ledger, egress: Egress) -> AsyncGenerator[None]:
    """While this lasts, what is measured goes to `endpoint`, if there is one. Raises what Collector does."""
    if endpoint is None:
        yield
        return
    collector = Collector(endpoint, ledger.telemetry, egress)
    ledger.listeners.append(collector.run_ended)
    collector.start()
    try:
        yield
    finally:
        await collector.stop()


def load_encoders() -> Encoders:
    """The module that makes the messages. Raises SetupError where the extra is missing."""
    try:
        from porch.telemetry import otlp
    except ImportError as error:
        raise SetupError(
            "otlp_endpoint is set, but what speaks OTLP is not installed. Install it with: pip install 'porch[otlp]', "
            "or remove the setting."
        ) from error
    return otlp


def read_headers(text: str) -> dict[str, str]:
    """Headers as OpenTelemetry's variable has them, `name=value,name=value`, values percent-encoded.

    Raises SetupError, which tells no value.
    """
    found: dict[str, str] = {}
    for pair in filter(None, (pair.strip() for pair in text.split(","))):
        name, sign, value = pair.partition("=")
        value = unquote(value.strip())
        if not sign or not name.strip() or not (name.strip().isascii() and value.isprintable()):
            raise SetupError(f"{HEADERS} cannot be read: write name=value, and commas between several.")
        found[name.strip()] = value
    return found
