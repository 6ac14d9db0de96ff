"""The items of a response's output: words, thoughts, calls of the caller's tools; each with the events it causes."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from porch.contract.events import PartKind

Status = Literal["in_progress", "completed", "incomplete"]
Said = tuple[str, dict[str, Any]]

_encode = msgspec.json.encode


class Item:
    """One item while it grows. `delta_head` is the beginning of its delta events, up to the delta itself."""

    def __init__(self, prefix: str, identifier: str, index: int, event: str, place: dict[str, Any]) -> None:
        self.id = f"{prefix}_{identifier}"
        self.index = index
        self.pieces: list[str] = []
        self._event = event
        self._place = {"item_id": self.id, "output_index": index, **place}
        head = _encode({"type": f"{event}.delta", **self._place})[:-1]
        self.delta_head = b"event: %b.delta\ndata: %b" % (event.encode(), head) + b',"delta":'

    def shown(self, status: Status, value: str = "") -> dict[str, Any]:
        """The item as an object."""
        raise NotImplementedError

    def begin(self) -> Iterator[Said]:
        """The events of its beginning."""
        yield "response.output_item.added", {"output_index": self.index, "item": self.shown("in_progress")}

    def end(self, value: str) -> Iterator[Said]:
        """The events of its end."""
        yield (
            "response.output_item.done",
            {"output_index": self.index, "item": self.shown("completed", value)},
        )


class Words(Item):
    """A message of one part: text, or a refusal."""

    def __init__(self, identifier: str, index: int, kind: PartKind) -> None:
        self._refusal = kind == "refusal"
        event = "response.refusal" if self._refusal else "response.output_text"
        super().__init__("msg", identifier, index, event, {"content_index": 0})
        if not self._refusal:
            self.delta_head = self.delta_head.replace(b',"delta":', b',"logprobs":[],"delta":')

    def shown(self, status: Status, value: str = "") -> dict[str, Any]:
        """The item as an object."""
        content = [] if status == "in_progress" else [self._part(value)]
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}

    def begin(self) -> Iterator[Said]:
        """The events of its beginning."""
        yield from super().begin()
        yield "response.content_part.added", {**self._place, "part": self._part("")}

    def end(self, value: str) -> Iterator[Said]:
        """The events of its end."""
        said: dict[str, Any] = {"refusal": value} if self._refusal else {"text": value, "logprobs": []}
        yield f"{self._event}.done", {**self._place, **said}
        yield "response.content_part.done", {**self._place, "part": self._part(value)}
        yield from super().end(value)

    def _part(self, text: str) -> dict[str, Any]:
        if self._refusal:
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class Thought(Item):
    """Reasoning, as a summary of one part."""

    def __init__(self, identifier: str, index: int, _kind: PartKind) -> None:
        super().__init__("rs", identifier, index, "response.reasoning_summary_text", {"summary_index": 0})

    def shown(self, status: Status, value: str = "") -> dict[str, Any]:
        """The item as an object."""
        summary = [] if status == "in_progress" else [{"type": "summary_text", "text": value}]
        return {"id": self.id, "type": "reasoning", "status": status, "summary": summary}

    def begin(self) -> Iterator[Said]:
        """The events of its beginning."""
        yield from super().begin()
        part = {"type": "summary_text", "text": ""}
        yield "response.reasoning_summary_part.added", {**self._place, "part": part}

    def end(self, value: str) -> Iterator[Said]:
        """The events of its end."""
        yield f"{self._event}.done", {**self._place, "text": value}
        part = {"type": "summary_text", "text": value}
        yield "response.reasoning_summary_part.done", {**self._place, "part": part}
        yield from super().end(value)


class Call(Item):
    """A call of one of the caller's functions."""

    def __init__(self, identifier: str, index: int, call: str, name: str) -> None:
        self._call, self._name = call, name
        super().__init__("fc", identifier, index, "response.function_call_arguments", {})

    def shown(self, status: Status, value: str = "") -> dict[str, Any]:
        """The item as an object."""
        return {
            "id": self.id,
            "type": "function_call",
            "status": status,
            "call_id": self._call,
            "name": self._name,
            "arguments": value,
        }

    def end(self, value: str) -> Iterator[Said]:
        """The events of its end."""
        yield f"{self._event}.done", {**self._place, "name": self._name, "arguments": value}
        yield from super().end(value)
