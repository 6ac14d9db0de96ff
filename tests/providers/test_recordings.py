"""Every recorded Chat Completions stream, where they are at hand, against what it is known to say."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from porch.providers.chat_completions.decoder import Decoder
from tests.providers.decoding import Decoded, decode, split

ROOT = Path(__file__).parents[2]
FOLDER = (
    Path(os.environ.get("PORCH_RECORDINGS") or ROOT.parent / "shared" / "recordings") / "chat-completions"
)
STREAMS = sorted(FOLDER.rglob("*.sse")) if FOLDER.is_dir() else []

pytestmark = pytest.mark.skipif(not STREAMS, reason="no recordings here; PORCH_RECORDINGS names their folder")


@pytest.fixture(params=STREAMS, ids=lambda path: path.stem[:80])
def recording(request: pytest.FixtureRequest) -> tuple[bytes, dict[str, Any]]:
    path: Path = request.param
    return path.read_bytes(), json.loads(path.with_suffix(".json").read_text("utf-8"))["expected"]


def test_a_recorded_stream_says_what_it_is_known_to_say(recording: tuple[bytes, dict[str, Any]]) -> None:
    body, expected = recording
    decoded = decode([body])
    if expected["error"]:
        assert decoded.error is not None
        assert decoded.error.kind not in ("cut", "protocol")
        return
    assert decoded.error is None, decoded.error
    assert decoded.text() == expected["text"]
    assert decoded.text("reasoning") == expected["reasoning"]
    assert (decoded.text("refusal") or None) == expected["refusal"]
    check_calls(decoded, expected["tool_calls"])
    check_end(decoded, expected)


def test_a_recorded_stream_gives_the_same_events_at_every_split(
    recording: tuple[bytes, dict[str, Any]],
) -> None:
    body, _ = recording
    for dialect in (Decoder, partial(Decoder, seal="test", think_tags=True)):
        whole = decode([body], dialect=dialect).plain()
        for seed in range(4):
            assert decode(split(body, seed), dialect=dialect).plain() == whole


def check_calls(decoded: Decoded, expected: list[dict[str, Any]]) -> None:
    assert [call.name for call in decoded.calls] == [call["name"] for call in expected]
    for call, known in zip(decoded.calls, expected, strict=True):
        assert call.arguments == json.loads(known["arguments"] or "{}")


def check_end(decoded: Decoded, expected: dict[str, Any]) -> None:
    reason = expected["finish_reason"]
    assert decoded.outcome.raw_reason == reason
    if expected["tool_calls"]:
        assert decoded.outcome.reason == "tool_calls"
    elif reason in ("stop", "length"):
        assert decoded.outcome.reason == reason
    assert decoded.outcome.model == expected["model"]
    usage = expected["usage"]
    assert len(decoded.usage) == (1 if usage else 0)
    if usage and decoded.outcome.usage:
        counts = decoded.outcome.usage
        assert (counts.input_tokens, counts.output_tokens) == (
            usage["prompt_tokens"],
            usage["completion_tokens"],
        )
        details: dict[str, int] = usage.get("completion_tokens_details") or {}
        if "reasoning_tokens" in details:
            assert counts.reasoning_tokens == details["reasoning_tokens"]
        details = usage.get("prompt_tokens_details") or {}
        if "cached_tokens" in details:
            assert counts.cached_input_tokens == details["cached_tokens"]
