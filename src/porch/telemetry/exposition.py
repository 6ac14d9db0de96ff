"""All instruments as text, for Prometheus.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4; names as OpenTelemetry's
specification translates them (compatibility/prometheus_and_openmetrics.md).
"""

from collections.abc import Iterable, Iterator

from porch.telemetry.meters import Counter, Histogram, Instrument, Labels, Reading

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_UNITS = {"s": "_seconds", "By": "_bytes"}


def expose(instruments: Iterable[Instrument]) -> str:
    """The exposition, each instrument with its help and type."""
    return "".join(f"{line}\n" for instrument in instruments for line in _lines(instrument))


def _lines(instrument: Instrument) -> Iterator[str]:
    name = instrument.name.replace(".", "_") + _UNITS.get(instrument.unit, "")
    match instrument:
        case Histogram():
            yield from _head(name, "histogram", instrument.text)
            yield from _histogram(name, instrument)
        case Counter():
            yield from _head(f"{name}_total", "counter", instrument.text)
            for labels, value in list(instrument.series.items()):
                yield f"{name}_total{_braces(instrument.labels, labels)} {value}"
        case Reading():
            name += "_total" if instrument.kind == "counter" else ""
            yield from _head(name, instrument.kind, instrument.text)
            yield f"{name} {_number(instrument.read())}"


def _histogram(name: str, instrument: Histogram) -> Iterator[str]:
    for labels, counts in list(instrument.series.items()):
        total = 0
        for bound, count in zip((*instrument.bounds, None), counts.buckets, strict=True):
            total += count
            end = "+Inf" if bound is None else f"{bound:g}"
            yield f"{name}_bucket{_braces((*instrument.labels, 'le'), (*labels, end))} {total}"
        yield f"{name}_sum{_braces(instrument.labels, labels)} {counts.sum:.9g}"
        yield f"{name}_count{_braces(instrument.labels, labels)} {total}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _braces(names: Labels, values: Labels) -> str:
    pairs = [
        f'{name.replace(".", "_")}="{_escape(value)}"'
        for name, value in zip(names, values, strict=True)
        if value
    ]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.9g}"
