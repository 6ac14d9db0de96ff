"""The content blocks of one answer, from their start to their end."""

from typing import Any, cast

import msgspec

from porch.contract.text import REPLACEMENT, clean_text
from porch.providers.assembly import CALL_COST, Assembly, argument_text
from porch.providers.failures import Asked, protocol_failure
from porch.providers.messages.wire import FORMAT, Delta, as_object

MAX_HELD_BYTES = 16 * 1024
_TITLES = ("title", "document_title", "source")


class Block:
    """One open block. `key` is what its part or call is called in the assembly, None for what has neither."""

    __slots__ = ("cited", "fields", "given", "input", "key", "kind", "pieces", "signature", "start")

    def __init__(self, kind: str, key: object | None) -> None:
        self.kind = kind
        self.key = key
        self.start = 0  # where it begins in its part, which it may share with the texts before it
        self.cited: list[dict[str, Any]] = []
        self.signature: Any = None
        self.given: Any = None  # the provider's id of a call
        self.input: Any = None
        self.fields: dict[str, Any] | None = None  # of a kind that is not known here
        self.pieces: list[str] = []


class Blocks:
    """Turns blocks into parts, calls, sealed blocks, sources and raw events.

    Texts that follow each other directly are one part: the API begins a new block wherever a citation does,
    in the middle of a sentence. `answer_tool` is the tool whose arguments are the answer's text.
    """

    def __init__(self, assembly: Assembly, asked: Asked, answer_tool: str | None = None) -> None:
        self.open: dict[object, Block] = {}
        self._assembly = assembly
        self._asked = asked
        self._answer_tool = answer_tool
        self._tail: object | None = None  # the text that the next text goes on with

    def start(self, index: object, fields: dict[str, Any], size: int) -> None:
        """A block begins; `size` is that of its JSON, in bytes, where that may be kept for long."""
        before = self.open.get(index)
        if before is not None and before.given and before.given == fields.get("id"):
            return  # told twice; a call must not be made twice
        self.stop(index)
        self._assembly.spend(CALL_COST)
        kind: object = fields.get("type")
        if kind == "text":
            self._start_text(index, fields)
            return
        self._end_tail()
        if kind == "thinking":
            block = self.open[index] = Block("thinking", object())
            self._say(block, "reasoning", fields.get("thinking"))
            block.signature = fields.get("signature")
        elif kind == "tool_use":
            self._start_call(index, fields, size)
        elif kind == "redacted_thinking":
            self.open[index] = Block("redacted_thinking", None)
            self._seal(None, {"type": "redacted_thinking", "data": fields.get("data")}, "data")
        else:
            self._start_unknown(index, fields, size)

    def delta(self, index: object, delta: Delta) -> bool:
        """More of a block; whether it was understood."""
        block = self.open.get(index)
        kind = delta.type
        if kind == "text_delta" and isinstance(delta.text, str):
            return self._add_text(index, block, delta.text)
        if kind == "thinking_delta" and isinstance(delta.thinking, str):
            if block is None:
                self.start(index, {"type": "thinking"}, 0)
                block = self.open[index]
            return block.kind == "thinking" and self._say(block, "reasoning", delta.thinking)
        if kind == "input_json_delta" and isinstance(delta.partial_json, str):
            return self._add_input(block, delta.partial_json)
        if block is None:
            return False
        if kind == "signature_delta" and block.kind == "thinking":
            block.signature = delta.signature
            return True
        citation = as_object(delta.citation)
        if kind == "citations_delta" and block.kind == "text" and citation is not None:
            self._cite(block, citation)
            return True
        return False

    def fold(self, index: object, delta: dict[str, Any]) -> bool:
        """More of a block of unknown kind: texts grow, the rest is replaced. Whether there is such a block."""
        block = self.open.get(index)
        if block is None or block.fields is None:
            return False
        for name, value in delta.items():
            if name == "type":
                continue
            known: object = block.fields.get(name)
            self._assembly.spend(CALL_COST + (len(value) if isinstance(value, str) else MAX_HELD_BYTES))
            block.fields[name] = known + value if isinstance(known, str) and isinstance(value, str) else value
        return True

    def stop(self, index: object) -> None:
        """A block is complete; nothing happens when it is not open."""
        block = self.open.pop(index, None)
        if block is None:
            return
        if block.kind == "text":
            self._report_sources(block)
            self._end_tail()
            self._tail = block.key
        elif block.kind == "thinking":
            self._end_thinking(block)
        elif block.kind in ("tool_use", "answer"):
            if block.input:
                self._add_input(block, argument_text(cast("object", block.input)))
            self._assembly.end(block.key)
        elif block.fields is not None:
            if block.pieces:
                block.fields["input"] = _parsed("".join(block.pieces))
            self._assembly.raw(FORMAT, block.fields)

    def stop_all(self) -> None:
        """Every block is complete."""
        for index in list(self.open):
            self.stop(index)

    def cut(self) -> None:
        """The answer broke off: what was cited so far is still told."""
        for block in self.open.values():
            self._report_sources(block)

    def _start_text(self, index: object, fields: dict[str, Any]) -> None:
        key, self._tail = self._tail or object(), None
        block = self.open[index] = Block("text", key)
        block.start = self._assembly.position(key)
        self._say(block, "text", fields.get("text"))
        citations: object = fields.get("citations")
        for citation in cast("list[object]", citations) if isinstance(citations, list) else ():
            if (known := as_object(citation)) is not None:
                self._cite(block, known)

    def _start_call(self, index: object, fields: dict[str, Any], size: int) -> None:
        name: object = fields.get("name")
        if not isinstance(name, str) or not name:
            raise protocol_failure(self._asked, "with a tool call that has no name")
        block = self.open[index] = Block("answer" if name == self._answer_tool else "tool_use", object())
        block.given, block.input = fields.get("id"), fields.get("input")
        self._assembly.spend(size if block.input else 0)
        if block.kind == "tool_use":
            self._assembly.start_call(block.key, name)

    def _start_unknown(self, index: object, fields: dict[str, Any], size: int) -> None:
        if size > MAX_HELD_BYTES:
            self._assembly.raw(FORMAT, fields)
            self.open[index] = Block("passed", None)
            return
        self._assembly.spend(size)
        block = self.open[index] = Block("unknown", None)
        block.fields = fields

    def _add_text(self, index: object, block: Block | None, text: str) -> bool:
        if block is None:
            self.start(index, {"type": "text"}, 0)
            block = self.open[index]
        return block.kind == "text" and self._say(block, "text", text)

    def _add_input(self, block: Block | None, text: str) -> bool:
        if block is None:
            raise protocol_failure(self._asked, "with a tool call that has no name")
        if not text:
            return True
        block.input = None
        if block.kind == "tool_use":
            self._assembly.call_delta(block.key, text)
        elif block.kind == "answer":
            self._assembly.delta(block.key, "text", text)
        elif block.fields is not None:
            self._assembly.spend(len(text))
            block.pieces.append(text)
        else:
            return False
        return True

    def _say(self, block: Block, kind: Any, text: object) -> bool:
        if isinstance(text, str) and text:
            self._assembly.delta(block.key, kind, text)
        return True

    def _end_tail(self) -> None:
        tail, self._tail = self._tail, None
        if tail is not None:
            self._assembly.end(tail)

    def _end_thinking(self, block: Block) -> None:
        """Sealed without its words, which the part holds; with them where there are none."""
        words = self._assembly.so_far(block.key)
        hidden = {} if words else {"thinking": ""}
        # A signature is over the very words: over words that had to be mended here it is worth nothing.
        if REPLACEMENT not in words:
            self._seal(block.key, {"type": "thinking", **hidden, "signature": block.signature}, "signature")
        self._assembly.end(block.key)

    def _seal(self, key: object | None, data: dict[str, Any], name: str) -> None:
        value: object = data[name]
        if isinstance(value, str) and value and clean_text(value) == value:
            self._assembly.seal(key, FORMAT, data)

    def _cite(self, block: Block, citation: dict[str, Any]) -> None:
        self._assembly.spend(sum(len(value) for value in citation.values() if isinstance(value, str)))
        block.cited.append(citation)

    def _report_sources(self, block: Block) -> None:
        cited, block.cited = block.cited, []
        if not cited:
            return
        part, end = self._assembly.part(block.key), self._assembly.position(block.key)
        for citation in cited:
            url = citation.get("url") or citation.get("source")
            fields = {
                "url": url if isinstance(url, str) and url.startswith(("http://", "https://")) else None,
                "title": next((text for name in _TITLES if (text := _text(citation.get(name)))), None),
                "text": _text(citation.get("cited_text")),
                "start": block.start if part else None,
                "end": end if part else None,
            }
            self._assembly.cite(part, **fields)


def _parsed(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return text


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
