"""Runs over HTTP as a program meets them: start, follow, come back, cancel, and all kinds of bad input."""

import asyncio
import json
from datetime import datetime

import pytest

from porch.contract.events import RunStarted
from porch.contract.frames import split_frames
from tests.http.client import Answer
from tests.laws import check_run
from tests.runs.conftest import events_in
from tests.web.conftest import STREAM, House


def run_of(answer: Answer) -> str:
    """The path of the run that a stream belongs to."""
    return f"/api/v1/runs/{answer.headers['porch-run']}"


async def test_a_message_answers_the_stream_of_its_run(house: House) -> None:
    answer = await house.say('[[call clock {"timezone":"UTC"}]] [[say It is {result}]]')
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-content-type-options"] == "nosniff"
    check_run(events_in(answer.body))
    assert (await house.ada.client.get(f"{run_of(answer)}/events")).body == answer.body


async def test_a_message_without_a_stream_is_accepted_and_answered_all_the_same(house: House) -> None:
    where = await house.conversation()
    answer = await house.ada.client.post(
        f"{where}/runs", json={"input": [{"type": "text", "text": "[[say Hi]]"}]}
    )
    assert answer.status == 202
    assert answer.headers["location"] == f"/api/v1/runs/{answer.json['run']}"
    check_run(events_in((await house.ada.client.get(f"{answer.headers['location']}/events")).body))
    state = (await house.ada.client.get(answer.headers["location"])).json
    assert state["status"] == "finished"
    assert state["input_message"] == answer.json["message"]
    said = (await house.ada.client.get(f"{where}/messages")).json["items"]
    assert [(message["role"], message["parts"][0]["text"]) for message in said] == [
        ("user", "[[say Hi]]"),
        ("assistant", "Hi"),
    ]
    assert said[1]["id"] == state["output_message"]
    assert said[1]["parent"] == said[0]["id"]


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_stream_continues_byte_equal_from_a_cursor(house: House, way: str) -> None:
    answer = await house.say("[[tokens 20]]")
    frames = split_frames(answer.body)
    for seq in (0, 1, 9, len(frames) - 1):
        cursor = f"1-{seq}"
        if way == "header":
            got = await house.ada.client.get(f"{run_of(answer)}/events", headers={"Last-Event-ID": cursor})
        else:
            got = await house.ada.client.get(f"{run_of(answer)}/events?after={cursor}")
        assert got.body == b"".join(frames[seq:])


async def test_a_cursor_at_the_end_is_answered_without_content(house: House) -> None:
    answer = await house.say("[[say Hi]]")
    last = len(split_frames(answer.body))
    got = await house.ada.client.get(f"{run_of(answer)}/events", headers={"Last-Event-ID": f"1-{last}"})
    assert (got.status, got.body) == (204, b"")


@pytest.mark.parametrize(
    ("cursor", "status", "code"),
    [
        ("1", 422, "invalid_input"),
        ("one-two", 422, "invalid_input"),
        ("1--2", 422, "invalid_input"),
        ("1-999999", 409, "conflict"),
        ("9" * 30 + "-1", 422, "invalid_input"),
        ("99999999999-1", 422, "invalid_input"),
        ("1-99999999999", 422, "invalid_input"),
        ("-1", 422, "invalid_input"),
    ],
)
async def test_a_cursor_that_is_none_is_refused_with_a_sentence(
    house: House, cursor: str, status: int, code: str
) -> None:
    answer = await house.say("[[say Hi]]")
    got = await house.ada.client.get(f"{run_of(answer)}/events", headers={"Last-Event-ID": cursor})
    assert (got.status, got.code) == (status, code)


async def test_the_same_idempotency_key_never_sends_a_message_twice(house: House) -> None:
    where = await house.conversation()
    key = {"Idempotency-Key": "once"}
    first = await house.say("[[tokens 30]]", where, **key)
    again = await house.say("[[tokens 30]]", where, **key)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.body == first.body
    plain = await house.ada.client.post(f"{where}/runs", json={"input": "[[tokens 30]]"}, headers=key)
    assert plain.status == 202
    assert f"/api/v1/runs/{plain.json['run']}" == run_of(first)
    other = await house.say("something else", where, **key)
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert len((await house.ada.client.get(f"{where}/messages")).json["items"]) == 2


async def test_a_conversation_takes_one_message_at_a_time(house: House) -> None:
    where = await house.conversation()
    started = await house.ada.client.post(f"{where}/runs", json={"input": "[[stall 60s]]"})
    second = await house.say("[[say Me too]]", where)
    assert (second.status, second.code) == (409, "conversation_busy")
    assert started.json["run"] in second.json["detail"]
    cancelled = await house.ada.client.post(f"{started.headers['location']}/cancel")
    assert cancelled.status == 202
    events = events_in((await house.ada.client.get(f"{started.headers['location']}/events")).body)
    check_run(events)
    assert (await house.ada.client.post(f"{started.headers['location']}/cancel")).json[
        "status"
    ] == "cancelled"
    assert (await house.say("[[say Now]]", where)).status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"input": ""}, 422),
        ({"input": " \n\t "}, 422),
        ({"input": []}, 422),
        ({"input": "a\x00b"}, 422),
        ({"input": "half \ud83d"}, 422),
        ({"input": "x" * 600_000}, 422),
        ({"input": "x" * 40_000_000}, 413),
        ({"input": 7}, 422),
        ({"input": [{"type": "image", "url": "x"}]}, 422),
        ({"input": "hi", "model": "other"}, 422),
        ({}, 422),
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_a_message_that_cannot_be_taken_is_refused_and_leaves_nothing(
    house: House, body: dict[str, object], status: int
) -> None:
    where = await house.conversation()
    answer = await house.ada.client.post(f"{where}/runs", json=body, headers=STREAM)
    assert answer.status == status
    assert answer.json["detail"].endswith((".", "?", ")"))
    assert (await house.ada.client.get(f"{where}/messages")).json["items"] == []


async def test_right_to_left_and_astral_text_comes_back_as_it_was(house: House) -> None:
    where = await house.conversation()
    text = "שלום \u202eabc\u202c 👩‍👩‍👧 \U0001f469 ﷽"
    answer = await house.say(f"[[say {text}]]", where)
    check_run(events_in(answer.body))
    said = (await house.ada.client.get(f"{where}/messages")).json["items"]
    assert said[0]["parts"][0]["text"] == f"[[say {text}]]"
    assert said[1]["parts"][0]["text"] == text


async def test_the_runs_of_others_do_not_exist(house: House) -> None:
    where = await house.conversation()
    answer = await house.say("[[say Secret]]", where)
    eve = await house.world.tenant("eve-of-runs")
    for method, path in (
        ("GET", run_of(answer)),
        ("GET", f"{run_of(answer)}/events"),
        ("POST", f"{run_of(answer)}/cancel"),
        ("GET", f"{where}/runs"),
        ("POST", f"{where}/runs"),
    ):
        body = {"input": "Let me in"} if method == "POST" and path.endswith("/runs") else None
        got = await eve.client.request(method, path, json=body)
        assert (got.status, got.code) == (404, "not_found"), path
    assert len((await house.ada.client.get(f"{where}/messages")).json["items"]) == 2


async def test_a_member_sees_only_their_own_runs_and_a_viewer_starts_none(house: House) -> None:
    where = await house.conversation()
    answer = await house.say("[[say Mine]]", where)
    editor = await house.world.member(house.ada, "editor")
    assert (await editor.get(run_of(answer))).status == 404
    assert (await editor.get(f"{where}/runs")).status == 404
    assert (await editor.post(f"{where}/runs", json={"input": "hi"})).status == 404
    viewer = await house.world.member(house.ada, "viewer")
    assert (await viewer.post(f"{where}/runs", json={"input": "hi"})).status == 403


async def test_more_streams_run_than_the_pool_has_connections(house: House) -> None:
    assert house.world.database.pool_size < 20
    conversations = [await house.conversation() for _ in range(20)]
    answers = await asyncio.gather(*(house.say("[[tokens 20 itl=5ms]]", where) for where in conversations))
    for answer in answers:
        check_run(events_in(answer.body))


async def test_a_published_version_answers_and_the_draft_waits(house: House) -> None:
    where = await house.conversation()
    agent = (await house.ada.client.get(where)).json["agent"].partition("/")[2]
    draft = events_in((await house.say("[[say Hi]]", where)).body)
    assert isinstance(draft[0], RunStarted)
    assert draft[0].version is None
    await house.ada.client.post(f"{house.ada.path}/agents/{agent}/versions")
    await house.ada.client.patch(f"{house.ada.path}/agents/{agent}", json={"instructions": "Otherwise."})
    published = events_in((await house.say("[[say Hi]]", where)).body)
    assert isinstance(published[0], RunStarted)
    assert published[0].version == 1


async def test_every_frame_is_valid_by_the_published_schema(house: House) -> None:
    schema = (await house.ada.client.get("/contract/v1/schema.json")).json
    answer = await house.say("[[think Hm]] [[call clock {}]] [[say Done]] [[fail after=2 overloaded]]")
    named = schema["discriminator"]["mapping"]
    for frame in split_frames(answer.body):
        event = json.loads(frame.partition(b"\ndata: ")[2])
        definition = schema["$defs"][named[event["type"]].rpartition("/")[2]]
        assert set(definition["required"]) <= set(event)
        assert set(event) <= set(definition["properties"])


async def test_a_token_that_may_read_conversations_cancels_no_run(house: House) -> None:
    where = await house.conversation()
    started = await house.ada.client.post(f"{where}/runs", json={"input": "[[stall 60s]]"})
    token = await house.world.token(house.ada.workspace, house.ada.owner, ["read:conversations"])
    reader = house.ada.client.as_(token)
    assert (await reader.get(started.headers["location"])).status == 200
    assert (await reader.post(f"{started.headers['location']}/cancel")).status == 403
    assert (await house.ada.client.get(started.headers["location"])).json["status"] == "running"


async def test_a_narrow_token_of_the_owner_does_not_reach_the_runs_of_others(house: House) -> None:
    editor_user = await house.world.join(house.ada.workspace, "editor")
    editor = house.ada.client.as_(await house.world.token(house.ada.workspace, editor_user))
    where = await house.conversation()
    agent = (await house.ada.client.get(where)).json["agent"].partition("/")[2]
    mine = (await editor.post(f"{house.ada.path}/agents/{agent}/conversations")).json["id"]
    started = await editor.post(f"/api/v1/conversations/{mine}/runs", json={"input": "[[say Private]]"})
    scopes = ["read:conversations", "run:agents"]
    narrow = house.ada.client.as_(await house.world.token(house.ada.workspace, house.ada.owner, scopes))
    assert (await narrow.get(started.headers["location"])).status == 404
    assert (await narrow.post(f"/api/v1/conversations/{mine}/runs", json={"input": "hi"})).status == 404
    assert (await house.ada.client.get(started.headers["location"])).status == 200


@pytest.mark.parametrize("body", [b"{}", b"[", b""])
async def test_who_may_not_come_in_is_told_so_before_their_message_is_looked_at(
    house: House, body: bytes
) -> None:
    where = await house.conversation()
    answer = await house.ada.client.as_(None).post(f"{where}/runs", body=body)
    assert answer.status == 401


async def test_a_conversations_runs_tell_how_each_answer_ended_newest_first(house: House) -> None:
    where = await house.conversation()
    for text in (
        "[[say Whole.]]",
        "[[say Cut]] [[finish length]]",
        "[[empty]]",
        "[[say Words]] [[fail auth]]",
    ):
        assert (await house.say(text, where)).status == 200
    page = (await house.ada.client.get(f"{where}/runs")).json
    assert page["next_cursor"] is None
    failed, empty, cut, whole = page["items"]
    assert [run["status"] for run in page["items"]] == ["failed", "finished", "finished", "finished"]
    assert [run["reason"] for run in page["items"]] == [None, "stop", "length", "stop"]
    assert failed["error"]["category"] == "auth"
    assert [notice["code"] for notice in empty["notices"]] == ["empty_answer"]
    assert cut["notices"] == whole["notices"] == []
    assert (await house.ada.client.get(f"/api/v1/runs/{cut['id']}")).json == cut
    first = (await house.ada.client.get(f"{where}/runs?limit=3")).json
    rest = (await house.ada.client.get(f"{where}/runs?limit=3&cursor={first['next_cursor']}")).json
    assert first["items"] + rest["items"] == page["items"]


async def test_a_runs_record_tells_its_model_and_when_the_first_word_came(house: House) -> None:
    answer = await house.say("[[think Hm]] [[stall 60ms]] [[tokens 500 itl=1ms]]")
    events = [json.loads(frame.partition(b"\ndata: ")[2]) for frame in split_frames(answer.body)]
    thoughts = {event["part"] for event in events if event.get("kind") == "reasoning"}
    word = next(
        event for event in events if event["type"] == "stream.chunk" and event["part"] not in thoughts
    )
    taken = datetime.fromisoformat(word["ts"]) - datetime.fromisoformat(events[0]["ts"])
    record = (await house.ada.client.get(run_of(answer))).json
    assert record["model"] == "scripted:test"
    assert record["reason"] == "stop"
    assert record["first_token_ms"] == round(taken.total_seconds() * 1000) > 0
