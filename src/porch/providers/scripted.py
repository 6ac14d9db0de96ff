"""A model without a model: it speaks, thinks, calls, fails and stalls on cue. For tests and demos."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from itertools import cycle, islice

import msgspec

from porch.contract.errors import Category, ModelError
from porch.contract.events import AnyEvent, FinishReason, PartKind, Usage
from porch.contract.messages import ToolCallPart, ToolResultPart, plain_text
from porch.providers.assembly import Assembly
from porch.providers.cues import Cue, read_cues, read_seconds
from porch.providers.endpoint import Endpoint
from porch.providers.failures import Asked, category_failure, cut_failure, http_failure
from porch.providers.request import ModelRequest, StepOutcome, Takes

DEMO_PACE = 0.02
_TOKEN = re.compile(r"\s*\S+|\s+")
_WORDS = (
    "The porch is where a house meets the street: anyone may come up, sit down and talk a while, "
    "and nobody has to be let in. "
)
_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "content_filter": "content_filter",
    "refusal": "refusal",
}
_CATEGORIES: dict[str, Category] = {
    "auth": "auth",
    "quota": "quota",
    "rate_limit": "rate_limit",
    "overloaded": "overloaded",
    "context_too_long": "context_too_long",
    "content_filtered": "content_filtered",
    "bad_request": "bad_request",
    "timeout": "timeout",
}


class Scripted:
    """A provider in this process. `demo` speaks at a reader's pace, every other model at once."""

    takes = Takes()

    async def stream(
        self, request: ModelRequest, assembly: Assembly, outcome: StepOutcome
    ) -> AsyncGenerator[list[AnyEvent], None]:
        """One model call; see `Provider`. The cues are in docs/scripted-model.md."""
        play = _Play(request, assembly, outcome)
        for wait in play.run():
            if events := assembly.take():
                yield events
            await asyncio.sleep(wait)
        if events := assembly.take():
            yield events


class _Play:
    """One step of a script: every wait is yielded, everything said goes to the assembly."""

    def __init__(self, request: ModelRequest, assembly: Assembly, outcome: StepOutcome) -> None:
        self._request = request
        self._assembly = assembly
        self._outcome = outcome
        self._asked = Asked(Endpoint("the scripted model", "scripted:"), request.model)
        self._pace = DEMO_PACE if request.model == "demo" else 0.0
        self._spoken = 0
        self._kind: PartKind | None = None
        self._question, self._called, self._results = _read_turn(request)

    def run(self) -> Iterator[float]:
        """Play the cues that are due, yielding seconds to wait."""
        cues = read_cues(self._question) or read_cues(self._request.instructions)
        due = _after_calls(cues, self._called)
        if not due and self._results:
            yield from self._speak("text", " ".join(_report(result) for result in self._results))
        elif not cues:
            yield from self._speak("text", _small_talk(self._question))
        for cue in due:
            if cue.verb != "call" and self._assembly.tool_calls:
                break  # the results come first
            yield from self._obey(cue)
        self._end()

    def _obey(self, cue: Cue) -> Iterator[float]:
        match cue.verb:
            case "say":
                yield from self._speak("text", self._fill(cue.text))
            case "think":
                yield from self._speak("reasoning", self._fill(cue.text))
            case "refuse":
                self._outcome.reason = "refusal"
                yield from self._speak("refusal", cue.text or "I would rather not.")
            case "nul":
                yield from self._speak("text", "Before\x00after.")
            case "tokens":
                yield from self._count(cue.count(16), cue.seconds("itl", self._pace))
            case "call":
                yield from self._call(cue)
            case "pace":
                self._pace = read_seconds(cue.text, self._pace)
            case "stall":
                yield read_seconds(cue.text, 86_400.0)
            case "finish":
                self._outcome.reason = _REASONS.get(cue.text, "stop")
                self._outcome.raw_reason = cue.text
            case "fail":
                yield from self._count(cue.count() if "after" in cue.options else 0, self._pace)
                raise self._failure(cue)
            case "cut":
                yield from self._count(cue.count(), self._pace)
                raise cut_failure(self._asked)
            case _:
                return

    def _speak(self, kind: PartKind, text: str) -> Iterator[float]:
        for token in _TOKEN.findall(text):
            self._say(kind, token)
            yield self._pace

    def _count(self, tokens: int, pace: float) -> Iterator[float]:
        for token in islice(cycle(_TOKEN.findall(_WORDS.strip() + "\n")), tokens):
            self._say("text", token)
            yield pace

    def _say(self, kind: PartKind, token: str) -> None:
        if self._kind != kind:
            self._assembly.end(self._kind)
            self._kind = kind
        self._spoken += 1
        self._assembly.delta(kind, kind, token)

    def _call(self, cue: Cue) -> Iterator[float]:
        self._assembly.end(self._kind)
        self._kind = None
        key = object()
        self._assembly.start_call(key, cue.text)
        yield self._pace
        for piece in re.findall(r".{1,24}", cue.arguments, re.DOTALL):
            self._spoken += 1
            self._assembly.call_delta(key, piece)
            yield self._pace
        self._assembly.end(key)

    def _end(self) -> None:
        self._assembly.end_all()
        asked = [plain_text(message.parts) for message in self._request.messages]
        words = sum(len(text.split()) for text in [self._request.instructions, *asked])
        usage = Usage(input_tokens=words, output_tokens=self._spoken)
        self._assembly.usage(usage.input_tokens, usage.output_tokens)
        outcome = self._outcome
        outcome.usage, outcome.model = usage, self._request.model
        if self._assembly.tool_calls and outcome.reason == "stop":
            outcome.reason = "tool_calls"
        outcome.raw_reason = outcome.raw_reason or outcome.reason

    def _fill(self, text: str) -> str:
        last = _result_text(self._results[-1]) if self._results else ""
        return text.replace("{result}", last)

    def _failure(self, cue: Cue) -> ModelError:
        hint = cue.options.get("retry")
        words = cue.text.split()
        what = words[0] if words else "500"
        if what.isdecimal():
            given = {"Retry-After": hint} if hint else {}
            return http_failure(self._asked, int(what[:3]), given, b"")
        return category_failure(
            self._asked, _CATEGORIES.get(what, "overloaded"), read_seconds(hint or "", 0) or None
        )


def _read_turn(request: ModelRequest) -> tuple[str, int, list[ToolResultPart]]:
    """The last question, how many calls were made since, and the results of the last round of them."""
    question, called = "", 0
    results: list[ToolResultPart] = []
    for message in request.messages:
        if message.role == "user":
            question, called, results = plain_text(message.parts), 0, []
        for part in message.parts:
            if isinstance(part, ToolCallPart):
                called += 1
                results = []
            elif isinstance(part, ToolResultPart):
                results.append(part)
    return question, called, results


def _after_calls(cues: list[Cue], called: int) -> list[Cue]:
    """What is left of the script when so many of its calls were made."""
    made = [number for number, cue in enumerate(cues) if cue.verb == "call"][:called]
    return cues[made[-1] + 1 :] if made else cues


def _report(result: ToolResultPart) -> str:
    if result.error is not None:
        return f"The tool failed: {result.error.message}"
    return f"The tool answered: {_result_text(result)}"


def _result_text(result: ToolResultPart) -> str:
    if isinstance(result.output, str):
        return result.output
    return msgspec.json.encode(result.output).decode()


def _small_talk(question: str) -> str:
    asked = " ".join(question.split())[:200]
    if not asked:
        return "Hello from the scripted model."
    return f"You said: {asked}\n\nI am the scripted model: I repeat what I hear, and obey cues like [[tokens 40]]."
