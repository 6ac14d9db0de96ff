"""Whole runs at providers that are played: sealed thoughts go back, costs add up, refused keys are known."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from porch.contract.events import Cost, RunFailed, RunFinished, UsageReported
from porch.egress import Egress
from porch.models import Models
from porch.models.sharing import Sharing
from porch.plugins.service import Tools
from porch.runs.service import Runs
from tests.laws import check_run
from tests.providers import messages as claude
from tests.providers.asking import KEY
from tests.providers.upstream import DONE, SAY, STOP, Behaviour, Exchange, answer, framed, plain, upstream
from tests.runs.conftest import LEASE, Desk, events_in, types
from tests.runs.sink import Sink

THINK = (
    claude.start(0, "thinking", thinking="", signature="")
    + claude.delta(0, "thinking_delta", thinking="What time is it? ")
    + claude.delta(0, "thinking_delta", thinking="I look.")
    + claude.delta(0, "signature_delta", signature="c2lnbmVk")
    + claude.stop(0)
)
CALL = answer(claude.begin(), THINK, claude.call(1, "clock", "{}"), claude.reason("tool_use"), claude.STOP)
TELL = answer(claude.begin(), claude.text(0, "Noon."), claude.END)
USED = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"cost":0.25}}\n\n'
BROKEN = b'data: {"error":{"code":502,"message":"Upstream went away"}}\n\n'


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress() as egress:
        yield egress


async def served(desk: Desk, egress: Egress, **environ: str) -> Models:
    """Let the desk's runs ask providers by these variables."""
    models = Models(environ, egress, Sharing(desk.principal.workspace))
    runs = Runs(desk.database, models, Tools(), lease_seconds=LEASE)
    await runs.start()
    desk.others += [desk.runs, runs]
    desk.runs = runs
    return models


async def test_sealed_thoughts_go_back_with_their_words_before_the_call_they_led_to(
    desk: Desk, egress: Egress
) -> None:
    async with upstream(CALL, TELL) as place:
        await served(desk, egress, ANTHROPIC_BASE_URL=place.url, ANTHROPIC_API_KEY=KEY)
        conversation = await desk.conversation(
            model="anthropic:claude-sonnet-4-5", tools=["clock"], settings={"reasoning_effort": "low"}
        )
        events = await desk.ask("What time is it?", conversation)
    assert isinstance(events[-1], RunFinished)
    sent = place.requests[1].json()["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    thinking, call = sent[1]["content"]
    assert thinking == {
        "type": "thinking",
        "thinking": "What time is it? I look.",
        "signature": "c2lnbmVk",
    }
    assert (call["type"], sent[2]["content"][0]["tool_use_id"]) == ("tool_use", call["id"])


async def test_what_a_run_cost_is_the_sum_of_its_steps_discarded_ones_included(
    desk: Desk, egress: Egress
) -> None:
    seen = asyncio.Event()

    async def fail_late(exchange: Exchange) -> None:
        await exchange.chunks(SAY + USED)
        await seen.wait()
        await exchange.write(framed(BROKEN), framed(b""))

    async with upstream(fail_late, answer(SAY, STOP, USED, DONE)) as place:
        await served(desk, egress, OPENROUTER_BASE_URL=place.url, OPENROUTER_API_KEY=KEY)
        started = await desk.start("Hello", model=["openrouter:a/one", "openrouter:a/two"])
        sink = Sink()
        reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
        async with asyncio.timeout(30):
            await sink.until(b"event: stream.chunk")
            seen.set()
            events = events_in((await reading).data)
    assert "step.discarded" in types(events)
    reported = [event for event in events if isinstance(event, UsageReported)]
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert last.usage is not None
    assert last.usage.input_tokens == 9 * len(reported) == 18
    assert isinstance(last.usage.cost, Cost)
    assert last.usage.cost.amount == "0.5"


async def test_a_key_that_a_run_found_refused_is_shown_so(desk: Desk, egress: Egress) -> None:
    async with upstream(plain(401)) as place:
        models = await served(desk, egress, MISTRAL_BASE_URL=place.url, MISTRAL_API_KEY=KEY)
        events = await desk.ask("Hello", model="mistral:mistral-small-latest")
    last = events[-1]
    assert isinstance(last, RunFailed)
    assert last.error.category == "auth"
    assert "MISTRAL_API_KEY" in last.error.message
    assert models.is_refused("mistral")


async def test_a_provider_that_is_not_set_up_gives_way_to_the_next_of_the_chain(
    desk: Desk, egress: Egress
) -> None:
    async with upstream(answer(SAY, STOP, USED, DONE)) as place:
        await served(desk, egress, OPENROUTER_BASE_URL=place.url)
        events = await desk.ask("Hello", model=["anthropic:claude-haiku-4-5", "openrouter:a/one"])
    assert isinstance(events[-1], RunFinished)
    assert "step.discarded" not in types(events), "nothing was shown before"


BEGUN = answer(claude.begin(), claude.event("error", error={"type": "overloaded_error", "message": "Busy"}))


async def test_what_a_model_had_used_before_it_failed_unseen_is_counted_and_priced(
    desk: Desk, egress: Egress
) -> None:
    async with upstream(BEGUN) as first, upstream(answer(SAY, STOP, USED, DONE)) as second:
        environ = {"ANTHROPIC_BASE_URL": first.url, "OPENROUTER_BASE_URL": second.url}
        await served(desk, egress, **environ)
        chain = ["anthropic:claude-haiku-4-5", "openrouter:a/one"]
        events = await desk.ask("Hello", model=chain)
    check_run(events)
    reported = [event for event in events if isinstance(event, UsageReported)]
    assert len(reported) == 2, "what the first one read was paid for"
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert last.usage is not None
    assert last.usage.input_tokens == reported[0].input_tokens + 9
    discarded = types(events).index("step.discarded")
    assert "part.started" not in types(events)[:discarded], "nobody saw anything of it"


async def test_when_all_models_fail_the_error_that_may_pass_is_told_and_the_others_are_named(
    desk: Desk, egress: Egress
) -> None:
    async with upstream(plain(429, b"", Retry_After="20")) as place:
        await served(desk, egress, MISTRAL_BASE_URL=place.url)
        chain = ["anthropic:claude-haiku-4-5", "mistral:m", "groq:n"]
        events = await desk.ask("Hello", model=chain)
    last = events[-1]
    assert isinstance(last, RunFailed)
    assert (last.error.category, last.error.code, last.error.retryable) == (
        "rate_limit",
        "model_rate_limit",
        True,
    )
    assert "Try again in 20 seconds" in last.error.message
    assert last.error.message.endswith(
        "The agent's other models failed too: 'anthropic:claude-haiku-4-5' (auth), 'groq:n' (auth)."
    )


async def test_when_no_model_of_a_chain_is_set_up_the_first_says_what_it_needs(
    desk: Desk, egress: Egress
) -> None:
    await served(desk, egress)
    events = await desk.ask("Hello", model=["anthropic:claude-haiku-4-5", "openrouter:a/one"])
    last = events[-1]
    assert isinstance(last, RunFailed)
    assert (last.error.category, last.error.retryable) == ("auth", False)
    assert "ANTHROPIC_API_KEY" in last.error.message
    assert "'openrouter:a/one' (auth)" in last.error.message


async def test_a_refusal_is_an_answer_and_no_reason_to_ask_another_model(desk: Desk, egress: Egress) -> None:
    refusal = answer(
        claude.begin(), claude.text(0, "I would rather not."), claude.reason("refusal"), claude.STOP
    )
    async with upstream(refusal) as first, upstream(answer(SAY, STOP, DONE)) as second:
        await served(desk, egress, ANTHROPIC_BASE_URL=first.url, OPENROUTER_BASE_URL=second.url)
        events = await desk.ask("Hello", model=["anthropic:claude-haiku-4-5", "openrouter:a/one"])
    assert isinstance(events[-1], RunFinished)
    assert second.requests == []


async def test_a_key_that_is_refused_gives_way_silently_and_is_shown_as_refused(
    desk: Desk, egress: Egress
) -> None:
    async with upstream(plain(401)) as first, upstream(answer(SAY, STOP, USED, DONE)) as second:
        environ = {"MISTRAL_BASE_URL": first.url, "MISTRAL_API_KEY": KEY, "OPENROUTER_BASE_URL": second.url}
        models = await served(desk, egress, **environ)
        events = await desk.ask("Hello", model=["mistral:m", "openrouter:a/one"])
    assert isinstance(events[-1], RunFinished)
    assert "step.discarded" not in types(events)
    assert models.is_refused("mistral")


ODD = claude.event("sparkle", glitter=1)
TAIL = claude.event("error", error={"type": "api_error", "message": "x"})
CLAUDE = "anthropic:claude-haiku-4-5"


@pytest.mark.parametrize(
    ("model", "stream", "seen"),
    [
        ("mistral:m", answer(SAY + BROKEN), True),
        ("mistral:m", answer(SAY, BROKEN), True),
        ("mistral:m", answer(USED + BROKEN), False),
        ("mistral:m", answer(b"data: null\n\n", BROKEN), False),
        (CLAUDE, answer(ODD, TAIL), False),
        (CLAUDE, answer(ODD + TAIL), False),
    ],
    ids=["words with it", "words before it", "a count", "a stray value", "a raw before it", "a raw with it"],
)
async def test_a_failure_says_whether_something_of_an_answer_was_seen(
    desk: Desk, egress: Egress, model: str, stream: Behaviour, seen: bool
) -> None:
    async with upstream(stream) as place:
        urls = {"MISTRAL_BASE_URL": place.url, "ANTHROPIC_BASE_URL": place.url}
        await served(desk, egress, **urls, MISTRAL_API_KEY=KEY, ANTHROPIC_API_KEY=KEY)
        events = await desk.ask("Hello", model=model)
    check_run(events)
    assert isinstance(events[-1], RunFailed)
    assert events[-1].error.emitted_any is seen
    assert ("part.started" in types(events)) is seen


async def test_what_is_no_part_of_an_answer_was_none_when_it_was_seen(desk: Desk, egress: Egress) -> None:
    seen = asyncio.Event()

    async def fail_late(exchange: Exchange) -> None:
        await exchange.chunks(ODD)
        await seen.wait()
        await exchange.write(framed(TAIL), framed(b""))

    async with upstream(fail_late) as place:
        await served(desk, egress, ANTHROPIC_BASE_URL=place.url, ANTHROPIC_API_KEY=KEY)
        started = await desk.start("Hello", model=CLAUDE)
        sink = Sink()
        reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
        async with asyncio.timeout(30):
            await sink.until(b"event: raw")
            seen.set()
            last = events_in((await reading).data)[-1]
    assert isinstance(last, RunFailed)
    assert last.error.emitted_any is False
