"""An agent's AI SDK door over HTTP: who may come in, what is understood, and which conversation goes on."""

from typing import Any

import pytest

from tests.faces.ag_ui.test_routes import agent
from tests.faces.ai_sdk.reader import Client
from tests.web.conftest import House


def text(words: str, name: str = "m1", role: str = "user") -> dict[str, Any]:
    """A message of words."""
    return {"id": name, "role": role, "parts": [{"type": "text", "text": words}]}


def chat(*messages: Any, **more: Any) -> dict[str, Any]:
    """The body of a chat's request."""
    return {"id": "c1", "trigger": "submit-message", "messages": list(messages), **more}


async def ask(house: House, path: str, body: Any, **headers: str) -> Client:
    """What a client makes of the answer."""
    answer = await house.ada.client.post(f"{path}/ai-sdk", json=body, headers=headers)
    assert answer.status == 200, answer.body
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    return Client().read(answer.body)


async def messages_of(house: House, client: Client) -> list[Any]:
    """The conversation as the API has it."""
    path = f"/api/v1/conversations/{client.metadata['porch']['conversation']}/messages"
    return (await house.ada.client.get(path)).json["items"]


async def test_strangers_and_tokens_for_other_things_are_refused(house: House) -> None:
    path = await agent(house)
    nobody, reader = (
        house.ada.client.as_(None),
        await house.world.member(house.ada, "runner", ["read:agents"]),
    )
    bob = (await house.world.tenant("bob-of-ai-sdk")).client
    for client, status in ((nobody, 401), (reader, 403), (bob, 404)):
        assert (await client.post(f"{path}/ai-sdk", json=chat(text("Hi")))).status == status
        assert (await client.get(f"{path}/ai-sdk/c1/stream")).status == status


async def test_nobody_resumes_the_chat_of_somebody_else(house: House) -> None:
    path = await agent(house)
    where = (await ask(house, path, chat(text("[[say Hi]]")))).metadata["porch"]["conversation"]
    runner = await house.world.member(house.ada, "runner", ["run:agents"])
    assert (await runner.get(f"{path}/ai-sdk/c1/stream")).status == 204
    assert (await runner.get(f"{path}/ai-sdk/{where}/stream")).status == 404


async def test_the_answer_before_places_the_next_message(house: House) -> None:
    path = await agent(house)
    first = await ask(house, path, chat(text("[[say One]]")))
    answered = {"id": first.name, "role": "assistant", "parts": first.parts}
    second = await ask(house, path, chat(text("[[say One]]"), answered, text("[[say Two]]", "m2")))
    kept = await messages_of(house, second)
    assert [message["parent"] for message in kept] == [None, *(message["id"] for message in kept[:-1])]


async def test_an_answer_is_regenerated_by_its_runs_id_or_else_the_last_one(house: House) -> None:
    path = await agent(house)
    first = await ask(house, path, chat(text("[[say One]]")))
    named = chat(text("[[say One]]"), trigger="regenerate-message", messageId=first.name)
    second = await ask(house, path, named)
    third = await ask(house, path, chat(text("[[say One]]"), trigger="regenerate-message"))
    assert len({first.name, second.name, third.name}) == 3
    question, *answers = await messages_of(house, first)
    assert [answer["parent"] for answer in answers] == [question["id"]] * 3


async def test_an_empty_chat_has_nothing_to_regenerate(house: House) -> None:
    body = chat(text("Hi"), trigger="regenerate-message")
    assert (await house.ada.client.post(f"{await agent(house)}/ai-sdk", json=body)).code == "not_found"


async def test_system_messages_are_added_to_the_instructions(house: House) -> None:
    path = await agent(house)
    heard = await ask(house, path, chat(text("[[say Mind.]]", "s", "system"), text("Hello")))
    assert "Mind." in heard.parts[-1]["text"]


async def test_files_come_as_data_urls(house: House) -> None:
    file = {
        "type": "file",
        "mediaType": "text/plain",
        "filename": "a.txt",
        "url": "data:text/plain;base64,QQ==",
    }
    message = text("[[say Read.]]")
    message["parts"].append(file)
    [question, _] = await messages_of(house, await ask(house, await agent(house), chat(message)))
    assert [part["type"] for part in question["parts"]] == ["text", "file"]


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [
        ([], "/messages/0/parts"),
        ([{"type": "text", "text": " "}], "/messages/0/parts"),
        ([{"type": "text"}], "/messages/0/parts/0/text"),
        (
            [{"type": "file", "mediaType": "image/png", "url": "ftp://a.example/b.png"}],
            "/messages/0/parts/0/url",
        ),
        ([{"type": "reasoning", "text": "Hm"}], "/messages/0/parts/0"),
    ],
)
async def test_a_message_that_cannot_be_read_is_refused_at_its_place(
    house: House, parts: Any, pointer: str
) -> None:
    body = chat({"id": "m", "role": "user", "parts": parts})
    answer = await house.ada.client.post(f"{await agent(house)}/ai-sdk", json=body)
    assert answer.code == "invalid_input"
    assert answer.json["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("messages", [[], [text("Hi", role="assistant")]])
async def test_a_body_without_a_question_is_refused(house: House, messages: Any) -> None:
    answer = await house.ada.client.post(f"{await agent(house)}/ai-sdk", json=chat(*messages))
    assert answer.code == "invalid_input"


async def test_a_message_sent_twice_under_one_key_is_answered_once(house: House) -> None:
    path = await agent(house)
    first = await ask(house, path, chat(text("[[say Hi]]")), **{"Idempotency-Key": "k1"})
    second = await ask(house, path, chat(text("[[say Hi]]")), **{"Idempotency-Key": "k1"})
    assert first.chunks == second.chunks


async def test_a_client_of_version_6_says_so_and_is_sent_nothing_it_would_fail_on(house: House) -> None:
    path = await agent(house, model=["scripted:test", "scripted:small"])
    failing = chat(text("[[fail after=3 overloaded]]"))
    new = await ask(house, path, failing)
    old = await ask(house, path, {**failing, "id": "c2"}, **{"Porch-Ai-Sdk": "6"})
    assert [len(client.named("reset-step")) for client in (new, old)] == [1, 0]
    assert [[part.get("text") for part in client.parts].count("The porch is") for client in (new, old)] == [
        1,
        2,
    ]
