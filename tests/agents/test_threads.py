"""Conversations under names that their clients chose."""

import asyncio
from dataclasses import replace

import pytest

from porch.agents.conversations import Conversations
from porch.agents.threads import Threads
from porch.contract.errors import Forbidden, InvalidInput, NotFound
from porch.contract.ids import format_id, new_uuid
from porch.contract.principal import Principal
from porch.storage.database import Database
from tests.runs.conftest import Desk, desk

__all__ = ["desk"]


async def agent_of(desk: Desk) -> str:
    """A new agent's handle."""
    conversation = await desk.conversation()
    return (
        await Conversations(desk.database).read(desk.principal, format_id("conv", conversation))
    ).agent_handle


def other(principal: Principal) -> Principal:
    """Somebody else in the same workspace, who looks after nobody's conversations."""
    return replace(
        principal, id=new_uuid(), role="runner", scopes=frozenset({"run:agents", "read:conversations"})
    )


async def test_a_name_begins_a_conversation_once_and_finds_it_again(desk: Desk) -> None:
    threads, agent = Threads(desk.database), await agent_of(desk)
    assert await threads.find(desk.principal, agent, "chat-1") is None
    begun = await threads.open(desk.principal, agent, "chat-1")
    assert (begun.participant_kind, begun.participant_id) == ("user", desk.principal.id)
    assert await threads.open(desk.principal, agent, "chat-1") == begun
    assert await threads.find(desk.principal, agent, "chat-1") == begun
    assert (await threads.open(desk.principal, agent, "chat-2")).id != begun.id


async def test_two_who_begin_it_at_once_get_the_same(desk: Desk) -> None:
    threads, agent = Threads(desk.database), await agent_of(desk)
    both = await asyncio.gather(*(threads.open(desk.principal, agent, "chat") for _ in range(4)))
    assert len({conversation.id for conversation in both}) == 1


async def test_the_same_name_is_another_conversation_for_others_and_with_others(desk: Desk) -> None:
    threads, agent = Threads(desk.database), await agent_of(desk)
    mine = await threads.open(desk.principal, agent, "chat")
    with_another = await threads.open(desk.principal, await agent_of(desk), "chat")
    theirs = await threads.open(other(desk.principal), agent, "chat")
    assert len({mine.id, with_another.id, theirs.id}) == 3


async def test_a_conversations_own_id_names_it(desk: Desk) -> None:
    threads, agent = Threads(desk.database), await agent_of(desk)
    begun = await Conversations(desk.database).create(desk.principal, agent)
    assert (await threads.open(desk.principal, agent, format_id("conv", begun.id))).id == begun.id


async def test_ids_of_others_of_other_agents_and_of_nothing_are_not_found(desk: Desk) -> None:
    threads, agent = Threads(desk.database), await agent_of(desk)
    mine = format_id("conv", (await threads.open(desk.principal, agent, "chat")).id)
    for principal, with_agent, name in (
        (other(desk.principal), agent, mine),
        (desk.principal, await agent_of(desk), mine),
        (desk.principal, agent, format_id("conv", new_uuid())),
        (desk.principal, agent, "conv_1"),
        (desk.principal, "nobody", "chat"),
    ):
        with pytest.raises(NotFound):
            await threads.open(principal, with_agent, name)


async def test_a_deleted_conversation_is_not_gone_on_with(desk: Desk) -> None:
    threads, agent = Threads(desk.database), await agent_of(desk)
    first = await threads.open(desk.principal, agent, "chat")
    await Conversations(desk.database).delete(desk.principal, format_id("conv", first.id))
    assert await threads.find(desk.principal, agent, "chat") is None
    second = await threads.open(desk.principal, agent, "chat")
    assert second.id != first.id
    assert await threads.open(desk.principal, agent, "chat") == second


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "x" * 600])
async def test_a_name_that_cannot_be_kept_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(InvalidInput):
        await Threads(desk.database).open(desk.principal, await agent_of(desk), name)


async def test_who_may_only_read_agents_begins_nothing(desk: Desk, database: Database) -> None:
    reader = replace(other(desk.principal), scopes=frozenset({"read:agents"}))
    with pytest.raises(Forbidden):
        await Threads(database).open(reader, await agent_of(desk), "chat")
