"""What a collector of OpenTelemetry is sent, by one that decodes it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from porch.contract.errors import SetupError
from porch.contract.ids import new_uuid as new_workspace
from porch.egress import Egress
from porch.telemetry.instruments import Telemetry
from porch.web import collector as module
from porch.web.collector import HEADERS, Collector, collecting, read_headers
from tests.runs.test_ledger import measured
from tests.web.conftest import House


@dataclass
class Receiver:
    """An OTLP/HTTP receiver on a port of its own."""

    url: str = ""
    status: int = 200
    traces: list[ExportTraceServiceRequest] = field(default_factory=list[ExportTraceServiceRequest])
    metrics: list[ExportMetricsServiceRequest] = field(default_factory=list[ExportMetricsServiceRequest])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    held: asyncio.Event | None = None

    async def take(self, request: web.Request) -> web.Response:
        body, self.headers = await request.read(), dict(request.headers)
        self.asked.set()
        if self.held:
            await self.held.wait()
            return web.Response(status=503)
        assert request.content_type == "application/x-protobuf"
        if self.status == 200:
            if request.path == "/v1/traces":
                self.traces.append(ExportTraceServiceRequest.FromString(body))
            else:
                self.metrics.append(ExportMetricsServiceRequest.FromString(body))
        return web.Response(status=self.status)

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def points(self, name: str) -> list[Any]:
        found: list[Any] = []
        for resource in self.metrics[-1].resource_metrics:
            for metric in resource.scope_metrics[0].metrics:
                if metric.name == name:
                    found += getattr(metric, str(metric.WhichOneof("data"))).data_points
        return found


def attributes(pairs: Any) -> dict[str, Any]:
    """Attributes as plain values."""
    told: dict[str, Any] = {}
    for pair in pairs:
        assert isinstance(pair, KeyValue)
        told[pair.key] = getattr(pair.value, str(pair.value.WhichOneof("value")))
    return told


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    app = web.Application()
    app.router.add_post("/v1/{what}", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


async def test_a_run_is_a_trace_of_its_calls_and_tools(house: House, receiver: Receiver) -> None:
    async with Egress() as egress, collecting(receiver.url + "/", house.runs.ledger, egress):
        conversation = await house.conversation(tools=["clock"])
        await house.say("[[call clock]] [[say It is {result}.]]", conversation)
    run, *below = receiver.spans
    assert run.name.startswith("invoke_agent actor-")
    assert sorted(span.name for span in below) == ["chat test", "chat test", "execute_tool clock"]
    assert {span.trace_id for span in below} == {run.trace_id}
    assert {span.parent_span_id for span in below} == {run.span_id}
    assert all(run.start_time_unix_nano <= span.start_time_unix_nano + 2_000_000 for span in below)
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in receiver.spans)
    told = attributes(run.attributes)
    assert told["porch.run.id"] == "run_" + run.trace_id.hex()
    assert told["gen_ai.conversation.id"] in conversation
    call = attributes(next(span for span in below if span.name == "chat test").attributes)
    for attribute in (told, call):
        assert (attribute["gen_ai.provider.name"], attribute["gen_ai.request.model"]) == ("scripted", "test")
    assert call["gen_ai.request.stream"] is True
    assert "It is" not in str(receiver.traces)


async def test_metrics_keep_their_conventional_names_and_counts(house: House, receiver: Receiver) -> None:
    async with Egress() as egress, collecting(receiver.url, house.runs.ledger, egress):
        await house.say("[[tokens 9]]")
        await house.say("[[fail after=2 overloaded]]")
    points = receiver.points("gen_ai.client.operation.duration")
    assert sorted(point.count for point in points) == [1, 1]
    assert all(len(point.bucket_counts) == len(point.explicit_bounds) + 1 for point in points)
    assert {attributes(point.attributes).get("error.type") is None for point in points} == {True, False}
    assert [point.as_int for point in receiver.points("porch.runs.started")] == [2]
    assert receiver.points("porch.journal.lag")[0].count >= 2
    failed = next(
        span for span in receiver.spans if span.name.startswith("invoke_agent") and span.status.code
    )
    assert attributes(failed.attributes)["error.type"] == failed.status.message


async def test_what_a_collector_does_not_take_now_is_sent_again(receiver: Receiver) -> None:
    async with Egress() as egress:
        one = Collector(receiver.url, Telemetry(), egress)
        one.run_ended(measured(new_workspace()))
        receiver.status = 503
        await one.send()
        assert receiver.spans == []
        receiver.status = 200
        await one.send()
    assert len(receiver.spans) == 2


async def test_what_is_on_its_way_when_the_server_stops_is_sent_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.0)
    async with Egress() as egress:
        collector = Collector(receiver.url, Telemetry(), egress)
        collector.run_ended(measured(new_workspace()))
        receiver.held = asyncio.Event()
        collector.start()
        async with asyncio.timeout(10):
            await receiver.asked.wait()
        held, receiver.held = receiver.held, None
        await collector.stop()
        held.set()
    assert receiver.spans


async def test_what_it_refuses_is_not_sent_for_ever(receiver: Receiver) -> None:
    async with Egress() as egress:
        one = Collector(receiver.url, Telemetry(), egress)
        one.run_ended(measured(new_workspace()))
        receiver.status = 400
        await one.send()
        receiver.status = 200
        await one.send()
    assert receiver.spans == []


async def test_a_collector_that_is_away_stops_nothing_and_fills_no_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    async with Egress() as egress:
        one = Collector("http://127.0.0.1:1", Telemetry(), egress)
        for _ in range(20):
            one.run_ended(measured(new_workspace()))
        async with asyncio.timeout(10):
            await one.send()
            await one.send()
    assert len(one._spans) == 10  # pyright: ignore[reportPrivateUsage] - how much it holds is the matter
    assert len([record for record in caplog.records if "otlp_endpoint" in record.getMessage()]) == 1


async def test_headers_of_the_environment_go_along_and_are_told_nowhere(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HEADERS, "api-key=s3cr%20et, x-team=porch")
    async with Egress() as egress:
        await Collector(receiver.url, Telemetry(), egress).send()
    assert (receiver.headers["api-key"], receiver.headers["x-team"]) == ("s3cr et", "porch")
    with pytest.raises(SetupError) as refused:
        read_headers("s3cret")
    assert "s3cret" not in refused.value.message


async def test_without_the_extra_the_start_fails_with_a_sentence(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "porch.telemetry.otlp", None)
    monkeypatch.delattr("porch.telemetry.otlp", raising=False)
    async with Egress() as egress:
        with pytest.raises(SetupError, match=r"pip install 'porch\[otlp\]'"):
            async with collecting("http://127.0.0.1:4318", house.runs.ledger, egress):
                pass
