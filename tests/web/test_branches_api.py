"""Branches, drafts and undo over HTTP, with real runs: what a chat page asks for."""

import asyncio
from typing import Any

import pytest

from porch.contract.events import RunFinished, RunStarted
from porch.contract.ids import parse_id
from tests.http.client import Answer
from tests.laws import check_run
from tests.runs.conftest import events_in
from tests.web.conftest import STREAM, House


async def said(house: House, where: str) -> list[Any]:
    return (await house.ada.client.get(f"{where}/messages")).json["items"]


def answered(answer: Answer) -> str:
    events = events_in(answer.body)
    check_run(events)
    assert isinstance(events[-1], RunFinished)
    assert events[-1].message
    return events[-1].message


async def test_an_answer_is_made_anew_as_a_stream_or_accepted(house: House) -> None:
    where = await house.conversation()
    first = answered(await house.say("[[say One.]]", where))
    again = await house.ada.client.post(f"{where}/messages/{first}/regenerate", headers=STREAM)
    assert again.headers["content-type"] == "text/event-stream; charset=utf-8"
    second = answered(again)
    accepted = await house.ada.client.post(f"{where}/messages/{second}/regenerate", json={})
    assert accepted.status == 202
    events = await house.ada.client.get(f"/api/v1/runs/{accepted.json['run']}/events")
    third = answered(events)
    messages = await said(house, where)
    assert [message["id"] for message in messages if message["parent"] == messages[0]["id"]] == [
        first,
        second,
        third,
    ]
    assert accepted.json["message"] == messages[0]["id"]
    assert (await house.ada.client.get(where)).json["head"] == third


async def test_an_answer_asked_for_twice_under_one_key_is_made_once(house: House) -> None:
    where = await house.conversation()
    first = answered(await house.say("[[say One.]]", where))
    key = {"Idempotency-Key": "again"}
    path = f"{where}/messages/{first}/regenerate"
    one = await house.ada.client.post(path, headers={**STREAM, **key})
    two = await house.ada.client.post(path, headers={**STREAM, **key})
    assert two.headers["idempotency-replayed"] == "true"
    assert one.body == two.body
    assert len(await said(house, where)) == 3


async def test_a_message_names_its_parent_or_the_start(house: House) -> None:
    where = await house.conversation()
    first = answered(await house.say("[[say One.]]", where))
    await house.say("[[say Two.]]", where)
    for parent in (first, None):
        answer = await house.ada.client.post(
            f"{where}/runs", json={"input": "[[say Other.]]", "parent": parent}, headers=STREAM
        )
        started = events_in(answer.body)[0]
        assert isinstance(started, RunStarted)
        (message,) = [each for each in await said(house, where) if each["id"] == started.message]
        assert message["parent"] == parent


@pytest.mark.parametrize("parent", ["msg_x", "", "msg_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b", "head"])
async def test_a_parent_that_is_not_there_is_404_and_leaves_nothing(house: House, parent: str) -> None:
    where = await house.conversation()
    answer = await house.ada.client.post(f"{where}/runs", json={"input": "x", "parent": parent})
    assert (answer.status, answer.code) == (404, "not_found")
    assert await said(house, where) == []
    regenerated = await house.ada.client.post(f"{where}/messages/{parent or 'x'}/regenerate")
    assert (regenerated.status, regenerated.code) == (404, "not_found")


async def test_while_an_answer_is_written_the_conversation_says_so_and_keeps_its_head(house: House) -> None:
    where = await house.conversation()
    first = answered(await house.say("[[say One.]]", where))
    accepted = await house.ada.client.post(f"{where}/runs", json={"input": "[[stall 60s]]"})
    state = (await house.ada.client.get(where)).json
    assert (state["active_run"], state["head"]) == (accepted.json["run"], accepted.json["message"])
    assert state["title"] == "[[say One.]]"
    for method, path, body in (
        ("PATCH", where, {"head": first}),
        ("POST", f"{where}/messages/{first}/regenerate", None),
        ("POST", f"{where}/runs", {"input": "x", "parent": first}),
        ("POST", f"{where}/shares", None),
        ("DELETE", where, None),
    ):
        answer = await house.ada.client.request(method, path, json=body)
        assert answer.status == 409, path
    await house.ada.client.post(f"/api/v1/runs/{accepted.json['run']}/cancel")
    await house.ada.client.get(f"/api/v1/runs/{accepted.json['run']}/events")
    assert (await house.ada.client.get(where)).json["active_run"] is None
    assert (await house.ada.client.patch(where, json={"head": first})).status == 200


async def test_of_many_that_write_at_once_one_is_answered_and_the_others_hear_why(house: House) -> None:
    where = await house.conversation()
    first = answered(await house.say("[[tokens 60 itl=5ms]]", where))
    answers = await asyncio.gather(
        *(house.ada.client.post(f"{where}/messages/{first}/regenerate") for _ in range(3)),
        *(
            house.ada.client.post(f"{where}/runs", json={"input": "[[stall 60s]]", "parent": None})
            for _ in range(3)
        ),
    )
    assert sorted(answer.status for answer in answers) == [202] + [409] * 5
    assert {answer.code for answer in answers if answer.status == 409} <= {"conversation_busy", "conflict"}


async def test_a_draft_conversation_follows_the_draft_of_each_message(house: House) -> None:
    where = await house.conversation()
    agent = (await house.ada.client.get(where)).json["agent"].partition("/")[2]
    path = f"{house.ada.path}/agents/{agent}"
    await house.ada.client.post(f"{path}/versions")
    made = await house.ada.client.post(f"{path}/conversations", json={"draft": True})
    trial = f"/api/v1/conversations/{made.json['id']}"
    for model in ("scripted:second", "scripted:third"):
        await house.ada.client.patch(path, json={"model": model})
        events = events_in((await house.say("[[say Hi.]]", trial)).body)
        assert isinstance(events[0], RunStarted)
        assert events[0].version is None
        assert getattr(events[1], "model", None) == model
    public = events_in((await house.say("[[say Hi.]]", where)).body)
    assert getattr(public[1], "model", None) == "scripted:test"
    listed = (await house.ada.client.get("/api/v1/conversations")).json["items"]
    assert [item["id"] for item in listed] == [where.rpartition("/")[2]]


async def test_a_deleted_conversation_s_runs_are_gone_and_come_back(house: House) -> None:
    where = await house.conversation()
    run = (await house.say("[[say One.]]", where)).headers["porch-run"]
    await house.ada.client.delete(where)
    for path in (f"/api/v1/runs/{run}", f"/api/v1/runs/{run}/events"):
        assert (await house.ada.client.get(path)).status == 404
    assert (await house.ada.client.post(f"{where}/runs", json={"input": "x"})).status == 404
    await house.ada.client.post(f"{where}/restore")
    assert (await house.ada.client.get(f"/api/v1/runs/{run}")).json["status"] == "finished"
    answered(await house.say("[[say Two.]]", where))


async def test_nothing_is_remembered_of_a_conversation_that_was_deleted(house: House) -> None:
    where = await house.conversation()
    await house.say("[[say Hello.]]", where)
    remembered = parse_id("conv", where.rpartition("/")[2])
    assert remembered
    recall, workspace = house.runs.recall, house.ada.workspace
    assert (found := recall.take(workspace, remembered))
    assert found.message
    await house.say("[[say Hello.]]", where)
    assert (await house.ada.client.delete(where)).status == 204
    assert recall.take(workspace, remembered) is None
