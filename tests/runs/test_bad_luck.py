"""A provider's bad days, over real HTTP: one end with a sentence, what came is kept, and so is the message."""

import asyncio
import re
from collections.abc import AsyncIterator

import msgspec
import pytest

from porch.contract.events import PartFinished, RunCancelled, RunFailed, RunFinished, StepDiscarded
from porch.contract.frames import split_frames
from porch.egress import Egress, EgressSettings
from porch.models.service import Models
from porch.plugins.service import Tools
from porch.runs.service import Runs
from tests.home import EVERYBODY
from tests.laws import check_run
from tests.providers.asking import KEY
from tests.providers.upstream import DONE, SAY, STOP, Behaviour, answer, hang, hang_up, plain, then, upstream
from tests.runs.conftest import LEASE, Desk, events_in
from tests.runs.sink import Sink

REFUSED = b'{"error":{"message":"Incorrect API key provided: %b.","code":"invalid_api_key"}}' % KEY.encode()
HALF = SAY + b'data: {"choices":[{"index":0,"delta":{"content":" the'


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    bounds = EgressSettings(connect_seconds=2, first_byte_seconds=0.3, idle_seconds=0.3)
    async with Egress(bounds) as egress:
        yield egress


async def served(desk: Desk, egress: Egress, url: str) -> None:
    """Let the desk's runs ask a provider at this address."""
    environment = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": url}
    runs = Runs(desk.database, Models(environment, egress, EVERYBODY), Tools(), lease_seconds=LEASE)
    await runs.start()
    desk.others.append(desk.runs)
    desk.runs = runs
    desk.others.append(runs)


@pytest.mark.parametrize(
    ("behaviour", "category", "said"),
    [
        pytest.param(plain(401, REFUSED), "auth", "", id="401"),
        pytest.param(plain(429, b"slow down", Retry_After="90"), "rate_limit", "", id="429"),
        pytest.param(plain(500, b""), "overloaded", "", id="500"),
        pytest.param(plain(404, b'{"error":{"message":"no such model"}}'), "not_found", "", id="no model"),
        pytest.param(hang, "timeout", "", id="hangs"),
        pytest.param(then(SAY, end=hang), "timeout", "Hi", id="hangs in mid-answer"),
        pytest.param(then(HALF, end=hang_up), "cut", "Hi", id="cut in mid-frame"),
        pytest.param(plain(200, b"<html><title>Sign in</title></html>"), "protocol", "", id="HTML"),
        pytest.param(plain(502, b"<html><h1>Bad gateway</h1></html>"), "overloaded", "", id="502 in HTML"),
    ],
)
async def test_a_run_with_such_a_provider_ends_once_and_keeps_the_message(
    desk: Desk, egress: Egress, behaviour: Behaviour, category: str, said: str
) -> None:
    async with upstream(behaviour) as place:
        await served(desk, egress, place.url)
        conversation = await desk.conversation(model="openai:gpt-test")
        started = await desk.start("Are you there?", conversation)
        told = (await desk.read(desk.runs.follow_new(desk.principal, started))).data
    events = events_in(told)
    check_run(events)
    end = events[-1]
    assert isinstance(end, RunFailed)
    assert end.error.category == category
    assert re.fullmatch(r"[A-Z].* .*\S", end.error.message)
    assert KEY.encode() not in told
    assert [event.value for event in events if isinstance(event, PartFinished)] == [said] * bool(said)
    expected = [("user", "Are you there?")] + [("assistant", said)] * bool(said)
    assert await messages(desk, conversation) == expected


async def test_a_provider_that_is_cut_in_mid_answer_hands_over_to_the_next_and_says_so(
    desk: Desk, egress: Egress
) -> None:
    async with upstream(then(HALF, end=hang_up), answer(SAY, STOP, DONE)) as place:
        await served(desk, egress, place.url)
        conversation = await desk.conversation(model=["openai:gpt-one", "openai:gpt-two"])
        events = await desk.ask("Are you there?", conversation)
    check_run(events)
    assert sum(isinstance(event, StepDiscarded) for event in events) == 1
    assert await messages(desk, conversation) == [("user", "Are you there?"), ("assistant", "Hi")]


ODD = rb"\ud800 \u0000 odd"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            b'data: {"model":"%b","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"%b"}]}\n\n'
            % (ODD, ODD)
            + DONE,
            id="model and reason",
        ),
        pytest.param(
            b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"id":"%b","function":{"name":"%b",'
            b'"arguments":"{\\"a\\":\\"\\\\u0000\\"}"}}]},"finish_reason":"stop"}]}\n\n' % (ODD, ODD) + DONE,
            id="a call",
        ),
        pytest.param(b'data: {"error":{"message":"%b","code":"%b"}}\n\n' % (ODD, ODD), id="an error"),
        pytest.param(
            b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"%b error"}]}\n\n' % ODD,
            id="a failing reason",
        ),
    ],
)
async def test_no_odd_character_of_a_provider_keeps_a_run_from_its_end(
    desk: Desk, egress: Egress, body: bytes
) -> None:
    async with upstream(answer(body), answer(SAY, STOP, DONE)) as place:
        await served(desk, egress, place.url)
        events = await desk.ask("Hello", model="openai:gpt-test")
    check_run(events)
    assert {event.epoch for event in events} == {1}
    end = events[-1]
    assert isinstance(end, RunFinished | RunFailed)
    assert isinstance(end, RunFinished) or end.error.code != "internal"


async def test_a_run_whose_provider_hangs_is_cancelled_at_once(desk: Desk) -> None:
    async with Egress() as patient, upstream(then(SAY, end=hang)) as place:
        await served(desk, patient, place.url)
        started = await desk.start("Hello", model="openai:gpt-test")
        sink = Sink()
        reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
        await sink.until(b"stream.chunk")
        await desk.runs.cancel(desk.principal, started.run)
        async with asyncio.timeout(5):
            await reading
            await place.hung_up.wait()
    check_run(events_in(sink.data))
    assert isinstance(events_in(sink.data)[-1], RunCancelled)
    assert len(split_frames(sink.data)) == events_in(sink.data)[-1].seq


async def messages(desk: Desk, conversation: object) -> list[tuple[str, str]]:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        rows = await connection.fetch(
            "SELECT role, parts FROM porch.messages WHERE conversation_id = $1 ORDER BY id", conversation
        )
    return [
        (row["role"], "".join(part["text"] for part in msgspec.json.decode(row["parts"]))) for row in rows
    ]
