"""What is measured, as Prometheus reads it."""

from porch.telemetry import names
from porch.telemetry.exposition import expose
from porch.telemetry.instruments import Telemetry
from porch.telemetry.meters import MOST_SERIES, OTHER, Counter, Histogram


def test_a_histogram_counts_up_to_each_boundary_and_all() -> None:
    histogram = Histogram("porch.wait", "Waiting.", (0.1, 1.0), ("gen_ai.request.model",))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        histogram.record(seconds, ("m",))
    assert expose([histogram]).splitlines() == [
        "# HELP porch_wait_seconds Waiting.",
        "# TYPE porch_wait_seconds histogram",
        'porch_wait_seconds_bucket{gen_ai_request_model="m",le="0.1"} 2',
        'porch_wait_seconds_bucket{gen_ai_request_model="m",le="1"} 3',
        'porch_wait_seconds_bucket{gen_ai_request_model="m",le="+Inf"} 4',
        'porch_wait_seconds_sum{gen_ai_request_model="m"} 7.65',
        'porch_wait_seconds_count{gen_ai_request_model="m"} 4',
    ]


def test_what_people_named_cannot_break_out_of_its_label() -> None:
    counter = Counter("porch.odd", "Odd.", ("who",))
    counter.add(('a"} 1\n\\',))
    assert expose([counter]).splitlines()[-1] == 'porch_odd_total{who="a\\"} 1\\n\\\\"} 1'


def test_a_value_may_stand_for_several_that_were_not_told_apart() -> None:
    histogram = Histogram("porch.gap", "Gaps.", (0.1,))
    histogram.record(0.05, times=9)
    counts = histogram.series[()]
    assert (counts.count, round(counts.sum, 6)) == (9, 0.45)


def test_no_number_of_names_fills_the_memory() -> None:
    counter, histogram = Counter("c", "C.", ("model",)), Histogram("h", "H.", (1.0,), ("model",))
    for number in range(MOST_SERIES + 20):
        counter.add((f"m{number}",))
        histogram.record(0.5, (f"m{number}",))
    assert (len(counter.series), counter.series[OTHER,]) == (MOST_SERIES + 1, 20)
    assert (len(histogram.series), histogram.series[OTHER,].count) == (MOST_SERIES + 1, 20)


def test_what_is_looked_up_is_asked_for_at_each_reading() -> None:
    telemetry, held = Telemetry(), [3]
    telemetry.watch("porch.held", "Held.", lambda: held[0])
    telemetry.watch("porch.made", "Made.", lambda: 2, "counter")
    assert "\nporch_held 3\n" in expose(telemetry.instruments)
    held[0] = 5
    assert "\nporch_held 5\n" in expose(telemetry.instruments)
    assert "# TYPE porch_made_total counter\nporch_made_total 2\n" in expose(telemetry.instruments)


def test_providers_are_called_what_the_conventions_call_them() -> None:
    models = ("openai-responses:gpt-5", "mistral:large", "anthropic:claude", "local:smollm2")
    assert [names.provider_of(model) for model in models] == ["openai", "mistral_ai", "anthropic", "local"]
    assert names.own_name("openrouter:x/y:free") == "x/y:free"
