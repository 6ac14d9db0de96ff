"""What an AI SDK client makes of a UI message stream: the rules of `ai`'s reader, and the message it builds."""

import json
from typing import Any

from tests.faces.journals import data_of

DONE = b"[DONE]"
LAST = ("finish", "error", "abort")


class Client:
    """Reads chunks and keeps the message they amount to."""

    def __init__(self) -> None:
        self.chunks: list[dict[str, Any]] = []
        self.parts: list[dict[str, Any]] = []
        self.metadata: dict[str, Any] = {}
        self.name = ""
        self.done = False
        self._open: dict[tuple[str, str], dict[str, Any]] = {}
        self._stepping = False
        self._begins = 0

    def read(self, stream: bytes) -> "Client":
        """Take a stream in; a chunk that breaks a rule fails the test."""
        for data in data_of(stream):
            assert not self.done, "nothing follows [DONE]"
            if data == DONE:
                assert self.chunks[-1]["type"] in LAST, "the message ends before the stream"
                self.done = True
            else:
                self.take(json.loads(data))
        return self

    def named(self, kind: str) -> list[dict[str, Any]]:
        """The chunks of one type."""
        return [chunk for chunk in self.chunks if chunk["type"] == kind]

    def tool(self, call: str) -> dict[str, Any]:
        """The part of a call."""
        found = [part for part in self.parts if part.get("call") == call]
        assert len(found) == 1, f"{call} has {len(found)} parts"
        return found[0]

    def take(self, chunk: dict[str, Any]) -> None:
        """One chunk."""
        kind: str = chunk["type"]
        assert self.chunks or kind in ("start", "error"), f"{kind} comes first"
        assert not self.chunks or self.chunks[-1]["type"] not in LAST, f"{kind} after the end"
        assert [key for key, value in chunk.items() if value is None] in ([], ["input"]), chunk
        self.chunks.append(chunk)
        stem, _, what = kind.rpartition("-")
        if stem in ("text", "reasoning"):
            self._speak(stem, what, chunk)
        elif kind == "tool-approval-response":
            [asked] = [part for part in self.parts if part.get("approval") == chunk["approvalId"]]
            asked.update(state="answered", approved=chunk["approved"])
        elif kind.startswith("tool-"):
            self._call(kind, chunk)
        else:
            self._rest(kind, chunk)

    def _speak(self, stem: str, what: str, chunk: dict[str, Any]) -> None:
        key = (stem, chunk["id"])
        if what == "start":
            assert key not in self._open
            assert self._stepping, "words are part of a step"
            self._open[key] = {"type": stem, "text": ""}
            self.parts.append(self._open[key])
        elif what == "delta":
            self._open[key]["text"] += chunk["delta"]
        else:
            del self._open[key]

    def _call(self, kind: str, chunk: dict[str, Any]) -> None:
        call = chunk["toolCallId"]
        if kind == "tool-input-start":
            assert all(part.get("call") != call for part in self.parts)
            self.parts.append({"type": "tool", "call": call, "name": chunk["toolName"], "state": "input"})
            self._open["tool", call] = {"text": ""}
        elif kind == "tool-input-delta":
            self._open["tool", call]["text"] += chunk["inputTextDelta"]
        elif kind == "tool-input-available":
            assert json.loads(self._open.pop(("tool", call))["text"] or "{}") == chunk["input"]
            self.tool(call).update(state="called", input=chunk["input"])
        elif kind == "tool-input-error":
            self._open.pop(("tool", call))
            self.tool(call).update(state="error", text=chunk["errorText"])
        elif kind == "tool-output-available":
            self.tool(call).update(state="done", output=chunk["output"])
        elif kind == "tool-output-error":
            self.tool(call).update(state="error", text=chunk["errorText"])
        else:
            assert kind == "tool-approval-request", kind
            self.tool(call).update(state="asked", approval=chunk["approvalId"])

    def _rest(self, kind: str, chunk: dict[str, Any]) -> None:
        if kind == "reset-step":
            assert self._stepping, "what there is to take back is of a step"
            del self.parts[self._begins :]
            self._open.clear()
        elif kind in ("start-step", "finish-step"):
            assert self._stepping == (kind == "finish-step"), f"{kind} out of turn"
            assert not self._open, f"open at a step's border: {self._open}"
            self._stepping = kind == "start-step"
            self._begins = len(self.parts)
        elif kind in LAST:
            assert not self._stepping, "the message ends outside of steps"
            assert not self._open
        elif kind == "start":
            self.name = chunk["messageId"]
        elif kind.startswith(("source-", "data-")):
            if not chunk.get("transient"):
                self.parts.append(chunk)
        else:
            assert kind == "message-metadata", kind
        for key, value in chunk.get("messageMetadata", {}).items():
            self.metadata[key] = {**self.metadata.get(key, {}), **value}
