"""A 200 is no answer yet: what fails before its first event is asked for again, and nothing that was seen is."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from porch.contract.events import UsageReported
from porch.egress import Egress, EgressSettings
from porch.providers.endpoint import fixed
from porch.providers.messages import Messages, find_quirks
from porch.providers.responses import Quirks, Responses
from porch.providers.transport import Retries
from tests.providers import messages as claude
from tests.providers.asking import ask, chat, endpoint
from tests.providers.upstream import DONE, SAY, STOP, Behaviour, answer, hang_up, plain, then, upstream

GOOD = answer(SAY, STOP, DONE)
PING = b": OPENROUTER PROCESSING\n\n"
BUSY = b'data: {"error":{"code":502,"message":"Upstream went away"},"choices":[]}\n\n'
WAIT = b'data: {"error":{"code":429,"message":"Please try again in 90s."}}\n\n'
WRONG = b'data: {"error":{"code":400,"message":"No such setting"}}\n\n'
CLAUDE_BUSY = claude.event("error", error={"type": "overloaded_error", "message": "Overloaded"})


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(EgressSettings(first_byte_seconds=20, idle_seconds=20)) as egress:
        yield egress


@pytest.mark.parametrize(
    "bad",
    [
        answer(BUSY),
        answer(PING, PING, BUSY),
        then(PING, BUSY, end=hang_up),
        plain(200, b'{"error":{"code":502,"message":"Upstream went away"}}'),
        answer(PING),
        then(PING, end=hang_up),
    ],
    ids=["at once", "behind comments", "and hangs up", "as a document", "nothing", "a cut before anything"],
)
async def test_what_fails_before_the_first_event_is_asked_for_again(egress: Egress, bad: Behaviour) -> None:
    async with upstream(bad, bad, GOOD) as place:
        result = await ask(chat(egress, place.url))
    assert result.error is None
    assert result.text() == "Hi"
    assert len(place.requests) == 3
    assert len({exchange.body for exchange in place.requests}) == 1


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (answer(SAY, BUSY), "overloaded"),
        (answer(SAY + BUSY), "overloaded"),
        (answer(WAIT), "rate_limit"),
        (answer(WRONG), "bad_request"),
        (plain(200, b"<html></html>"), "protocol"),
    ],
    ids=["after a word", "with a word", "with a long hint", "for good", "a page"],
)
async def test_what_was_seen_or_will_not_pass_is_not(egress: Egress, bad: Behaviour, kind: str) -> None:
    async with upstream(bad, GOOD) as place:
        result = await ask(chat(egress, place.url))
    assert result.error is not None
    assert result.error.kind == kind
    assert len(place.requests) == 1


async def test_all_attempts_count_whatever_they_failed_by(egress: Egress) -> None:
    async with upstream(plain(503), answer(BUSY), plain(503), GOOD) as place:
        result = await ask(chat(egress, place.url))
    assert result.error is not None
    assert result.error.kind == "overloaded"
    assert len(place.requests) == 3


async def test_a_failed_attempt_leaves_nothing_in_the_answer_that_follows(egress: Egress) -> None:
    first = b'data: {"id":"x","model":"one","choices":[]}\n\n' + BUSY
    async with upstream(answer(first), GOOD) as place:
        result = await ask(chat(egress, place.url))
    assert result.text() == "Hi"
    assert result.outcome.reason == "stop"
    await asyncio.gather(*egress.draining)


async def test_the_other_dialects_do_the_same_unless_tokens_were_counted(egress: Egress) -> None:
    told = answer(claude.begin(), claude.text(0, "Hi"), claude.END)
    async with upstream(answer(CLAUDE_BUSY), told, answer(claude.begin(), CLAUDE_BUSY), told) as place:
        provider = Messages(egress, fixed(endpoint(place.url)), find_quirks, Retries(first_wait=0))
        assert (await ask(provider)).text() == "Hi"
        assert len(place.requests) == 2
        counted = await ask(provider)
        assert counted.error is not None
        assert len(place.requests) == 3, "what it read was charged, and must be told"
        assert any(isinstance(event, UsageReported) for event in counted.events)
    failed = b'data: {"type":"error","code":"server_error","message":"x","sequence_number":0}\n\n'
    async with upstream(answer(failed)) as place:
        result = await ask(Responses(egress, fixed(endpoint(place.url)), Quirks(), Retries(first_wait=0)))
    assert result.error is not None
    assert len(place.requests) == 3
