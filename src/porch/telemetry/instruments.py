"""The instruments of one process."""

from collections.abc import Callable
from typing import Literal

from porch.telemetry import names
from porch.telemetry.meters import Counter, Histogram, Instrument, Reading

_ASKED = (names.PROVIDER_NAME, names.REQUEST_MODEL)
_MODEL = (names.OPERATION_NAME, *_ASKED)


def _seconds(name: str, text: str, *labels: str, bounds: tuple[float, ...] = names.SECONDS) -> Histogram:
    return Histogram(name, text, bounds, labels)


class Telemetry:
    """What is measured here, from the start of the process on."""

    def __init__(self) -> None:
        self.operation = _seconds(
            names.OPERATION_DURATION,
            "Seconds that a model call took.",
            *(*_MODEL, names.RESPONSE_MODEL, names.ERROR_TYPE),
        )
        self.first_chunk = _seconds(
            names.TIME_TO_FIRST_CHUNK, "Seconds from a model call to its first chunk.", *_MODEL
        )
        self.per_chunk = _seconds(
            names.TIME_PER_OUTPUT_CHUNK, "Seconds between the chunks of a model call, as their mean.", *_MODEL
        )
        text = "Tokens that a model call read and wrote."
        labels = (*_MODEL, names.TOKEN_TYPE)
        self.tokens = Histogram(names.TOKEN_USAGE, text, names.TOKENS, labels, unit="{token}")
        text = "Seconds from a run's start to its end."
        self.agent = _seconds(names.AGENT_DURATION, text, *_ASKED, names.ERROR_TYPE)
        text = "Seconds that a tool took."
        self.tool = _seconds(names.TOOL_DURATION, text, names.TOOL_NAME, names.ERROR_TYPE)
        text = "Seconds from a run's start to the first text that people see."
        self.first_text = _seconds(names.TIME_TO_FIRST_TEXT, text, *_ASKED)
        text = "Seconds for which a run stood still before it was taken over, at most."
        self.takeover = _seconds(names.TAKEOVER_DURATION, text)
        text = "Seconds from an event to its commit."
        self.journal_lag = _seconds(names.JOURNAL_LAG, text, bounds=names.LAG_SECONDS)
        text = "Model calls that failed after their first chunk."
        self.stream_errors = Counter(names.STREAM_ERRORS, text, (*_ASKED, names.ERROR_TYPE))
        text = "Messages that were not taken by a fault of this side."
        self.start_failures = Counter(names.START_FAILURES, text, (names.ERROR_TYPE,))
        self.instruments: list[Instrument] = [
            *(self.operation, self.first_chunk, self.per_chunk, self.tokens, self.agent, self.tool),
            *(self.first_text, self.stream_errors, self.start_failures, self.takeover, self.journal_lag),
        ]

    def watch(
        self,
        name: str,
        text: str,
        read: Callable[[], float],
        kind: Literal["gauge", "counter"] = "gauge",
        unit: str = "1",
    ) -> None:
        """Ask for this number whenever somebody wants to know."""
        self.instruments.append(Reading(name, text, read, kind, unit))
