"""What a process remembers of its conversations is what the database would say, or is not used."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec
import pytest

from porch.agents.conversations import Conversations
from porch.agents.service import Agents
from porch.contract.definition import Definition
from porch.contract.errors import NotFound
from porch.contract.events import RunStarted, StepStarted
from porch.contract.ids import format_id, new_uuid, parse_id
from porch.contract.messages import TextPart
from porch.runs import store
from porch.runs.recall import MOST_BRANCHES, MOST_MESSAGES, Recall
from porch.runs.start import Asked
from porch.runs.store import LoadedTurn
from tests.runs.conftest import Desk


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The conversations that were read in the database, in turn."""
    read: list[UUID] = []
    load = store.load_turn

    async def counted(database: Any, workspace: UUID, conversation: UUID, *place: Any) -> LoadedTurn | None:
        read.append(conversation)
        return await load(database, workspace, conversation, *place)

    monkeypatch.setattr(store, "load_turn", counted)
    return read


async def stored(desk: Desk, conversation: UUID) -> LoadedTurn | None:
    return await store.load_turn(desk.database, desk.principal.workspace, conversation)


async def test_what_is_remembered_after_each_answer_is_what_the_database_says(
    desk: Desk, loads: list[UUID]
) -> None:
    conversation = await desk.conversation()
    for words in ("Hello", "[[say A “quoted” answer, twice.]]", "[[think Hm.]] [[say Yes.]]"):
        await desk.ask(words, conversation)
        found = await stored(desk, conversation)
        assert found is not None
        remembered = desk.runs.recall.take(desk.principal.workspace, conversation)
        if "think" in words:
            assert remembered is None  # more than text is read again
        else:
            assert remembered == msgspec.structs.replace(found, remembered=True)
        await desk.ask("[[say And on.]]", conversation)
    assert len(loads) == 7


async def test_a_conversation_goes_on_without_a_look_into_the_database(desk: Desk, loads: list[UUID]) -> None:
    conversation = await desk.conversation()
    for words in ("One", "Two", "Three"):
        await desk.ask(words, conversation)
    assert loads == [conversation]
    found = await stored(desk, conversation)
    assert found is not None
    asked = [message.parts[0] for message in found.history if message.role == "user"]
    assert asked == [TextPart(text=words) for words in ("Three", "Two", "One")]


async def test_the_first_message_of_a_conversation_that_was_opened_here_needs_no_look_either(
    desk: Desk, loads: list[UUID]
) -> None:
    known = await desk.conversation()
    await desk.ask("Hello", known)
    agent = (await Conversations(desk.database).read(desk.principal, format_id("conv", known))).agent_handle
    opened = await Conversations(desk.database).create(desk.principal, agent)
    desk.runs.recall.opened(desk.principal.workspace, opened)
    await desk.ask("Hello", opened.id)
    tried = await Conversations(desk.database).create(desk.principal, agent, draft=True)
    desk.runs.recall.opened(desk.principal.workspace, tried)
    await desk.ask("Hello", tried.id)
    assert loads == [known, tried.id]


async def change(desk: Desk, conversation: UUID, sql: str, *values: object) -> None:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute(
            f"UPDATE porch.agents a SET {sql} FROM porch.conversations c"
            " WHERE c.id = $1 AND c.agent_id = a.id",
            conversation,
            *values,
        )


async def test_an_agent_that_was_changed_elsewhere_answers_as_it_is_now(desk: Desk) -> None:
    conversation = await desk.conversation()
    await desk.ask("Hello", conversation)
    other = msgspec.json.encode(
        msgspec.convert({"name": "actor", "instructions": "", "model": "scripted:other"}, Definition)
    )
    await change(desk, conversation, "draft = $2", other)
    _, step, *_ = await desk.ask("Hello", conversation)
    assert isinstance(step, StepStarted)
    assert step.model == "scripted:other"
    await change(desk, conversation, "handle = 'renamed'")
    began, *_ = await desk.ask("Hello", conversation)
    assert isinstance(began, RunStarted)
    assert began.agent == "@ada/renamed"
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.agent_versions (workspace_id, agent_id, number, definition, content_hash, created_by)"
            " SELECT a.workspace_id, a.id, 1, a.draft, '', $1 FROM porch.agents a WHERE a.handle = 'renamed'",
            desk.principal.id,
        )
    await change(desk, conversation, "latest_version = 1")
    began, *_ = await desk.ask("Hello", conversation)
    assert isinstance(began, RunStarted)
    assert began.version == 1


async def test_no_words_go_to_the_model_that_an_agent_named_before_at_any_process(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation, outcomes, start = await desk.conversation(), list[str](), store.start_run
    await desk.ask("Hello", conversation)
    there, found = await desk.another(), await stored(desk, conversation)
    assert found is not None
    agents = Agents(desk.database, changed=there.recall.agent_changed)
    change = {"model": "scripted:other"}
    await agents.patch(desk.principal, format_id("agt", found.agent), change, None)
    async with asyncio.timeout(10):
        while desk.runs.recall.meet(desk.principal.workspace, found.agent, ("user", desk.principal.id)):
            await asyncio.sleep(0.005)

    async def told(database: Any, new: store.NewRun) -> tuple[str, UUID | None]:
        outcome, active = await start(database, new)
        outcomes.append(outcome)
        return outcome, active

    monkeypatch.setattr(store, "start_run", told)
    _, step, *_ = await desk.ask("And now?", conversation)
    assert isinstance(step, StepStarted)
    assert (step.model, outcomes) == ("scripted:other", ["started"])


async def test_an_agent_is_read_again_now_and_then(
    desk: Desk, loads: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("porch.runs.recall.AGENT_SECONDS", 0.0)
    conversation = await desk.conversation()
    await desk.ask("Hello", conversation)
    await desk.ask("And on", conversation)
    assert loads == [conversation] * 2


async def test_a_conversation_that_went_on_elsewhere_is_answered_from_there(desk: Desk) -> None:
    conversation = await desk.conversation()
    await desk.ask("Here", conversation)
    there = await desk.another()
    await desk.read(
        there.follow_new(
            desk.principal, await there.start_run(desk.principal, conversation, [TextPart(text="There")])
        )
    )
    await desk.ask("Here again", conversation)
    found = await stored(desk, conversation)
    assert found is not None
    said = [message.parts[0] for message in found.history if message.role == "user"]
    assert said == [TextPart(text=words) for words in ("Here again", "There", "Here")]


async def test_what_is_gone_or_another_s_is_not_answered_from_memory(desk: Desk) -> None:
    gone, kept = await desk.conversation(), await desk.conversation()
    await desk.ask("Hello", gone)
    await desk.ask("Hello", kept)
    await Conversations(desk.database).delete(desk.principal, format_id("conv", gone))
    with pytest.raises(NotFound):
        await desk.start("Hello", gone)
    stranger = replace(desk.principal, id=new_uuid(), scopes=frozenset({"run:agents"}), role="runner")
    with pytest.raises(NotFound):
        await desk.runs.start_run(stranger, kept, [TextPart(text="Mine?")])
    elsewhere = replace(desk.principal, workspace=new_uuid())
    await desk.ask("Hello", kept)
    with pytest.raises(NotFound):
        await desk.runs.start_run(elsewhere, kept, [TextPart(text="Mine?")])


async def test_an_agent_that_was_met_is_met_again_from_memory_until_it_changes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    load = store.load_agent

    async def counted(database: Any, workspace: UUID, identifier: Any, handle: str, opener: Any) -> Any:
        read.append(handle)
        return await load(database, workspace, identifier, handle, opener)

    monkeypatch.setattr(store, "load_agent", counted)
    conversation = await desk.conversation()
    await change(desk, conversation, "handle = 'clerk'")

    async def meet(named: str) -> str:
        started = await desk.runs.open_run(desk.principal, Asked([TextPart(text="Hello")], agent=named))
        await desk.read(desk.runs.follow_new(desk.principal, started))
        return named

    assert [await meet("clerk"), await meet("clerk")] == ["clerk", "clerk"]
    assert read == ["clerk"]
    await change(desk, conversation, "handle = 'scribe'")
    with pytest.raises(NotFound):
        await meet("clerk")
    await meet("scribe")
    async with desk.database.tenant(desk.principal.workspace) as connection:
        # Each try that found nothing left no conversation behind.
        assert await connection.fetchval("SELECT count(*) FROM porch.conversations") == 4


async def test_only_so_much_is_remembered(desk: Desk) -> None:
    conversation = await desk.conversation()
    await desk.ask("Hello", conversation)
    workspace = desk.principal.workspace
    recall, found = Recall(desk.runs.bus), await stored(desk, conversation)
    assert found is not None
    recall.loaded(workspace, found)
    opened = await Conversations(desk.database).read(desk.principal, format_id("conv", conversation))
    many = [new_uuid() for _ in range(MOST_BRANCHES + 1)]
    for each in many:
        recall.opened(workspace, msgspec.structs.replace(opened, id=each))
    assert recall.take(workspace, many[0]) is None
    assert recall.take(workspace, many[-1]) is not None
    assert recall.take(workspace, many[-1]) is None  # it is being answered


async def test_a_long_conversation_is_read_again(desk: Desk, loads: list[UUID]) -> None:
    conversation = await desk.conversation()
    for _ in range(MOST_MESSAGES // 2 + 2):
        await desk.ask("[[say Yes.]]", conversation)
    assert loads == [conversation] * 2


@pytest.mark.parametrize("words", ["x" * 17_000, "ы" * 9_000, "🏡" * 5_000])
async def test_many_words_are_read_again_by_what_they_take_in_memory(
    desk: Desk, loads: list[UUID], words: str
) -> None:
    conversation = await desk.conversation()
    await desk.ask(words[:1000], conversation)
    await desk.ask("Hello", conversation)
    assert loads == [conversation]
    await desk.ask(words, conversation)
    await desk.ask("Hello", conversation)
    assert loads == [conversation] * 2


async def test_an_agent_with_a_long_definition_is_read_again(desk: Desk, loads: list[UUID]) -> None:
    conversation = await desk.conversation(instructions="Act. " * 7000)
    await desk.ask("Hello", conversation)
    await desk.ask("Hello", conversation)
    assert loads == [conversation] * 2


async def test_after_another_branch_was_begun_no_model_is_asked_from_the_old_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation, outcomes, start = await desk.conversation(), list[str](), store.start_run

    async def told(database: Any, new: store.NewRun) -> tuple[str, UUID | None]:
        outcome, active = await start(database, new)
        outcomes.append(outcome)
        return outcome, active

    monkeypatch.setattr(store, "start_run", told)
    began, *_ = await desk.ask("Hello", conversation)
    assert isinstance(began, RunStarted)
    again = await desk.runs.regenerate(desk.principal, conversation, parse_id("msg", began.message))
    await desk.read(desk.runs.follow_new(desk.principal, again))
    await desk.ask("And on", conversation)
    assert outcomes == ["started"] * 3


async def test_no_model_is_asked_from_before_an_answer_that_waited_for_its_turn(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await desk.conversation(concurrency="queue")
    await desk.start("[[stall 0.2s]] [[say One.]]", conversation)
    second = await desk.start("[[say Two.]] [[stall 60s]]", conversation)
    async with asyncio.timeout(10):
        while desk.runs.live(second.run) is None:
            await asyncio.sleep(0.005)
    at_work, start = list[bool](), store.start_run

    async def told(database: Any, new: store.NewRun) -> tuple[str, UUID | None]:
        at_work.append(desk.runs.live(new.run) is not None)
        return await start(database, new)

    monkeypatch.setattr(store, "start_run", told)
    third = await desk.start("[[say Three.]]", conversation)
    assert (third.queued, at_work) == (True, [False])
    for run in (third.run, second.run):
        await desk.runs.cancel(desk.principal, run)
