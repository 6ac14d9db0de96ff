"""Every recorded Responses stream, where they are at hand, against what it is known to say."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from porch.providers.responses.decoder import Decoder
from tests.providers.decoding import Decoded, decode, split

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("PORCH_RECORDINGS") or ROOT.parent / "shared" / "recordings") / "responses"
STREAMS = sorted(FOLDER.rglob("*.sse")) if FOLDER.is_dir() else []

pytestmark = pytest.mark.skipif(not STREAMS, reason="no recordings here; PORCH_RECORDINGS names their folder")


@pytest.fixture(params=STREAMS, ids=lambda path: path.stem[:80])
def recording(request: pytest.FixtureRequest) -> tuple[bytes, dict[str, Any]]:
    path: Path = request.param
    return path.read_bytes(), json.loads(path.with_suffix(".json").read_text("utf-8"))["expected"]


def test_a_recorded_answer_says_what_it_is_known_to_say(recording: tuple[bytes, dict[str, Any]]) -> None:
    body, expected = recording
    decoded = decode([body], dialect=Decoder)
    assert decoded.text() == expected["text"]
    assert decoded.text("reasoning") == expected["reasoning"]
    assert (decoded.text("refusal") or None) == expected["refusal"]
    check_calls(decoded, expected["tool_calls"])
    if expected["error"]:
        assert decoded.error is not None
        assert decoded.error.kind not in ("cut", "protocol")
    elif expected["finish_reason"] is None:
        assert decoded.error is not None
    else:
        assert decoded.error is None, decoded.error
        check_end(decoded, expected)


def test_a_recorded_answer_gives_the_same_events_at_every_split(
    recording: tuple[bytes, dict[str, Any]],
) -> None:
    body, _ = recording
    whole = decode([body], dialect=Decoder).plain()
    for seed in range(4):
        assert decode(split(body, seed), dialect=Decoder).plain() == whole


def check_calls(decoded: Decoded, expected: list[dict[str, Any]]) -> None:
    assert [call.name for call in decoded.calls] == [call["name"] for call in expected]
    for call, known in zip(decoded.calls, expected, strict=True):
        if call.arguments is None:
            assert call.raw_arguments == known["arguments"]
        else:
            assert call.arguments == json.loads(known["arguments"] or "{}")


def check_end(decoded: Decoded, expected: dict[str, Any]) -> None:
    why = expected["incomplete_reason"]
    assert decoded.outcome.raw_reason == (why or expected["finish_reason"])
    if why:
        assert decoded.outcome.reason == ("content_filter" if why == "content_filter" else "length")
    else:
        stop = "refusal" if expected["refusal"] else "stop"
        assert decoded.outcome.reason == ("tool_calls" if expected["tool_calls"] else stop)
    assert decoded.outcome.model == expected["model"]
    usage = expected["usage"]
    assert len(decoded.usage) == (1 if usage else 0)
    if usage and decoded.outcome.usage:
        counts = decoded.outcome.usage
        assert (counts.input_tokens, counts.output_tokens) == (usage["input_tokens"], usage["output_tokens"])
        assert counts.cached_input_tokens == usage["input_tokens_details"]["cached_tokens"]
        assert counts.reasoning_tokens == usage["output_tokens_details"]["reasoning_tokens"]
        assert (counts.cost is not None) == bool("cost" in usage or "cost_in_usd_ticks" in usage)
