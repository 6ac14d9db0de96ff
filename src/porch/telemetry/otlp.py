"""Instruments and spans as the messages of OTLP, the protocol of OpenTelemetry.

Source: https://opentelemetry.io/docs/specs/otlp/, over HTTP with binary protobuf. The messages are OpenTelemetry's own
(`opentelemetry-proto`, the extra `porch[otlp]`); this module is loaded where they are wanted, and nowhere else.
"""

from collections.abc import Iterable, Mapping, Sequence

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as traces

from porch import __version__
from porch.telemetry import names
from porch.telemetry.meters import Counter, Histogram, Instrument, Labels, Reading
from porch.telemetry.spans import Span, Value

_SCOPE = InstrumentationScope(name="porch", version=__version__)
_KINDS = {"internal": traces.Span.SPAN_KIND_INTERNAL, "client": traces.Span.SPAN_KIND_CLIENT}
_CUMULATIVE = metrics.AGGREGATION_TEMPORALITY_CUMULATIVE


def encode_spans(spans: Sequence[Span], resource: Mapping[str, Value]) -> bytes:
    """A request for `/v1/traces`."""
    scoped = traces.ScopeSpans(scope=_SCOPE, spans=[_span(span) for span in spans])
    told = traces.ResourceSpans(resource=_resource(resource), scope_spans=[scoped])
    return ExportTraceServiceRequest(resource_spans=[told]).SerializeToString()


def encode_metrics(
    instruments: Iterable[Instrument], resource: Mapping[str, Value], began: float, now: float
) -> bytes:
    """A request for `/v1/metrics`: everything since the process `began`, in seconds since 1970."""
    moments = (_nanoseconds(began), _nanoseconds(now))
    found = [_metric(instrument, moments) for instrument in instruments]
    scoped = metrics.ScopeMetrics(scope=_SCOPE, metrics=found)
    told = metrics.ResourceMetrics(resource=_resource(resource), scope_metrics=[scoped])
    return ExportMetricsServiceRequest(resource_metrics=[told]).SerializeToString()


def _span(span: Span) -> traces.Span:
    attributes = {**span.attributes, names.ERROR_TYPE: span.error}
    failed = traces.Status(code=traces.Status.STATUS_CODE_ERROR, message=span.error or "")
    return traces.Span(
        trace_id=span.trace,
        span_id=span.id,
        parent_span_id=span.parent,
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=_nanoseconds(span.began),
        end_time_unix_nano=_nanoseconds(span.ended),
        attributes=_attributes(attributes),
        status=failed if span.error else None,
    )


def _metric(instrument: Instrument, moments: tuple[int, int]) -> metrics.Metric:
    metric = metrics.Metric(name=instrument.name, description=instrument.text, unit=instrument.unit)
    match instrument:
        case Histogram():
            metric.histogram.aggregation_temporality = _CUMULATIVE
            metric.histogram.data_points.extend(_spread(instrument, moments))
        case Counter():
            metric.sum.aggregation_temporality, metric.sum.is_monotonic = _CUMULATIVE, True
            for labels, value in list(instrument.series.items()):
                metric.sum.data_points.append(_point(value, moments, _labels(instrument.labels, labels)))
        case Reading(kind="counter"):
            metric.sum.aggregation_temporality, metric.sum.is_monotonic = _CUMULATIVE, True
            metric.sum.data_points.append(_point(int(instrument.read()), moments, []))
        case Reading():
            metric.gauge.data_points.append(_point(instrument.read(), moments, []))
    return metric


def _spread(instrument: Histogram, moments: tuple[int, int]) -> list[metrics.HistogramDataPoint]:
    return [
        metrics.HistogramDataPoint(
            start_time_unix_nano=moments[0],
            time_unix_nano=moments[1],
            count=counts.count,
            sum=counts.sum,
            bucket_counts=counts.buckets,
            explicit_bounds=instrument.bounds,
            attributes=_labels(instrument.labels, labels),
        )
        for labels, counts in list(instrument.series.items())
    ]


def _point(value: float, moments: tuple[int, int], attributes: list[KeyValue]) -> metrics.NumberDataPoint:
    began, now = moments
    point = metrics.NumberDataPoint(start_time_unix_nano=began, time_unix_nano=now, attributes=attributes)
    if isinstance(value, int):
        point.as_int = value
    else:
        point.as_double = value
    return point


def _labels(keys: Labels, values: Labels) -> list[KeyValue]:
    return _attributes({key: value for key, value in zip(keys, values, strict=True) if value})


def _attributes(attributes: Mapping[str, Value | None]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in attributes.items() if value is not None]


def _value(value: Value) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=_text(value))
        case _:
            return AnyValue(array_value=ArrayValue(values=[_value(each) for each in value]))


def _text(value: str) -> str:
    """Protobuf takes whole code points alone, and a model may be called anything."""
    return value.encode(errors="replace").decode()


def _resource(attributes: Mapping[str, Value]) -> Resource:
    return Resource(attributes=_attributes(attributes))


def _nanoseconds(seconds: float) -> int:
    return max(0, int(seconds * 1_000_000_000))
