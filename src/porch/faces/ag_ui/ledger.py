"""What an AG-UI client has at a moment: its messages, for a snapshot without a discarded step, and the tokens spent."""

from collections.abc import Sequence
from typing import Any, Literal

from porch.contract.events import UsageReported

_COUNTS = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cachedInputTokens": "cached_input_tokens",
    "reasoningTokens": "reasoning_tokens",
}


class Ledger:
    """The client's messages: those it sent, those this run added for good, and those of the step at work."""

    def __init__(self, given: Sequence[Any]) -> None:
        self._given = list(given)
        self._kept: list[dict[str, Any]] = []
        self._fresh: list[dict[str, Any]] = []
        self._calls: dict[str, Any] = {}
        self._answered: set[str] = set()

    def begin(self, name: str, role: Literal["assistant", "reasoning"]) -> None:
        """A message began."""
        self._fresh.append({"id": name, "role": role, "content": ""})

    def say(self, name: str, text: str) -> None:
        """A message's whole text."""
        for message in self._fresh:
            if message["id"] == name:
                message["content"] = text

    def begin_call(self, fallback: str, call: str, tool: str) -> str:
        """A call began; answers the message that holds it, which is `fallback` where the step said nothing yet."""
        spoken = [message for message in self._fresh if message["role"] == "assistant"]
        if not spoken:
            spoken.append({"id": fallback, "role": "assistant"})
            self._fresh += spoken
        made = {"id": call, "type": "function", "function": {"name": tool, "arguments": ""}}
        self._calls[call] = made
        spoken[-1].setdefault("toolCalls", []).append(made)
        return str(spoken[-1]["id"])

    def end_call(self, call: str, arguments: str) -> None:
        """A call's whole arguments."""
        if call in self._calls:
            self._calls[call]["function"]["arguments"] = arguments

    def answer(self, message: dict[str, Any]) -> None:
        """A call's result, which stays whatever becomes of later steps."""
        self._answered.add(message["toolCallId"])
        self._kept.append(message)

    def keep(self) -> None:
        """The step ended: what it said stays."""
        self._kept += self._fresh
        self._fresh = []

    def discard(self) -> bool:
        """The step is void; whether the client has anything of it."""
        dropped, self._fresh = self._fresh, []
        for message in dropped:
            for call in message.get("toolCalls", ()):
                self._calls.pop(call["id"], None)
        if not any(message.get("role") == "reasoning" for message in self.messages()):
            # A snapshot without any reasoning leaves the client's as it is, so the words at least are taken away.
            self._kept += [
                {**message, "content": ""} for message in dropped if message["role"] == "reasoning"
            ]
        return bool(dropped)

    def messages(self) -> list[Any]:
        """All that the client should have, in order."""
        return [*self._given, *self._kept, *self._fresh]

    def unanswered(self) -> list[str]:
        """Calls without a result, in the order they were made."""
        return [call for call in self._calls if call not in self._answered]


class Tokens:
    """Counts per model, of the steps that were kept."""

    def __init__(self) -> None:
        self._last: UsageReported | None = None
        self._sums: dict[str, dict[str, int]] = {}

    def report(self, usage: UsageReported) -> None:
        """The step's counts so far; the last ones win."""
        self._last = usage

    def keep(self, model: str) -> None:
        """The step ended, and this model answered."""
        if self._last is None:
            return
        sums = self._sums.setdefault(model, {})
        for name, ours in _COUNTS.items():
            count: int | None = getattr(self._last, ours)
            if count is not None:
                sums[name] = sums.get(name, 0) + count
        self._last = None

    def drop(self) -> None:
        """The step is void."""
        self._last = None

    def entries(self) -> list[dict[str, Any]] | None:
        """AG-UI's list of token usage; None where no model reported any."""
        found: list[dict[str, Any]] = []
        for name, sums in self._sums.items():
            provider, _, model = name.partition(":")
            total = sums["inputTokens"] + sums["outputTokens"]
            found.append({"provider": provider, "model": model, **sums, "totalTokens": total})
        return found or None
