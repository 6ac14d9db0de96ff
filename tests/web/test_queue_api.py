"""Two messages at once over HTTP: at every door, on two servers, with keys, guests and what refuses."""

import asyncio
import re
from collections.abc import AsyncGenerator
from itertools import pairwise
from typing import Any

import pytest

from porch.agents import conversations
from porch.contract.definition import Definition
from porch.contract.events import RunFinished
from porch.runs.queue import MAX_WAITING
from tests.conftest import FreshUrls
from tests.faces.ag_ui.reader import Client as AgUiClient
from tests.http.client import Answer, Client
from tests.http.visitors import SITE, embed, visit
from tests.laws import check_run
from tests.runs.conftest import events_in
from tests.web.conftest import STREAM, House, furnished

SHORT = "[[say One.]] [[stall 0.3s]]"
ENDLESS = "[[say One.]] [[stall]]"


@pytest.fixture
async def houses(fresh_urls: FreshUrls) -> AsyncGenerator[tuple[House, House]]:
    """Two servers on one database."""
    urls = await fresh_urls()
    async with furnished(urls, {}) as one, furnished(urls, {}) as two:
        yield one, two


async def send(client: Client, where: str, text: str, **headers: str) -> Answer:
    return await client.post(f"{where}/runs", json={"input": text}, headers=headers)


async def stop(client: Client, run: str) -> None:
    assert (await client.post(f"/api/v1/runs/{run}/cancel")).status == 202


async def events_of(client: Client, run: str) -> list[Any]:
    events = events_in((await client.get(f"/api/v1/runs/{run}/events")).body)
    check_run(events)
    return events


async def test_a_second_message_is_acknowledged_listed_and_answered(house: House) -> None:
    where = await house.conversation(concurrency="queue")
    client = house.ada.client
    shown = (await client.get(where)).json
    assert (shown["concurrency"], shown["waiting"]) == ("queue", 0)
    first = (await send(client, where, ENDLESS)).json
    second = await send(client, where, "[[say Two.]]")
    assert (second.status, second.json["status"]) == (202, "queued")
    assert first["status"] == "running"
    assert (await client.get(where)).json["waiting"] == 1
    [waiting] = (await client.get(f"{where}/queue")).json["items"]
    assert waiting["run"] == second.json["run"]
    assert waiting["message"] == second.json["message"]
    assert waiting["parts"] == [{"type": "text", "text": "[[say Two.]]"}]
    assert waiting["place"] == "head"
    assert (await client.get(f"/api/v1/runs/{waiting['run']}")).json["status"] == "queued"
    listed = (await client.get(f"{where}/runs")).json["items"]
    assert [(run["id"], run["status"]) for run in listed] == [
        (second.json["run"], "queued"),
        (first["run"], "running"),
    ]
    said = (await client.get(f"{where}/messages")).json["items"]
    assert [message["id"] for message in said] == [first["message"]]
    assert b"Two" not in (await client.get(f"{where}/export")).body
    await stop(client, first["run"])
    assert isinstance((await events_of(client, second.json["run"]))[-1], RunFinished)
    assert (await client.get(f"{where}/queue")).json["items"] == []


async def test_what_is_at_work_and_what_waits_is_told_as_of_one_moment(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = await house.conversation(concurrency="queue")
    client = house.ada.client
    first = (await send(client, where, ENDLESS)).json["run"]
    second = (await send(client, where, "[[say Two.]]")).json["run"]
    agent_of = conversations.agent_of

    async def late(*given: Any) -> Definition:
        await stop(client, first)
        await events_of(client, second)
        return await agent_of(*given)

    monkeypatch.setattr(conversations, "agent_of", late)
    shown = (await client.get(where)).json
    assert (shown["active_run"], shown["waiting"]) == (first, 1)


async def test_twenty_at_once_on_two_servers_are_answered_in_order_each_once(
    houses: tuple[House, House],
) -> None:
    one, two = houses
    other = Client(two.world.app, one.ada.client.token)
    where = await one.conversation(concurrency="queue")
    clients = [one.ada.client, other]
    answers = await asyncio.gather(
        *(send(clients[at % 2], where, f"[[say Number {at}.]] [[stall 0.02s]]") for at in range(20))
    )
    taken = [answer.json["run"] for answer in answers if answer.status == 202]
    refused = [answer.code for answer in answers if answer.status != 202]
    assert len(taken) >= MAX_WAITING
    assert set(refused) <= {"queue_full", "conflict"}
    told = await asyncio.gather(*(events_of(clients[at % 2], run) for at, run in enumerate(taken)))
    spans = sorted((events[0].ts, events[-1].ts) for events in told)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    said = (await other.get(f"{where}/messages?limit=200")).json["items"]
    head = (await other.get(where)).json["head"]
    by_id = {message["id"]: message for message in said}
    branch: list[Any] = []
    while head:
        branch.insert(0, by_id[head])
        head = by_id[head]["parent"]
    assert len(branch) == len(said) == 2 * len(taken)
    assert [message["role"] for message in branch] == ["user", "assistant"] * len(taken)
    for question, answer in zip(branch[::2], branch[1::2], strict=True):
        assert question["run"] == answer["run"]
        number = re.search(r"Number \d+", question["parts"][0]["text"])
        assert number
        assert answer["parts"][0]["text"].startswith(number[0])


async def test_the_same_key_is_the_same_waiting_message(house: House) -> None:
    where = await house.conversation(concurrency="queue")
    client = house.ada.client
    first = (await send(client, where, ENDLESS)).json
    key = {"Idempotency-Key": "again"}
    one = await send(client, where, "[[say Two.]]", **key)
    two = await send(client, where, "[[say Two.]]", **key)
    assert one.json == two.json
    assert two.headers["idempotency-replayed"] == "true"
    assert len((await client.get(f"{where}/queue")).json["items"]) == 1
    following = asyncio.create_task(send(client, where, "[[say Two.]]", **key, **STREAM))
    await stop(client, first["run"])
    assert b"run.finished" in (await following).body


async def test_what_is_refused_says_when_to_come_again(house: House) -> None:
    client = house.ada.client
    where = await house.conversation(concurrency="reject")
    first = (await send(client, where, ENDLESS)).json
    answer = await send(client, where, "Hello.")
    assert (answer.status, answer.code) == (409, "conversation_busy")
    assert int(answer.headers["retry-after"]) >= 1
    await stop(client, first["run"])


async def test_a_conversation_in_which_somebody_waits_is_neither_deleted_nor_moved(house: House) -> None:
    where = await house.conversation(concurrency="queue")
    client = house.ada.client
    first = (await send(client, where, ENDLESS)).json
    second = (await send(client, where, "[[stall]]")).json
    assert (await client.delete(where)).status == 409
    await stop(client, second["run"])
    assert (await client.delete(where)).status == 409
    await stop(client, first["run"])
    await events_of(client, first["run"])
    assert (await client.delete(where)).status == 204


async def test_an_agent_goes_when_nobody_waits_for_it_any_more(house: House) -> None:
    where = await house.conversation(concurrency="queue")
    client = house.ada.client
    agent = f"{house.ada.path}/agents/{(await client.get(where)).json['agent_id']}"
    first = (await send(client, where, ENDLESS)).json
    second = (await send(client, where, "[[say Two.]]")).json
    assert (await client.delete(agent)).status == 409
    for run in (second, first):
        await stop(client, run["run"])
        await events_of(client, run["run"])
    assert (await client.delete(agent)).status == 204
    assert (await client.get(f"/api/v1/runs/{second['run']}")).status == 404


async def test_a_queue_is_nobody_elses(house: House) -> None:
    where = await house.conversation(concurrency="queue")
    first = (await send(house.ada.client, where, ENDLESS)).json
    second = (await send(house.ada.client, where, "Mine.")).json
    bob = (await house.world.tenant("bob-of-the-queue")).client
    for method, path in (
        ("get", f"{where}/queue"),
        ("get", f"/api/v1/runs/{second['run']}"),
        ("get", f"/api/v1/runs/{second['run']}/events"),
        ("post", f"/api/v1/runs/{second['run']}/cancel"),
    ):
        assert (await getattr(bob, method)(path)).status == 404, path
    for run in (second, first):
        await stop(house.ada.client, run["run"])


async def test_a_guest_waits_in_its_own_conversation_and_is_occupied_elsewhere(house: House) -> None:
    guest = await visit(house.world.app, await embed(house.ada, SITE, concurrency="queue"))
    where, elsewhere = await guest.begin(), await guest.begin()
    first = (await guest.ask("POST", f"{where}/runs", json={"input": ENDLESS})).json
    second = await guest.ask("POST", f"{where}/runs", json={"input": "[[say Two.]]"})
    assert (second.status, second.json["status"]) == (202, "queued")
    assert (await guest.ask("POST", f"{elsewhere}/runs", json={"input": "Hi"})).status == 429
    assert len((await guest.ask("GET", f"{where}/queue")).json["items"]) == 1
    assert (await guest.ask("POST", f"/api/v1/runs/{first['run']}/cancel")).status == 202
    answered = await guest.ask("GET", f"/api/v1/runs/{second.json['run']}/events")
    assert b"run.finished" in answered.body


def ag_ui(text: str) -> dict[str, Any]:
    messages = [{"id": f"m-{text}", "role": "user", "content": text}]
    return {"threadId": "t1", "runId": f"r-{text}", "messages": messages, "tools": [], "context": []}


def ai_sdk(text: str) -> dict[str, Any]:
    message = {"id": f"m-{text}", "role": "user", "parts": [{"type": "text", "text": text}]}
    return {"id": "t1", "trigger": "submit-message", "messages": [message]}


@pytest.mark.parametrize(("door", "body"), [("ag-ui", ag_ui), ("ai-sdk", ai_sdk)])
async def test_a_thread_takes_a_second_message_and_its_stream_begins_late(
    house: House, door: str, body: Any
) -> None:
    agent = (await house.ada.client.get(await house.conversation(concurrency="queue"))).json["agent"]
    path = f"/{agent}/{door}"
    first = asyncio.create_task(house.ada.client.post(path, json=body(SHORT)))
    async with asyncio.timeout(10):
        while not house.runs.active:
            await asyncio.sleep(0.01)
    second = await house.ada.client.post(path, json=body("[[say Two.]]"))
    assert second.status == 200
    assert b"Two." in second.body
    assert b"One." in (await first).body
    if door == "ag-ui":
        assert AgUiClient([]).read(second.body).messages[-1]["content"] == "Two."


async def test_responses_that_go_on_from_one_wait_for_each_other_and_completions_never_do(
    house: House,
) -> None:
    client = house.ada.client
    model = (await client.get(await house.conversation(concurrency="queue"))).json["agent"]

    async def respond(text: str, **more: Any) -> Answer:
        return await client.post("/openai/v1/responses", json={"model": model, "input": text, **more})

    first = (await respond("[[say One.]]")).json
    both = await asyncio.gather(
        *(respond(f"[[say {n}.]] [[stall 0.2s]]", previous_response_id=first["id"]) for n in ("Two", "Three"))
    )
    assert [answer.status for answer in both] == [200, 200]
    assert [b"Two." in both[0].body, b"Three." in both[1].body] == [True, True]
    asked = {"model": model, "messages": [{"role": "user", "content": "[[say Hi.]] [[stall 0.2s]]"}]}
    many = await asyncio.gather(*(client.post("/openai/v1/chat/completions", json=asked) for _ in range(3)))
    assert [answer.status for answer in many] == [200] * 3
