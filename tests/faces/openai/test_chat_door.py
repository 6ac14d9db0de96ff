"""OpenAI's own client, unmodified, has chat completions of a real server."""

import asyncio
from typing import Any

import pytest
from openai import (
    APIError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
    RateLimitError,
)
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from tests.faces.openai.conftest import Door

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}


def said(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


async def test_text_streams_and_its_usage_follows(door: Door) -> None:
    stream = await door.openai.chat.completions.create(
        model=door.model,
        messages=said("[[think A greeting.]] [[say Good evening to you.]]"),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Good evening to you."
    thoughts = [c.choices[0].delta.model_extra or {} for c in chunks if c.choices]
    assert "".join(extra.get("reasoning_content", "") for extra in thoughts) == "A greeting."
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 6


async def test_the_same_comes_as_a_whole(door: Door) -> None:
    answer = await door.openai.chat.completions.create(
        model=door.model, messages=said("[[say Good evening.]]"), max_completion_tokens=50, seed=1, stop=["x"]
    )
    [choice] = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("Good evening.", "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.model == door.model


async def test_the_synchronous_client_streams_too(door: Door) -> None:
    def ask() -> str:
        found = door.server.credentials
        with OpenAI(base_url=f"{door.server.url}/openai/v1", api_key=found.token, max_retries=0) as client:
            stream = client.chat.completions.create(
                model=door.model, messages=said("[[say Good evening.]]"), stream=True
            )
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert await asyncio.to_thread(ask) == "Good evening."


async def test_a_callers_tools_are_called_and_their_results_read(door: Door) -> None:
    messages = said('[[call weather {"at": "here"}]] [[call clock]] [[say It is {result}.]]')
    first = await door.openai.chat.completions.create(model=door.model, messages=messages, tools=[WEATHER])
    assert first.choices[0].finish_reason == "tool_calls"
    [made] = first.choices[0].message.tool_calls or []
    assert made.type == "function"
    assert (made.function.name, made.function.arguments) == ("weather", '{"at":"here"}')
    messages.append(first.choices[0].message.model_dump(exclude_none=True))  # pyright: ignore[reportArgumentType]  # as their guide does it
    messages.append({"role": "tool", "tool_call_id": made.id, "content": "raining"})
    second = await door.openai.chat.completions.create(model=door.model, messages=messages, tools=[WEATHER])
    assert second.choices[0].finish_reason in ("stop", "tool_calls")
    assert second.choices[0].message.role == "assistant"


async def test_a_result_is_read_by_the_model(door: Door) -> None:
    call: Any = {
        "id": "c1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"at":"here"}'},
    }
    answer = await door.openai.chat.completions.create(
        model=door.model,
        messages=[
            {"role": "user", "content": '[[call weather {"at": "here"}]] [[say It is {result}.]]'},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "raining"},
        ],
        tools=[WEATHER],
    )
    assert answer.choices[0].message.content == "It is raining."


async def test_their_stream_helper_puts_a_tool_call_together(door: Door) -> None:
    text = '[[say Let me see.]] [[call weather {"at": "a rather long name of a place"}]]'
    async with door.openai.chat.completions.stream(
        model=door.model, messages=said(text), tools=[WEATHER]
    ) as stream:
        final = await stream.get_final_completion()
    [made] = final.choices[0].message.tool_calls or []
    assert made.function.arguments == '{"at": "a rather long name of a place"}'
    assert final.choices[0].message.content == "Let me see."


async def test_the_agents_own_tools_stay_inside(door: Door) -> None:
    answer = await door.openai.chat.completions.create(
        model=door.model, messages=said("[[call clock]] [[say It is done.]]")
    )
    [choice] = answer.choices
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == (
        "It is done.",
        None,
        "stop",
    )


async def test_a_call_or_a_refusal_has_no_content_beside_it_streamed_or_not(door: Door) -> None:
    for script, content in (("[[call weather]]", None), ("[[refuse No.]]", None), ("[[empty]]", "")):
        whole = await door.openai.chat.completions.create(
            model=door.model, messages=said(script), tools=[WEATHER]
        )
        async with door.openai.chat.completions.stream(
            model=door.model, messages=said(script), tools=[WEATHER]
        ) as stream:
            streamed = await stream.get_final_completion()
        assert whole.choices[0].message.content == streamed.choices[0].message.content == content


async def test_what_is_elsewhere_among_openais_doors_is_not_found_in_their_shape(door: Door) -> None:
    async with door.client(path=f"/@{door.workspace}/actor/v1") as one:
        for client in (door.openai, one):
            with pytest.raises(NotFoundError) as raised:
                await client.embeddings.create(model=door.model, input="Hi")
            assert raised.value.code == "unknown_url"
            with pytest.raises(NotFoundError) as raised:
                await client.files.create(file=b"Hi", purpose="assistants")
            assert raised.value.code == "unknown_url"
            with pytest.raises(NotFoundError) as raised:
                await client.chat.completions.list()
            assert "GET '" in raised.value.message
    async with door.client("porch_pat_wrong") as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.embeddings.create(model=door.model, input="Hi")


class Place(BaseModel):
    city: str
    people: int


async def test_structured_output_is_parsed_by_their_client(door: Door) -> None:
    answer = await door.openai.chat.completions.parse(
        model=door.model,
        messages=said('[[say {"city": "Bonn", "people": 330000}]]'),
        response_format=Place,
    )
    assert answer.choices[0].message.parsed == Place(city="Bonn", people=330000)


@pytest.mark.parametrize(
    ("script", "reason"),
    [("[[say So]] [[finish length]]", "length"), ("[[finish content_filter]]", "content_filter")],
)
async def test_finish_reasons_are_theirs(door: Door, script: str, reason: str) -> None:
    answer = await door.openai.chat.completions.create(model=door.model, messages=said(script))
    assert answer.choices[0].finish_reason == reason


async def test_a_refusal_is_a_refusal(door: Door) -> None:
    answer = await door.openai.chat.completions.create(model=door.model, messages=said("[[refuse No.]]"))
    message = answer.choices[0].message
    assert (message.refusal, message.content) == ("No.", None)


PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


async def test_a_picture_and_a_file_come_as_data_urls(door: Door) -> None:
    content: Any = [
        {"type": "text", "text": "[[say Seen.]]"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
        {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,SGk="}},
    ]
    answer = await door.openai.chat.completions.create(
        model=door.model, messages=[{"role": "user", "content": content}]
    )
    assert answer.choices[0].message.content == "Seen."
    lies = {"type": "image_url", "image_url": {"url": PIXEL.replace("image/png", "image/jpeg")}}
    liar: Any = [{"role": "user", "content": [lies]}]
    with pytest.raises(BadRequestError):
        await door.openai.chat.completions.create(model=door.model, messages=liar)


async def test_an_error_in_mid_stream_is_raised_with_its_code(door: Door) -> None:
    stream = await door.openai.chat.completions.create(
        model=door.model, messages=said("[[fail after=3 overloaded]]"), stream=True
    )
    words: list[str] = []

    async def read() -> None:
        async for chunk in stream:
            words.append(chunk.choices[0].delta.content or "")

    with pytest.raises(APIError) as raised:
        await read()
    assert "".join(words) == "The porch is"
    assert raised.value.type == "server_error"
    assert "Try again" in raised.value.message


@pytest.mark.parametrize(
    ("script", "error", "code"),
    [
        ("[[fail 429]]", RateLimitError, "rate_limit_exceeded"),
        ("[[fail context_too_long]]", BadRequestError, "context_length_exceeded"),
        ("[[cut after=0]]", InternalServerError, "cut"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_before_the_first_word_is_a_status(
    door: Door, script: str, error: type[APIStatusError], code: str, *, stream: bool
) -> None:
    create: Any = door.openai.chat.completions.create
    with pytest.raises(error) as raised:
        await create(model=door.model, messages=said(script), stream=stream)
    assert raised.value.code == code
    respond: Any = door.openai.responses.create
    with pytest.raises(error) as raised:
        await respond(model=door.model, input=script, stream=stream)
    assert raised.value.code == code


async def test_such_an_error_comes_again_under_its_key(door: Door) -> None:
    create: Any = door.openai.chat.completions.create
    for stream in (True, True):
        with pytest.raises(RateLimitError):
            await create(
                model=door.model,
                messages=said("[[fail 429]]"),
                stream=stream,
                extra_headers={"Idempotency-Key": "once-3"},
            )


async def test_an_answer_that_begins_anew_ends_the_stream_with_an_error(door: Door) -> None:
    await door.agent("faller", model=["scripted:test", "scripted:small"])
    stream = await door.openai.chat.completions.create(
        model=f"@{door.workspace}/faller", messages=said("[[fail after=3 overloaded]]"), stream=True
    )
    with pytest.raises(APIError) as raised:
        async for _ in stream:
            pass
    assert raised.value.code == "answer_restarted"


async def test_a_wrong_token_is_an_authentication_error(door: Door) -> None:
    async with door.client("porch_pat_wrong") as stranger:
        with pytest.raises(AuthenticationError) as raised:
            await stranger.chat.completions.create(model=door.model, messages=said("Hi"))
    assert raised.value.code == "invalid_api_key"


@pytest.mark.parametrize("model", ["@elsewhere/actor", "gpt-5", "@{ws}/nobody", "@{ws}/No one\x00"])
async def test_what_is_no_agent_of_the_token_is_not_found(door: Door, model: str) -> None:
    with pytest.raises(NotFoundError) as raised:
        await door.openai.chat.completions.create(model=model.format(ws=door.workspace), messages=said("Hi"))
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


IMAGE: Any = [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/a.png"}}]
LOUD: Any = {"type": "function", "function": {"name": "clock"}}


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"temperature": 3}, "temperature"),
        ({"extra_body": {"surprise": 1}}, "surprise"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "messages"),
        ({"messages": [{"role": "user", "content": IMAGE}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": "a\x00b"}]}, None),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"tools": [LOUD]}, "tools[0]"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [LOUD], "tool_choice": {"type": "custom", "custom": {"name": "x"}}}, "tool_choice"),
    ],
)
async def test_what_cannot_be_had_is_refused_by_name(door: Door, given: Any, param: str | None) -> None:
    asked: dict[str, Any] = {"model": door.model, "messages": said("Hi"), **given}
    with pytest.raises(BadRequestError) as raised:
        await door.openai.chat.completions.create(**asked)
    assert raised.value.type == "invalid_request_error"
    assert param is None or raised.value.param == param


async def test_an_agents_own_address_is_a_base_url(door: Door) -> None:
    async with door.client(path=f"/@{door.workspace}/actor/v1") as client:
        assert [model.id async for model in client.models.list()] == [door.model]
        answer = await client.chat.completions.create(model="actor", messages=said("[[say Hi.]]"))
        assert answer.choices[0].message.content == "Hi."
        with pytest.raises(NotFoundError):
            await client.chat.completions.create(model="gpt-5", messages=said("Hi"))
    async with door.client(path="/@elsewhere/actor/v1") as client:
        with pytest.raises(NotFoundError):
            await client.chat.completions.create(model="actor", messages=said("Hi"))


async def test_an_idempotency_key_gives_the_first_answer_again(door: Door) -> None:
    async def ask(text: str, **given: Any) -> Any:
        create: Any = door.openai.chat.completions.with_raw_response.create
        return await create(
            model=door.model, messages=said(text), extra_headers={"Idempotency-Key": "once-1"}, **given
        )

    first, again = await ask("[[say Hi.]]"), await ask("[[say Hi.]]")
    assert first.parse().id == again.parse().id
    assert again.headers["idempotency-replayed"] == "true"
    with pytest.raises(BadRequestError):
        await ask("[[say Something else.]]")


async def test_a_streamed_answer_comes_again_under_its_key_as_a_stream(door: Door) -> None:
    async def ask() -> list[Any]:
        stream = await door.openai.chat.completions.create(
            model=door.model,
            messages=said("[[say Hi there.]]"),
            stream=True,
            extra_headers={"Idempotency-Key": "once-2"},
        )
        return [chunk async for chunk in stream]

    first, again = await ask(), await ask()
    assert {chunk.id for chunk in first} == {chunk.id for chunk in again}
    words = ["".join(c.choices[0].delta.content or "" for c in chunks) for chunks in (first, again)]
    assert words == ["Hi there.", "Hi there."]


async def test_a_token_for_one_agent_sees_and_reaches_that_one_alone(door: Door) -> None:
    own = await door.agent("mine")
    token = await door.api("POST", "/tokens", {"name": "narrow", "scopes": [f"run:agents:{own['id']}"]})
    async with door.client(token["token"]) as client:
        assert [model.id async for model in client.models.list()] == [f"@{door.workspace}/mine"]
        answer = await client.chat.completions.create(
            model=f"@{door.workspace}/mine", messages=said("[[say Hi.]]")
        )
        assert answer.choices[0].message.content == "Hi."
        with pytest.raises(NotFoundError):
            await client.chat.completions.create(model=door.model, messages=said("Hi"))


async def test_a_token_that_may_not_run_agents_is_refused(door: Door) -> None:
    token = await door.api("POST", "/tokens", {"name": "reader", "scopes": ["read:agents"]})
    async with door.client(token["token"]) as client:
        with pytest.raises(PermissionDeniedError):
            await client.chat.completions.create(model=door.model, messages=said("Hi"))


async def test_models_are_the_agents(door: Door) -> None:
    assert door.model in [model.id async for model in door.openai.models.list()]
    assert (await door.openai.models.retrieve(door.model)).owned_by == door.workspace
    with pytest.raises(NotFoundError):
        await door.openai.models.retrieve(f"@{door.workspace}/nobody")


async def test_calls_leave_no_conversation_in_the_list(door: Door) -> None:
    await door.openai.chat.completions.create(model=door.model, messages=said("[[say Hi.]]"))
    assert (await door.api("GET", "/agents/actor/conversations"))["items"] == []
