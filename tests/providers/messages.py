"""Messages events made by hand, and what a decoded answer holds of them."""

import json
from typing import Any

from porch.contract.events import Notice, Raw, ReasoningSealed, SourceCited
from porch.providers.messages.decoder import Decoder
from tests.providers.decoding import Decoded, decode


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def begin(usage: Any = None, **more: Any) -> bytes:
    usage = {"input_tokens": 7, "output_tokens": 1} if usage is None else usage
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-real",
        "content": [],
    }
    return event("message_start", message=message | {"stop_reason": None, "usage": usage} | more)


def start(index: int, kind: str = "text", **fields: Any) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind, **fields})


def delta(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


def text(index: int, *deltas: str) -> bytes:
    body = b"".join(delta(index, "text_delta", text=said) for said in deltas)
    return start(index, text="") + body + stop(index)


def call(index: int, name: str, *pieces: str) -> bytes:
    body = b"".join(delta(index, "input_json_delta", partial_json=piece) for piece in pieces)
    return start(index, "tool_use", id=f"toolu_{index}", name=name, input={}) + body + stop(index)


def reason(said: str | None, usage: Any = None, **more: Any) -> bytes:
    usage = {"output_tokens": 5} if usage is None else usage
    return event("message_delta", delta={"stop_reason": said, "stop_sequence": None, **more}, usage=usage)


PING = event("ping")
STOP = event("message_stop")
END = reason("end_turn") + STOP
CITED = {
    "type": "char_location",
    "cited_text": "A fact.",
    "document_index": 0,
    "document_title": "facts.txt",
    "start_char_index": 0,
    "end_char_index": 7,
}


def run(*frames: bytes, dialect: Any = Decoder) -> Decoded:
    """Decoded whole and byte by byte, which must come to the same."""
    body = b"".join(frames)
    decoded = decode([body], dialect=dialect)
    pieces = [body[at : at + 1] for at in range(len(body))]
    assert decode(pieces, dialect=dialect).plain() == decoded.plain()
    return decoded


def sealed(decoded: Decoded) -> list[Any]:
    return [found.data for found in decoded.events if isinstance(found, ReasoningSealed)]


def raws(decoded: Decoded) -> list[Any]:
    return [found.data for found in decoded.events if isinstance(found, Raw)]


def sources(decoded: Decoded) -> list[SourceCited]:
    return [found for found in decoded.events if isinstance(found, SourceCited)]


def notices(decoded: Decoded) -> list[str]:
    return [found.code for found in decoded.events if isinstance(found, Notice)]
