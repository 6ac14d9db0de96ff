"""An agent's AG-UI door over HTTP: who may come in, what is understood, and which conversation goes on."""

import base64
from typing import Any

import pytest

from tests.faces.ag_ui.reader import Client
from tests.http.client import Answer
from tests.web.conftest import House


async def agent(house: House, **changes: Any) -> str:
    """A new agent's own path."""
    conversation = (await house.ada.client.get(await house.conversation(**changes))).json
    return f"/{conversation['agent']}"


def said(text: Any, **more: Any) -> dict[str, Any]:
    """A RunAgentInput of one message."""
    messages = [{"id": "m1", "role": "user", "content": text}]
    return {"threadId": "t1", "runId": "r1", "messages": messages, "tools": [], "context": [], **more}


async def ask(house: House, path: str, body: Any, **headers: str) -> Client:
    """What a client makes of the answer."""
    answer = await house.ada.client.post(f"{path}/ag-ui", json=body, headers=headers)
    assert answer.status == 200, answer.body
    return Client(body["messages"]).read(answer.body)


def porch(client: Client) -> Any:
    """Our ids."""
    return client.events[0]["metadata"]["porch"]


async def messages_of(house: House, client: Client) -> list[Any]:
    """The conversation as the API has it."""
    path = f"/api/v1/conversations/{porch(client)['conversation']}/messages"
    return (await house.ada.client.get(path)).json["items"]


async def test_an_answer_streams_and_may_not_be_kept_by_caches(house: House) -> None:
    path = await agent(house)
    answer = await house.ada.client.post(f"{path}/ag-ui", json=said("[[say Hello]]"))
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert Client([]).read(answer.body).messages[-1]["content"] == "Hello"
    assert answer.headers["porch-run"] == porch(Client([]).read(answer.body))["run"]


async def test_strangers_and_tokens_for_other_things_are_refused(house: House) -> None:
    path = await agent(house)
    nobody: Answer = await house.ada.client.as_(None).post(f"{path}/ag-ui", json=said("Hi"))
    assert nobody.status == 401
    reader = await house.world.member(house.ada, "runner", ["read:agents"])
    assert (await reader.post(f"{path}/ag-ui", json=said("Hi"))).status == 403
    bob = await house.world.tenant("bob-of-ag-ui")
    assert (await bob.client.post(f"{path}/ag-ui", json=said("Hi"))).status == 404


async def test_the_conversation_goes_on_and_a_known_answer_places_the_next_message(house: House) -> None:
    path = await agent(house)
    first = await ask(house, path, said("[[say One]]"))
    history = [*first.messages, {"id": "m2", "role": "user", "content": "[[say Two]]"}]
    second = await ask(house, path, {**said(""), "messages": history})
    assert porch(second)["conversation"] == porch(first)["conversation"]
    # The client went back behind the first answer: a branch.
    again = [*first.messages, {"id": "m3", "role": "user", "content": "[[say Three]]"}]
    third = await ask(house, path, {**said(""), "messages": again})
    kept = await messages_of(house, third)
    parents = [message["parent"] for message in kept if message["role"] == "user"]
    assert parents == [None, kept[1]["id"], kept[1]["id"]]


async def test_a_message_alone_follows_the_head(house: House) -> None:
    path = await agent(house)
    await ask(house, path, said("[[say One]]"))
    second = await ask(house, path, said("[[say Two]]"))
    kept = await messages_of(house, second)
    assert kept[2]["parent"] == kept[1]["id"]


async def test_answers_of_another_conversation_place_nothing(house: House) -> None:
    path = await agent(house)
    first = await ask(house, path, said("[[say One]]"))
    history = [*first.messages, {"id": "m2", "role": "user", "content": "[[say Two]]"}]
    body = {**said(""), "threadId": "another", "messages": history}
    assert (await house.ada.client.post(f"{path}/ag-ui", json=body)).code == "not_found"


async def test_system_messages_and_context_are_told_to_the_agent(house: House) -> None:
    path = await agent(house)
    system = {"id": "s", "role": "system", "content": "[[say From the system]]"}
    question = {"id": "m1", "role": "user", "content": "Hello"}
    body = {**said(""), "messages": [system, question]}
    heard = await ask(house, path, body)
    assert "From the system" in heard.messages[-1]["content"]
    context = [{"description": "The page", "value": "[[say From the page]]"}]
    heard = await ask(house, await agent(house), said("Hello", context=context))
    assert "From the page" in heard.messages[-1]["content"]


async def test_what_the_agent_is_not_told_is_named(house: House) -> None:
    path = await agent(house)
    heard = await ask(house, path, said("[[say Hi]]", state={"page": 3}))
    assert heard.events[1]["value"]["code"] == "input_not_used"
    assert "state" in heard.events[1]["value"]["text"]


async def test_pictures_and_documents_come_as_parts(house: House) -> None:
    path = await agent(house)
    source = {"type": "data", "mimeType": "text/plain", "value": base64.b64encode(b"A lease.").decode()}
    content = [{"type": "text", "text": "[[say Read.]]"}, {"type": "document", "source": source}]
    heard = await ask(house, path, said(content))
    [question, _] = await messages_of(house, heard)
    assert [part["type"] for part in question["parts"]] == ["text", "file"]


URL = {"type": "url", "value": "ftp://example.org/a.png"}


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        ("  ", "/messages/0/content"),
        (None, "/messages/0/content"),
        ([], "/messages/0/content"),
        ([1], "/messages/0/content/0"),
        ([{"type": "video", "source": URL}], "/messages/0/content/0"),
        ([{"type": "image", "source": URL}], "/messages/0/content/0/source/value"),
        ([{"type": "image"}], "/messages/0/content/0/source"),
        ([{"type": "text", "text": 5}], "/messages/0/content/0/text"),
    ],
)
async def test_a_message_that_cannot_be_read_is_refused_at_its_place(
    house: House, content: Any, pointer: str
) -> None:
    answer = await house.ada.client.post(f"{await agent(house)}/ag-ui", json=said(content))
    assert answer.code == "invalid_input"
    assert answer.json["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": []},
        {"messages": [{"id": "a", "role": "assistant", "content": "Hi"}]},
        {"messages": [{"id": "run_1.call_1", "role": "tool", "toolCallId": "call_1", "content": "Yes"}]},
        {"messages": [{"id": "t", "role": "tool", "content": "Yes"}]},
        {"messages": [{"id": "t", "role": "tool", "toolCallId": "call_0", "content": "Yes"}]},
        {"resume": [{"interruptId": "apr_1", "status": "resolved"}]},
        {"threadId": ""},
        {"runId": ""},
        {"tools": [{"name": "clock"}, {"name": "clock"}]},
    ],
)
async def test_an_input_without_something_to_answer_is_refused(house: House, changes: Any) -> None:
    answer = await house.ada.client.post(f"{await agent(house)}/ag-ui", json={**said("Hi"), **changes})
    assert answer.code == "invalid_input"


async def test_a_busy_conversation_says_so(house: House) -> None:
    path = await agent(house)
    where = porch(await ask(house, path, said("[[say Hi]]")))["conversation"]
    started = await house.ada.client.post(f"/api/v1/conversations/{where}/runs", json={"input": "[[stall]]"})
    assert (await house.ada.client.post(f"{path}/ag-ui", json=said("Hi"))).code == "conversation_busy"
    await house.ada.client.post(f"/api/v1/runs/{started.json['run']}/cancel")


async def test_a_message_sent_twice_under_one_key_is_answered_once(house: House) -> None:
    path = await agent(house)
    first = await ask(house, path, said("[[say Hi]]"), **{"Idempotency-Key": "k1"})
    second = await ask(house, path, said("[[say Hi]]"), **{"Idempotency-Key": "k1"})
    assert first.events == second.events
    assert len(await messages_of(house, first)) == 2
