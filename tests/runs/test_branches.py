"""Branches of a conversation: a message behind any other, an answer beside another, one run at a time."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from porch.contract.errors import ConversationBusy, Forbidden, NotFound
from porch.contract.events import RunFinished, RunStarted, StepStarted
from porch.contract.frames import Cursor
from porch.contract.ids import format_id, new_uuid, parse_id
from porch.contract.messages import Part, TextPart
from porch.contract.principal import Principal
from porch.runs.service import Started
from porch.runs.store import Place
from porch.runs.turn import Turn
from tests.laws import check_run
from tests.runs.conftest import Desk, events_in
from tests.runs.sink import Sink


def text(words: str) -> list[Part]:
    return [TextPart(text=words)]


async def read(desk: Desk, started: Started) -> list[Any]:
    events = events_in((await desk.read(desk.runs.follow_new(desk.principal, started))).data)
    check_run(events)
    return events


def answer_of(events: list[Any]) -> UUID:
    assert isinstance(events[-1], RunFinished)
    assert events[-1].message
    return parse_id("msg", events[-1].message)


async def rows(desk: Desk, conversation: UUID) -> dict[UUID, Any]:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        found = await connection.fetch(
            "SELECT id, parent_id, role FROM porch.messages WHERE conversation_id = $1", conversation
        )
    return {row["id"]: row for row in found}


async def conversation_row(desk: Desk, conversation: UUID) -> Any:
    async with desk.database.tenant(desk.principal.workspace) as connection:
        return await connection.fetchrow("SELECT * FROM porch.conversations WHERE id = $1", conversation)


@pytest.fixture
def histories(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What each run's model was given of the conversation, oldest first."""
    seen: list[list[str]] = []
    carry = desk.runs.carrier._carry  # pyright: ignore[reportPrivateUsage]  # where every turn passes

    async def spy(live: Any, turn: Turn) -> None:
        texts = [[part.text for part in m.parts if isinstance(part, TextPart)] for m in turn.history]
        seen.append([" ".join(words) for words in reversed(texts)])
        await carry(live, turn)

    monkeypatch.setattr(desk.runs.carrier, "_carry", spy)
    return seen


async def test_an_answer_is_made_anew_beside_the_one_that_is_there(
    desk: Desk, histories: list[list[str]]
) -> None:
    where = await desk.conversation()
    await desk.ask("[[say Before.]]", where)
    first = await desk.start("[[say One.]]", where)
    one = answer_of(await read(desk, first))
    again = await desk.runs.regenerate(desk.principal, where, one)
    events = await read(desk, again)
    two = answer_of(events)
    assert again.message == first.message
    assert isinstance(events[0], RunStarted)
    assert events[0].message == format_id("msg", first.message)
    found = await rows(desk, where)
    assert len(found) == 5
    assert {one, two} == {each for each, row in found.items() if row["parent_id"] == first.message}
    assert (await conversation_row(desk, where))["head_message_id"] == two
    assert histories[-1] == ["[[say Before.]]", "Before.", "[[say One.]]"], (
        "the branch, without the old answer"
    )


async def test_a_user_s_message_is_answered_anew_by_its_own_name(desk: Desk) -> None:
    where = await desk.conversation()
    first = await desk.start("[[fail overloaded]]", where)
    await desk.read(desk.runs.follow_new(desk.principal, first))
    again = await desk.runs.regenerate(desk.principal, where, first.message)
    await desk.read(desk.runs.follow_new(desk.principal, again))
    assert again.message == first.message
    assert again.run != first.run


async def test_a_message_follows_the_one_it_names_and_becomes_the_head(
    desk: Desk, histories: list[list[str]]
) -> None:
    where = await desk.conversation()
    one = answer_of(await desk.ask("[[say One.]]", where))
    await desk.ask("[[say Two.]]", where)
    other = await desk.runs.start_run(
        desk.principal, where, text("[[say Other.]]"), place=Place("after", one)
    )
    await read(desk, other)
    assert histories[-1] == ["[[say One.]]", "One.", "[[say Other.]]"]
    assert (await rows(desk, where))[other.message]["parent_id"] == one


async def test_a_message_at_the_start_has_no_history(desk: Desk, histories: list[list[str]]) -> None:
    where = await desk.conversation()
    await desk.ask("[[say One.]]", where)
    other = await desk.runs.start_run(
        desk.principal, where, text("[[say Fresh.]]"), place=Place("after", None)
    )
    await read(desk, other)
    assert histories[-1] == ["[[say Fresh.]]"]
    assert (await rows(desk, where))[other.message]["parent_id"] is None


async def test_a_message_of_another_conversation_is_no_place(desk: Desk) -> None:
    where, elsewhere = await desk.conversation(), await desk.conversation()
    foreign = answer_of(await desk.ask("[[say One.]]", elsewhere))
    for message in (foreign, new_uuid()):
        with pytest.raises(NotFound, match="no message"):
            await desk.runs.start_run(desk.principal, where, text("x"), place=Place("after", message))
        with pytest.raises(NotFound, match="no message"):
            await desk.runs.regenerate(desk.principal, where, message)
    assert await rows(desk, where) == {}


async def test_of_two_that_answer_anew_at_once_one_is_busy(desk: Desk) -> None:
    where = await desk.conversation()
    one = answer_of(await desk.ask("[[tokens 100 itl=3ms]]", where))
    other = await desk.another()
    attempts = await asyncio.gather(
        desk.runs.regenerate(desk.principal, where, one),
        other.regenerate(desk.principal, where, one),
        return_exceptions=True,
    )
    (won,) = [each for each in attempts if isinstance(each, Started)]
    (lost,) = [each for each in attempts if not isinstance(each, Started)]
    assert isinstance(lost, ConversationBusy)
    check_run(events_in(await desk.replay(won.run)))
    assert len(await rows(desk, where)) == 3
    assert desk.runs.active + other.active == 0


async def test_a_takeover_answers_the_branch_of_its_run_and_not_the_head(
    desk: Desk, histories: list[list[str]]
) -> None:
    where = await desk.conversation()
    one = answer_of(await desk.ask("[[say One.]]", where))
    await desk.ask("[[say Two.]]", where)
    started = await desk.runs.start_run(
        desk.principal, where, text("[[tokens 400 itl=3ms]]"), place=Place("after", one)
    )
    sink = Sink()
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started), sink))
    await sink.until(b"id: 1-50\n")
    async with desk.database.tenant(desk.principal.workspace) as connection:
        # As if somebody had moved it; the API refuses that while a run is at work.
        await connection.execute("UPDATE porch.conversations SET head_message_id = NULL WHERE id = $1", where)
    other = await desk.another()
    given: list[Turn] = []
    carry = other.carrier.carry

    def spy(live: Any, turn: Turn) -> None:
        given.append(turn)
        carry(live, turn)

    other.carrier.carry = spy
    await desk.expire(desk.runs)
    await reading
    check_run(events_in(await desk.replay(started.run, Cursor(1, 0), other)))
    words = [[part.text for part in m.parts if isinstance(part, TextPart)] for m in given[0].history]
    assert words == [["[[tokens 400 itl=3ms]]"], ["One."], ["[[say One.]]"]]


async def test_a_conversation_takes_its_title_from_what_is_said_first(desk: Desk) -> None:
    where = await desk.conversation()
    await desk.ask("  [[say Hi.]]\n\n What   time is\u202e it?\x1b[31m ", where)
    assert (await conversation_row(desk, where))["title"] == "[[say Hi.]] What time is it? [31m"
    await desk.ask("[[say Two.]]", where)
    assert (await conversation_row(desk, where))["title"].startswith("[[say Hi.]]")


async def test_a_title_that_was_given_stays(desk: Desk) -> None:
    where = await desk.conversation()
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute("UPDATE porch.conversations SET title = 'Plans' WHERE id = $1", where)
    await desk.ask("[[say Hi.]]", where)
    assert (await conversation_row(desk, where))["title"] == "Plans"


async def test_a_draft_conversation_is_answered_by_the_draft_and_no_other_is(desk: Desk) -> None:
    where, trial = await desk.conversation(), new_uuid()
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.agent_versions (workspace_id, agent_id, number, definition, content_hash, created_by)"
            " SELECT workspace_id, id, 1, draft, 'x', $1 FROM porch.agents",
            desk.principal.id,
        )
        await connection.execute("UPDATE porch.agents SET latest_version = 1")
        await connection.execute(
            """UPDATE porch.agents SET draft = '{"name":"actor","instructions":"New.","model":"scripted:draft"}'"""
        )
        await connection.execute(
            "INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id, draft)"
            " SELECT workspace_id, $1, agent_id, participant_kind, participant_id, true FROM porch.conversations",
            trial,
        )
    for conversation, version, model in ((where, 1, "scripted:test"), (trial, None, "scripted:draft")):
        started, step, *_ = await desk.ask("[[say Hi.]]", conversation)
        assert isinstance(started, RunStarted)
        assert isinstance(step, StepStarted)
        assert (started.version, step.model) == (version, model)
    mine = desk.principal
    runner = Principal(
        "user", mine.id, mine.workspace, "ada", "runner", frozenset({"run:agents"}), new_uuid()
    )
    await desk.runs.start_run(runner, where, text("[[say Hi.]]"))
    with pytest.raises(Forbidden, match="write:agents"):
        await desk.runs.start_run(runner, trial, text("[[say Hi.]]"))


async def test_nothing_is_answered_in_a_deleted_conversation(desk: Desk) -> None:
    where = await desk.conversation()
    first = await desk.start("[[say One.]]", where)
    one = answer_of(await read(desk, first))
    async with desk.database.tenant(desk.principal.workspace) as connection:
        await connection.execute("UPDATE porch.conversations SET deleted_at = now() WHERE id = $1", where)
    with pytest.raises(NotFound):
        await desk.runs.start_run(desk.principal, where, text("x"))
    with pytest.raises(NotFound):
        await desk.runs.regenerate(desk.principal, where, one)
    with pytest.raises(NotFound):
        await desk.runs.get(desk.principal, first.run)


async def test_another_participant_and_one_who_only_reads_answer_nothing_anew(desk: Desk) -> None:
    where = await desk.conversation()
    one = answer_of(await desk.ask("[[say One.]]", where))
    mine = desk.principal
    stranger = Principal(
        "user", new_uuid(), mine.workspace, "ada", "runner", frozenset({"run:agents"}), new_uuid()
    )
    reader = Principal("user", mine.id, mine.workspace, "ada", "viewer", frozenset({"read:*"}), new_uuid())
    with pytest.raises(NotFound):
        await desk.runs.regenerate(stranger, where, one)
    with pytest.raises(Forbidden):
        await desk.runs.regenerate(reader, where, one)
