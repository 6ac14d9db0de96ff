"""What an AG-UI client makes of a stream: the rules of @ag-ui/client's verifier, and the messages it builds."""

import json
from typing import Any

from tests.faces.journals import data_of

BRACKETS = {
    "TEXT_MESSAGE": ("messageId", "CONTENT"),
    "REASONING_MESSAGE": ("messageId", "CONTENT"),
    "REASONING": ("messageId", None),
    "TOOL_CALL": ("toolCallId", "ARGS"),
    "STEP": ("stepName", None),
}
ENDS = ("RUN_FINISHED", "RUN_ERROR")


class Client:
    """Reads events and keeps the messages they amount to."""

    def __init__(self, messages: list[dict[str, Any]] | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = list(messages or [])
        self._open: set[tuple[str, str]] = set()

    def read(self, stream: bytes) -> "Client":
        """Take a stream in; an event that breaks a rule fails the test."""
        for data in data_of(stream):
            self.take(json.loads(data))
        return self

    @property
    def ended(self) -> bool:
        """Whether the run ended, and the stream with it."""
        return bool(self.events) and self.events[-1]["type"] in ENDS

    def named(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type."""
        return [event for event in self.events if event["type"] == kind]

    def take(self, event: dict[str, Any]) -> None:
        """One event."""
        kind: str = event["type"]
        assert not self.ended, f"{kind} after the end"
        assert self.events or kind in ("RUN_STARTED", "RUN_ERROR"), f"{kind} comes first"
        assert not self.events or kind != "RUN_STARTED", "a run starts once"
        assert None not in event.values(), f"null in {event}"
        for stem, (key, more) in BRACKETS.items():
            if kind in (f"{stem}_START", f"{stem}_STARTED"):
                assert (stem, event[key]) not in self._open, f"{kind} twice for {event[key]}"
                self._open.add((stem, event[key]))
            elif more is not None and kind == f"{stem}_{more}":
                assert (stem, event[key]) in self._open, f"{kind} outside of {event[key]}"
            elif kind in (f"{stem}_END", f"{stem}_FINISHED"):
                assert (stem, event[key]) in self._open, f"{kind} of nothing open: {event[key]}"
                self._open.remove((stem, event[key]))
        if kind == "RUN_FINISHED":
            assert not self._open, f"still open at the end: {self._open}"
        self.events.append(event)
        self._apply(kind, event)

    def _apply(self, kind: str, event: dict[str, Any]) -> None:
        match kind:
            case "TEXT_MESSAGE_START" | "REASONING_MESSAGE_START":
                self.messages.append({"id": event["messageId"], "role": event["role"], "content": ""})
            case "TEXT_MESSAGE_CONTENT" | "REASONING_MESSAGE_CONTENT":
                self._message(event["messageId"])["content"] += event["delta"]
            case "TOOL_CALL_START":
                holder = self._message(event["parentMessageId"], make=True)
                function = {"name": event["toolCallName"], "arguments": ""}
                made = {"id": event["toolCallId"], "type": "function", "function": function}
                holder.setdefault("toolCalls", []).append(made)
            case "TOOL_CALL_ARGS":
                self._call(event["toolCallId"])["function"]["arguments"] += event["delta"]
            case "TOOL_CALL_RESULT":
                self._place_result(event)
            case "MESSAGES_SNAPSHOT":
                self._replace(event["messages"])
            case _:
                pass

    def _message(self, name: str, *, make: bool = False) -> dict[str, Any]:
        found = [message for message in self.messages if message["id"] == name]
        if not found and make:
            found = [{"id": name, "role": "assistant"}]
            self.messages += found
        assert found, f"no message {name!r}"
        return found[0]

    def _call(self, name: str) -> dict[str, Any]:
        held = [call for message in self.messages for call in message.get("toolCalls", ())]
        return next(call for call in held if call["id"] == name)

    def _place_result(self, event: dict[str, Any]) -> None:
        result = {key: event[key] for key in ("toolCallId", "role", "content", "metadata")}
        calls = [
            any(call["id"] == event["toolCallId"] for call in m.get("toolCalls", ())) for m in self.messages
        ]
        at = calls.index(True) + 1
        while at < len(self.messages) and self.messages[at]["role"] == "tool":
            at += 1
        self.messages.insert(at, {"id": event["messageId"], **result})

    def _replace(self, snapshot: list[dict[str, Any]]) -> None:
        known = {message["id"]: message for message in snapshot}
        reasons = any(message["role"] == "reasoning" for message in snapshot)
        kept = [
            known.get(message["id"], message)
            for message in self.messages
            if message["id"] in known or (message["role"] == "reasoning" and not reasons)
        ]
        have = {message["id"] for message in kept}
        self.messages = kept + [message for message in snapshot if message["id"] not in have]
