"""Every recorded Messages stream, where they are at hand, against what it is known to say."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from porch.contract.events import Raw, ReasoningSealed
from porch.providers.messages.decoder import Decoder
from tests.providers.decoding import Decoded, decode, split

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("PORCH_RECORDINGS") or ROOT.parent / "shared" / "recordings") / "messages"
STREAMS = sorted(FOLDER.rglob("*.sse")) if FOLDER.is_dir() else []
KNOWN = {"text", "thinking", "redacted_thinking", "tool_use"}

pytestmark = pytest.mark.skipif(not STREAMS, reason="no recordings here; PORCH_RECORDINGS names their folder")


@pytest.fixture(params=STREAMS, ids=lambda path: path.stem[:80])
def recording(request: pytest.FixtureRequest) -> tuple[bytes, dict[str, Any]]:
    path: Path = request.param
    return path.read_bytes(), json.loads(path.with_suffix(".json").read_text("utf-8"))["expected"]


def test_a_recorded_stream_says_what_it_is_known_to_say(recording: tuple[bytes, dict[str, Any]]) -> None:
    body, expected = recording
    decoded = decode([body], dialect=Decoder)
    if expected["error"]:
        assert decoded.error is not None
        assert decoded.error.kind not in ("cut", "protocol")
        return
    assert decoded.error is None, decoded.error
    assert decoded.text() == expected["text"]
    assert decoded.text("reasoning") == expected["reasoning"]
    check_calls(decoded, expected["tool_calls"])
    check_blocks(decoded, expected)
    check_end(decoded, expected)


def test_a_recorded_stream_gives_the_same_events_at_every_split(
    recording: tuple[bytes, dict[str, Any]],
) -> None:
    body, _ = recording
    whole = decode([body], dialect=Decoder).plain()
    for seed in range(4):
        assert decode(split(body, seed), dialect=Decoder).plain() == whole


def test_a_recorded_stream_without_its_last_event_is_a_cut(recording: tuple[bytes, dict[str, Any]]) -> None:
    body, _ = recording
    end = body.rindex(b"event: message_stop")
    cut = decode([body[:end]], dialect=Decoder)
    assert cut.error is not None
    assert cut.error.kind == "cut"
    assert len(cut.usage) == 1


def check_calls(decoded: Decoded, expected: list[dict[str, Any]]) -> None:
    assert [call.name for call in decoded.calls] == [call["name"] for call in expected]
    for call, known in zip(decoded.calls, expected, strict=True):
        assert call.arguments == json.loads(known["arguments"] or "{}")


def check_blocks(decoded: Decoded, expected: dict[str, Any]) -> None:
    """What is signed is sealed, and every block of another kind is passed on with its whole input."""
    sealed = [event.data["type"] for event in decoded.events if isinstance(event, ReasoningSealed)]
    kinds: list[str] = expected["block_types"]
    assert sealed.count("thinking") == expected["signatures"]
    assert sealed.count("redacted_thinking") == kinds.count("redacted_thinking")
    raw = [event.data for event in decoded.events if isinstance(event, Raw)]
    assert [block["type"] for block in raw] == [kind for kind in kinds if kind not in KNOWN]
    inputs = {block["id"]: block["input"] for block in raw if block["type"].endswith("_tool_use")}
    inputs |= {block["id"]: block["input"] for block in raw if block["type"] == "server_tool_use"}
    for call in expected["server_tool_calls"]:
        assert set(inputs[call["id"]]) == set(json.loads(call["arguments"]))


def check_end(decoded: Decoded, expected: dict[str, Any]) -> None:
    reason = expected["finish_reason"]
    assert decoded.outcome.raw_reason == reason
    known = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length", "pause_turn": "limit"}
    assert decoded.outcome.reason == known[reason]
    assert decoded.outcome.model == expected["model"]
    usage: dict[str, Any] = expected["usage"]
    (counts,) = decoded.usage
    cached = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    assert counts.input_tokens == usage["input_tokens"] + cached + written
    assert counts.output_tokens == usage["output_tokens"]
    assert (counts.cached_input_tokens or 0) == cached
    details: dict[str, Any] = usage.get("output_tokens_details") or {}
    assert counts.reasoning_tokens == details.get("thinking_tokens")
