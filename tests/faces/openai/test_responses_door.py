"""OpenAI's own client, unmodified, has responses of a real server."""

from typing import Any

import aiohttp
import pytest
from openai import APIError, APIStatusError, BadRequestError, NotFoundError
from pydantic import BaseModel

from tests.faces.openai.conftest import Door

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    "strict": False,
}


async def test_their_stream_helper_puts_a_response_together(door: Door) -> None:
    text = "[[think A greeting.]] [[say Good evening to you.]]"
    async with door.openai.responses.stream(model=door.model, input=text) as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert "".join(deltas) == final.output_text == "Good evening to you."
    assert final.status == "completed"
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.usage is not None
    assert final.usage.output_tokens == 6


async def test_a_callers_tool_is_called_and_the_response_goes_on_with_its_result(door: Door) -> None:
    first = await door.openai.responses.create(
        model=door.model,
        input='[[call clock]] [[call weather {"at": "here"}]] [[say It is {result}.]]',
        tools=[WEATHER],
        metadata={"for": "me"},
    )
    [made] = first.output
    assert made.type == "function_call"
    assert (made.name, made.arguments) == ("weather", '{"at": "here"}')
    assert first.metadata == {"for": "me"}
    second = await door.openai.responses.create(
        model=door.model,
        previous_response_id=first.id,
        input=[{"type": "function_call_output", "call_id": made.call_id, "output": "raining"}],
        tools=[WEATHER],
    )
    assert second.output_text == "It is raining."
    assert second.previous_response_id == first.id


async def test_items_of_a_conversation_may_be_sent_whole(door: Door) -> None:
    first = await door.openai.responses.create(
        model=door.model, input="[[call weather]] [[say It is {result}.]]", tools=[WEATHER]
    )
    [made] = first.output
    assert made.type == "function_call"
    items: Any = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "[[call weather]] [[say It is {result}.]]"}],
        },
        made.model_dump(),
        {"type": "function_call_output", "call_id": made.call_id, "output": "sunny"},
    ]
    second = await door.openai.responses.create(model=door.model, input=items, store=False)
    assert second.output_text == "It is sunny."


async def test_a_stream_of_a_call_ends_complete(door: Door) -> None:
    stream = await door.openai.responses.create(
        model=door.model, input='[[call weather {"at": "here"}]]', tools=[WEATHER], stream=True
    )
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output[0].type == "function_call"


class Place(BaseModel):
    city: str


async def test_structured_output_is_parsed_by_their_client(door: Door) -> None:
    answer = await door.openai.responses.parse(
        model=door.model, input='[[say {"city": "Bonn"}]]', text_format=Place
    )
    assert answer.output_parsed == Place(city="Bonn")


async def test_a_stored_response_can_be_fetched_and_one_that_was_not_cannot(door: Door) -> None:
    kept = await door.openai.responses.create(model=door.model, input="[[say Hi.]]")
    again = await door.openai.responses.retrieve(kept.id)
    assert again.model_dump() == kept.model_dump()
    passing = await door.openai.responses.create(model=door.model, input="[[say Hi.]]", store=False)
    for unknown in (passing.id, "resp_" + "0" * 32, "resp_x"):
        with pytest.raises(NotFoundError):
            await door.openai.responses.retrieve(unknown)
        with pytest.raises(NotFoundError):
            await door.openai.responses.create(model=door.model, input="Hi", previous_response_id=unknown)


async def test_a_deleted_response_is_not_found_again_and_those_after_it_are(door: Door) -> None:
    first = await door.openai.responses.create(model=door.model, input="[[say One.]]")
    second = await door.openai.responses.create(
        model=door.model, input="[[say Two.]]", previous_response_id=first.id
    )
    async with door.client(path=f"/@{door.workspace}/actor/v1") as client:
        await client.responses.delete(first.id)
    for again in (door.openai.responses.retrieve, door.openai.responses.delete):
        with pytest.raises(NotFoundError) as raised:
            await again(first.id)
        assert raised.value.code == "response_not_found"
    with pytest.raises(NotFoundError):
        await door.openai.responses.create(model=door.model, input="Hi", previous_response_id=first.id)
    third = await door.openai.responses.create(
        model=door.model, input="[[say Three.]]", previous_response_id=second.id
    )
    assert third.output_text == "Three."
    answer = await door.openai.responses.with_raw_response.retrieve(second.id)
    assert answer.http_response.status_code == 200


async def test_with_the_last_of_its_responses_the_conversation_is_gone(door: Door) -> None:
    raw = await door.openai.responses.with_raw_response.create(model=door.model, input="[[say One.]]")
    run = raw.headers["porch-run"]
    path = f"{door.server.url}/api/v1/runs/{run}"
    headers = {"Authorization": f"Bearer {door.server.credentials.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        assert (await session.get(path)).status == 200
        answer = await door.openai.responses.with_raw_response.delete(raw.parse().id)
        assert await answer.http_response.aread()
        assert (await session.get(path)).status == 404


async def test_what_a_response_was_asked_is_listed_page_by_page(door: Door) -> None:
    first = await door.openai.responses.create(
        model=door.model, input="[[call weather]] [[say It is {result}.]]", tools=[WEATHER]
    )
    [made] = first.output
    assert made.type == "function_call"
    result: Any = {"type": "function_call_output", "call_id": made.call_id, "output": "raining"}
    second = await door.openai.responses.create(
        model=door.model, previous_response_id=first.id, input=[result], tools=[WEATHER]
    )
    [asked] = (await door.openai.responses.input_items.list(first.id)).data
    assert asked.type == "message"
    assert asked.content[0].type == "input_text"
    assert asked.content[0].text.startswith("[[call weather]]")
    [brought] = (await door.openai.responses.input_items.list(second.id)).data
    assert brought.type == "function_call_output"
    assert (brought.call_id, brought.output) == (made.call_id, "raining")
    file = {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,SGk="}
    items: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": [{"type": "input_text", "text": "[[say Three.]]"}, file]},
    ]
    third = await door.openai.responses.create(model=door.model, input=items)
    found: list[Any] = [
        item async for item in door.openai.responses.input_items.list(third.id, limit=1, order="asc")
    ]
    assert [(item.role, [part.type for part in item.content]) for item in found] == [
        ("user", ["input_text"]),
        ("assistant", ["output_text"]),
        ("user", ["input_text", "input_file"]),
    ]
    assert len({item.id for item in found}) == 3
    newest = await door.openai.responses.input_items.list(third.id)
    assert [item.id for item in newest.data] == [item.id for item in reversed(found)]
    with pytest.raises(BadRequestError) as raised:
        await door.openai.responses.input_items.list(third.id, limit=1000)
    assert raised.value.param == "limit"


async def test_a_response_that_is_being_written_can_be_stopped(door: Door) -> None:
    stream = await door.openai.responses.create(
        model=door.model, input="[[say Wait for it]] [[stall]]", stream=True
    )
    events: list[Any] = []
    text = ""
    async for event in stream:
        events.append(event)
        text += event.delta if event.type == "response.output_text.delta" else ""
        if event.type == "response.output_text.delta" and text == "Wait for it":
            stopped = await door.openai.responses.cancel(events[0].response.id)
            assert stopped.status == "cancelled"
            assert stopped.output_text == "Wait for it"
    assert events[-1].type == "response.failed"
    assert events[-1].response.status == "cancelled"
    again = await door.openai.responses.cancel(events[0].response.id)
    assert again.status == "cancelled"
    done = await door.openai.responses.create(model=door.model, input="[[say Done.]]")
    assert (await door.openai.responses.cancel(done.id)).status == "completed"


async def test_a_kept_response_is_streamed_again_from_any_place(door: Door) -> None:
    stream = await door.openai.responses.create(
        model=door.model, input="[[think Hm.]] [[say Good evening to you.]]", stream=True
    )
    first = [event async for event in stream]
    assert first[0].type == "response.created"
    name = first[0].response.id
    for after in (None, 0, 4, len(first) - 2):
        more: Any = {} if after is None else {"starting_after": after}
        again = await door.openai.responses.retrieve(name, stream=True, **more)
        told = [event.model_dump() async for event in again if event.type != "response.output_text.delta"]
        begin = 0 if after is None else after + 1
        assert told == [e.model_dump() for e in first[begin:] if e.type != "response.output_text.delta"]
    async with door.openai.responses.stream(response_id=name) as helped:
        assert (await helped.get_final_response()).output_text == "Good evening to you."
    with pytest.raises(BadRequestError) as raised:
        await door.openai.responses.retrieve(name, extra_query={"stream": "true", "starting_after": "x"})
    assert raised.value.param == "starting_after"


async def test_a_response_that_is_being_written_is_followed_by_who_comes_later(door: Door) -> None:
    stream = await door.openai.responses.create(
        model=door.model, input="[[say Waiting for]] [[stall]]", stream=True
    )
    name, number = "", -1
    async for event in stream:
        name = event.response.id if event.type == "response.created" else name
        if event.type == "response.output_text.delta" and event.delta.endswith("for"):
            number = event.sequence_number
            break
    await stream.close()
    later = await door.openai.responses.retrieve(name, stream=True, starting_after=number)
    await door.openai.responses.cancel(name)
    rest = [event async for event in later]
    assert [event.sequence_number for event in rest] == [*range(number + 1, number + 1 + len(rest))]
    assert rest[0].type == "response.output_text.done"
    assert rest[-1].type == "response.failed"


async def test_a_response_that_was_begun_anew_is_streamed_again_from_its_start_alone(door: Door) -> None:
    await door.agent("again", model=["scripted:test", "scripted:small"])
    stream = await door.openai.responses.create(
        model=f"@{door.workspace}/again", input="[[fail after=3 overloaded]]", stream=True
    )
    first = await anext(aiter(stream))
    await stream.close()
    assert first.type == "response.created"
    path = f"{door.server.url}/api/v1/runs/{first.response.id.replace('resp_', 'run_')}/events"
    headers = {"Authorization": f"Bearer {door.server.credentials.token}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(path) as whole:
        assert await whole.read(), "it has ended"
    again = await door.openai.responses.retrieve(first.response.id, stream=True)
    events = [event async for event in again]
    assert [event.type for event in events].count("response.output_item.added") == 1
    assert events[-1].type == "response.failed"
    with pytest.raises(BadRequestError, match="began this response anew"):
        await door.openai.responses.retrieve(first.response.id, stream=True, starting_after=2)


async def test_a_response_that_is_deleted_while_it_is_written_is_stopped(door: Door) -> None:
    stream = await door.openai.responses.create(
        model=door.model, input="[[say Waiting for]] [[stall]]", stream=True
    )
    last: Any = None
    async for event in stream:
        if event.type == "response.output_text.delta" and event.delta.endswith("for"):
            await door.openai.responses.delete(last.response.id)
        last = event if hasattr(event, "response") else last
    assert last.response.status == "cancelled"
    with pytest.raises(NotFoundError):
        await door.openai.responses.retrieve(last.response.id)


async def test_a_stream_that_cannot_be_finished_raises_with_its_code(door: Door) -> None:
    await door.agent("stumbler", model=["scripted:test", "scripted:small"])
    stream = await door.openai.responses.create(
        model=f"@{door.workspace}/stumbler", input="[[fail after=3 overloaded]]", stream=True
    )
    with pytest.raises(APIError) as raised:
        async for _ in stream:
            pass
    assert raised.value.code == "answer_restarted"
    assert "Asking again is safe" in raised.value.message


async def test_a_chat_completions_run_is_no_response(door: Door) -> None:
    chat = await door.openai.chat.completions.create(
        model=door.model, messages=[{"role": "user", "content": "[[say Hi.]]"}]
    )
    with pytest.raises(NotFoundError):
        await door.openai.responses.retrieve(chat.id.replace("chatcmpl-", "resp_"))


async def test_a_response_goes_on_twice_from_the_same_place(door: Door) -> None:
    first = await door.openai.responses.create(model=door.model, input="[[say One.]]")
    for _ in range(2):
        following = await door.openai.responses.create(
            model=door.model, input="[[say Two.]]", previous_response_id=first.id
        )
        assert following.output_text == "Two."


async def test_a_response_of_another_agent_is_not_gone_on_with(door: Door) -> None:
    await door.agent("other")
    first = await door.openai.responses.create(model=door.model, input="[[say One.]]")
    with pytest.raises(BadRequestError) as raised:
        await door.openai.responses.create(
            model=f"@{door.workspace}/other", input="Hi", previous_response_id=first.id
        )
    assert raised.value.param == "previous_response_id"


async def test_a_response_is_found_only_where_its_agent_may_be_run(door: Door) -> None:
    made = await door.openai.responses.create(model=door.model, input="[[say Hi.]]")
    other = await door.agent("apart")
    scopes = [f"run:agents:{other['id']}"]
    token = await door.api("POST", "/tokens", {"name": "narrow", "scopes": scopes})
    async with (
        door.client(token["token"]) as narrow,
        door.client(path=f"/@{door.workspace}/apart/v1") as apart,
    ):
        for client in (narrow, apart):
            with pytest.raises(NotFoundError):
                await client.responses.retrieve(made.id)


async def test_a_failure_is_a_status_or_a_failed_response_in_the_stream(door: Door) -> None:
    with pytest.raises(APIStatusError) as raised:
        await door.openai.responses.create(model=door.model, input="[[fail overloaded]]")
    assert raised.value.status_code == 503
    stream = await door.openai.responses.create(
        model=door.model, input="[[fail after=2 overloaded]]", stream=True
    )
    last = [event async for event in stream][-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert "Try again" in last.response.error.message


async def test_an_answer_that_is_too_long_is_incomplete(door: Door) -> None:
    answer = await door.openai.responses.create(model=door.model, input="[[say So]] [[finish length]]")
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"background": True}, "background"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ],
)
async def test_what_cannot_be_had_is_refused_by_name(door: Door, given: Any, param: str) -> None:
    asked: dict[str, Any] = {"model": door.model, "input": "Hi", **given}
    with pytest.raises(BadRequestError) as raised:
        await door.openai.responses.create(**asked)
    assert raised.value.param == param


async def test_an_agents_own_address_has_responses_too(door: Door) -> None:
    async with door.client(path=f"/@{door.workspace}/actor/v1") as client:
        made = await client.responses.create(input="[[say Hi.]]")
        assert made.output_text == "Hi."
        assert (await client.responses.retrieve(made.id)).id == made.id
