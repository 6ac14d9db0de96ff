"""Pictures and files in messages: from a program's request to the model, and back out of the conversation."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from porch.contract.attachments import MAX_IMAGE_BYTES
from porch.contract.events import Notice
from porch.storage.connection import connected
from tests.conftest import FreshUrls
from tests.http.client import Answer, Client
from tests.pictures import coded, jpeg, png
from tests.providers.upstream import DONE, SAY, STOP, Upstream, answer, upstream
from tests.runs.conftest import events_in, types
from tests.web.conftest import STREAM, House, furnished

PICTURE = {"type": "image", "media_type": "image/png", "data": coded(png()), "name": "porch.png"}
PDF = {"type": "file", "media_type": "application/pdf", "data": coded(b"%PDF-1.7 x"), "name": "lease.pdf"}
NOTES = {"type": "file", "media_type": "text/markdown", "data": coded(b"# Notes"), "name": "notes.md"}
WORDS = {"type": "text", "text": "[[say Seen]]"}


async def messages(house: House, where: str) -> list[dict[str, Any]]:
    """What the conversation's list holds."""
    return (await house.ada.client.get(f"{where}/messages")).json["items"]


async def test_a_message_with_files_is_kept_listed_without_their_bytes_and_answered(house: House) -> None:
    where = await house.conversation()
    said = await house.say([PICTURE, PDF, WORDS], where)
    assert types(events_in(said.body))[-1] == "run.finished"
    listed = (await house.ada.client.get(f"{where}/messages")).body
    assert coded(png()).encode() not in listed
    parts = json.loads(listed)["items"][0]["parts"]
    base = f"{where}/messages/{json.loads(listed)['items'][0]['id']}/parts"
    assert parts == [
        {
            "type": "image",
            "media_type": "image/png",
            "name": "porch.png",
            "width": 4,
            "height": 3,
            "bytes": len(png()),
            "url": f"{base}/0",
        },
        {
            "type": "file",
            "media_type": "application/pdf",
            "name": "lease.pdf",
            "bytes": 10,
            "url": f"{base}/1",
        },
        WORDS,
    ]


async def test_a_files_bytes_come_back_as_they_were_and_can_do_nothing(house: House) -> None:
    where = await house.conversation()
    page = {
        "type": "file",
        "media_type": "text/html",
        "data": coded(b"<script>1</script>"),
        "name": 'ü "x".html',
    }
    await house.say([PICTURE, page, WORDS], where)
    picture, file, words = (await messages(house, where))[0]["parts"]
    got = await house.ada.client.get(picture["url"])
    assert (got.status, got.body, got.headers["content-type"]) == (200, png(), "image/png")
    assert got.headers["content-disposition"] == "inline; filename=\"porch.png\"; filename*=UTF-8''porch.png"
    assert got.headers["cache-control"] == "private, max-age=3600"
    for answer_ in (got, await house.ada.client.get(file["url"])):
        assert answer_.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer_.headers["content-security-policy"]
        assert "default-src 'none'" in answer_.headers["content-security-policy"]
    got = await house.ada.client.get(file["url"])
    assert (got.body, got.headers["content-type"]) == (b"<script>1</script>", "text/plain; charset=utf-8")
    assert got.headers["content-disposition"].startswith('attachment; filename="u-x-.html"; filename*=UTF-8')
    assert words == WORDS
    for place in ("2", "3", "1000"):
        assert (await house.ada.client.get(f"{picture['url'].rsplit('/', 1)[0]}/{place}")).status == 404
    for place in ("-1", "x", "99999999999"):
        assert (await house.ada.client.get(f"{picture['url'].rsplit('/', 1)[0]}/{place}")).status == 422


async def test_nobody_else_reads_a_conversations_files(house: House) -> None:
    where = await house.conversation()
    await house.say([PICTURE, WORDS], where)
    url = (await messages(house, where))[0]["parts"][0]["url"]
    other = await house.world.tenant("eve")
    member = await house.world.member(house.ada, "editor")
    assert (await other.client.get(url)).status == 404
    assert (await member.get(url)).status == 404
    assert (await house.ada.client.as_(None).get(url)).status == 401
    elsewhere = await house.conversation()
    own = f"{elsewhere}/messages/{url.split('/')[-3]}/parts/0"
    assert (await house.ada.client.get(own)).status == 404


REFUSED: dict[str, tuple[list[Any], str, str]] = {
    "a lie": ([WORDS, {**PICTURE, "data": coded(jpeg())}], "/input/1/media_type", "its bytes are image/jpeg"),
    "no base64": ([{**PICTURE, "data": "?"}], "/input/0/data", "base64"),
    "a program": (
        [{**NOTES, "media_type": "application/x-sh"}],
        "/input/0/media_type",
        "Pictures may be PNG",
    ),
    "a missing type": ([{"type": "image", "data": "x"}], "/input/0/media_type", "missing"),
    "an unknown key": ([WORDS, {**WORDS, "url": "http://x"}], "/input/1/url", "not a known key"),
    "an unknown part": ([{"type": "audio", "data": "x"}], "/input/0", "'text', 'image', 'file'"),
    "no part": (["words"], "/input/0", "dictionary"),
    "too many": ([WORDS] * 21, "/input", "21 parts"),
    "a NUL": ([{"type": "text", "text": "a\x00b"}], "/input/0/text", "NUL"),
    "nothing": ([], "/input", "empty"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_part_that_is_not_taken_is_pointed_at_and_leaves_nothing(house: House, case: str) -> None:
    parts, pointer, words = REFUSED[case]
    where = await house.conversation()
    got = await house.say(parts, where)
    assert (got.status, got.code) == (422, "invalid_input")
    assert [error["pointer"] for error in got.json["errors"]] == [pointer]
    assert words in got.json["detail"]
    assert await messages(house, where) == []


async def test_a_picture_alone_is_a_message(house: House) -> None:
    where = await house.conversation(instructions="[[say A picture.]]")
    assert types(events_in((await house.say([PICTURE], where)).body))[-1] == "run.finished"
    assert (await house.ada.client.get(where)).json["title"] == ""


async def test_large_pictures_fit_this_route_and_no_other(house: House) -> None:
    where = await house.conversation()
    large = {**PICTURE, "data": coded(png(size=MAX_IMAGE_BYTES))}
    sent: list[Any] = [large, large, large, WORDS]
    assert types(events_in((await house.say(sent, where)).body))[-1] == "run.finished"
    listed = await house.ada.client.get(f"{where}/messages")
    assert len(listed.body) < 4000
    again = await house.say("[[say And words.]]", where)
    assert types(events_in(again.body))[-1] == "run.finished"
    other = await house.ada.client.post(f"{house.ada.path}/agents", json={"input": sent})
    assert (other.status, other.code) == (413, "too_large")


async def test_a_strangers_large_body_is_not_read(house: House) -> None:
    where = await house.conversation()
    taken = 0

    def pieces() -> Any:
        nonlocal taken
        for _ in range(10):
            taken += 1
            yield b"x" * 1_000_000

    got = await house.ada.client.as_("porch_pat_wrong").post(
        f"{where}/runs", chunks=pieces(), headers={"content-type": "application/json"}
    )
    assert (got.status, taken) == (401, 0)


async def test_a_picture_is_found_by_its_words_and_never_by_its_bytes(house: House) -> None:
    where = await house.conversation()
    await house.say([PICTURE, {"type": "text", "text": "[[say Fine]] the veranda"}], where)
    async with house.world.database.system() as connection:
        await connection.fetchval("SELECT porch.index_messages(100)")
    found = await house.ada.client.get("/api/v1/conversations?q=veranda")
    assert len(found.json["items"]) == 1
    for word in ("iVBORw0KGgo", "porch.png"):
        assert (await house.ada.client.get(f"/api/v1/conversations?q={word}")).json["items"] == []


async def test_an_agent_whose_model_is_blind_refuses_a_picture_before_the_message_is_kept(
    house: House,
) -> None:
    where = await house.conversation(model="scripted:small")
    got = await house.say([WORDS, PICTURE], where)
    assert got.status == 422
    assert "cannot look at pictures ('scripted:small')" in got.json["detail"]
    assert got.json["errors"][0]["pointer"] == "/input/1"
    assert await messages(house, where) == []
    assert types(events_in((await house.say([WORDS, NOTES], where)).body))[-1] == "run.finished"
    chain = await house.conversation(model=["scripted:small", "scripted:test"])
    said = events_in((await house.say([WORDS, PICTURE], chain)).body)
    assert types(said)[-1] == "run.finished"
    notices = [event.text for event in said if isinstance(event, Notice) and event.code == "files_left_out"]
    assert len(notices) == 1
    assert "scripted:small" in notices[0]


async def test_a_shared_link_shows_its_pictures_until_it_is_revoked(house: House) -> None:
    where = await house.conversation()
    await house.say([PICTURE, WORDS], where)
    made = (await house.ada.client.post(f"{where}/shares")).json
    later = await house.say([PICTURE, WORDS], where)
    assert later.status == 200
    stranger = Client(house.world.app)
    page = await stranger.get(made["url"], headers={"accept": "text/html"})
    assert coded(png()).encode() not in page.body
    first, second = (m for m in await messages(house, where) if m["role"] == "user")
    url = f"{made['url']}/messages/{first['id']}/parts/0"
    assert f'src="{url}"'.encode() in page.body
    got = await stranger.get(url)
    assert (got.status, got.body, got.headers["cache-control"]) == (200, png(), "no-store")
    assert "sandbox" in got.headers["content-security-policy"]
    unshown = f"{made['url']}/messages/{second['id']}/parts/0"
    assert (await stranger.get(unshown)).status == 404
    await house.ada.client.delete(f"{where}/shares/{made['id']}")
    assert (await stranger.get(url)).status == 404


async def test_a_deleted_conversations_files_are_nowhere_until_it_is_back(house: House) -> None:
    where = await house.conversation()
    await house.say([PICTURE, WORDS], where)
    made = (await house.ada.client.post(f"{where}/shares")).json
    first = (await messages(house, where))[0]
    shared = f"{made['url']}/messages/{first['id']}/parts/0"
    stranger = Client(house.world.app)
    await house.ada.client.delete(where)
    assert (await house.ada.client.get(first["parts"][0]["url"])).status == 404
    assert (await stranger.get(shared)).status == 404
    await house.ada.client.post(f"{where}/restore")
    assert (await house.ada.client.get(first["parts"][0]["url"])).status == 200
    assert (await stranger.get(shared)).status == 200


async def test_a_message_whose_files_bytes_are_gone_is_still_read_answered_and_exported(house: House) -> None:
    where = await house.conversation()
    await house.say([PICTURE, WORDS], where)
    async with connected(house.world.urls.owner) as connection, connection.transaction():
        await connection.execute("ALTER TABLE porch.files NO FORCE ROW LEVEL SECURITY")
        await connection.execute("DELETE FROM porch.files WHERE workspace_id = $1", house.ada.workspace)
        await connection.execute("ALTER TABLE porch.files FORCE ROW LEVEL SECURITY")
    said = (await messages(house, where))[0]
    assert (await house.ada.client.get(said["parts"][0]["url"])).status == 404
    again = await house.ada.client.post(f"{where}/messages/{said['id']}/regenerate", headers=STREAM)
    assert types(events_in(again.body))[-1] == "run.finished"
    picture = (await house.ada.client.get(f"{where}/export?format=json")).json["messages"][0]["parts"][0]
    assert not {"data", "file"} & set(picture)
    assert (
        f"Image porch.png (image/png, {len(png())} bytes)"
        in (await house.ada.client.get(f"{where}/export")).body.decode()
    )


async def test_the_same_message_sent_twice_counts_once_and_another_picture_is_another(house: House) -> None:
    where = await house.conversation()
    key = {"Idempotency-Key": "once"}
    first = await house.say([PICTURE, WORDS], where, **key)
    again = await house.say([PICTURE, WORDS], where, **key)
    assert again.body == first.body
    other = await house.say([{**PICTURE, "data": coded(png(5, 5))}, WORDS], where, **key)
    assert other.status == 422


@pytest.fixture
async def stand_in() -> AsyncGenerator[Upstream]:
    async with upstream(answer(SAY, STOP, DONE)) as place:
        yield place


async def test_a_picture_and_files_reach_a_server_of_chat_completions(
    fresh_urls: FreshUrls, stand_in: Upstream
) -> None:
    async with furnished(await fresh_urls(), {"OPENAI_BASE_URL": stand_in.url}) as house:
        where = await house.conversation(model="openai:gpt-4o")
        await ask(house, where, [PICTURE, NOTES, {"type": "text", "text": "What is it?"}])
        content = stand_in.requests[-1].json()["messages"][-1]["content"]
    assert content[0] == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{coded(png())}"}}
    assert content[1]["type"] == "text"
    assert content[1]["text"] == "notes.md:\n\n# Notes"
    assert content[2] == {"type": "text", "text": "What is it?"}


async def test_a_paper_that_the_server_does_not_take_is_told_to_the_model_and_to_the_person(
    fresh_urls: FreshUrls, stand_in: Upstream
) -> None:
    async with furnished(await fresh_urls(), {"OPENAI_BASE_URL": stand_in.url}) as house:
        where = await house.conversation(model="openai:good")
        heard = events_in((await house.say([{"type": "text", "text": "Sum it up"}, PDF], where)).body)
    notices = [event.text for event in heard if isinstance(event, Notice) and event.code == "files_left_out"]
    assert len(notices) == 1
    assert "openai:good" in notices[0]
    words = "[A file was attached that this model cannot be shown: lease.pdf]"
    assert stand_in.requests[-1].json()["messages"][-1]["content"] == f"Sum it up\n\n{words}"


async def test_a_picture_stays_in_sight_of_what_is_said_later_and_of_another_answer(
    fresh_urls: FreshUrls, stand_in: Upstream
) -> None:
    async with furnished(await fresh_urls(), {"OPENAI_BASE_URL": stand_in.url}) as house:
        where = await house.conversation(model="openai:gpt-4o")
        await ask(house, where, [PICTURE, {"type": "text", "text": "What is it?"}])
        await ask(house, where, [{"type": "text", "text": "And now?"}])
        later = stand_in.requests[-1].json()["messages"]
        first = (await messages(house, where))[0]["id"]
        again = await house.ada.client.post(f"{where}/messages/{first}/regenerate", headers=STREAM)
        assert again.status == 200
        anew = stand_in.requests[-1].json()["messages"]
    url = {"url": f"data:image/png;base64,{coded(png())}"}
    for asked in (later, anew):
        assert asked[1]["content"][0] == {"type": "image_url", "image_url": url}
    assert later[-1]["content"] == "And now?"


async def test_words_said_before_a_large_picture_stay_in_sight(
    fresh_urls: FreshUrls, stand_in: Upstream
) -> None:
    large = {**PICTURE, "data": coded(png(size=MAX_IMAGE_BYTES))}
    async with furnished(await fresh_urls(), {"OPENAI_BASE_URL": stand_in.url}) as house:
        where = await house.conversation(model="openai:gpt-4o")
        await ask(house, where, [{"type": "text", "text": "My name is Ada."}])
        for _ in range(5):
            await ask(house, where, [large])
        await ask(house, where, [{"type": "text", "text": "Who am I?"}])
        asked = stand_in.requests[-1].json()["messages"]
    said: list[Any] = [message["content"] for message in asked if message["role"] == "user"]
    assert said[0] == "My name is Ada."
    assert sum(not isinstance(content, str) for content in said) == 4
    assert "cannot be shown" in said[1]


async def test_an_export_holds_the_bytes_and_a_conversation_takes_its_files_with_it(house: House) -> None:
    where = await house.conversation()
    await house.say([PICTURE, PDF, WORDS], where)
    await house.say("[[say Bye.]]", where)
    file = (await house.ada.client.get(f"{where}/export?format=json")).json
    picture, pdf, words = file["messages"][0]["parts"]
    assert (picture["data"], pdf["data"], words) == (PICTURE["data"], PDF["data"], WORDS)
    assert not {"file", "url"} & {*picture, *pdf}
    assert len(file["messages"]) == 4
    text = (await house.ada.client.get(f"{where}/export")).body.decode()
    assert f"Image porch.png (image/png, {len(png())} bytes)" in text
    assert "File lease.pdf (application/pdf, 10 bytes)" in text
    database, workspace = house.world.database, house.ada.workspace
    async with database.tenant(workspace) as connection:
        assert await connection.fetchval("SELECT count(*) FROM porch.files") == 2
    assert (await house.ada.client.delete(where)).status == 204
    async with database.system() as connection:
        await connection.fetchval("SELECT porch.purge_conversations('-1 second', 100)")
    async with database.tenant(workspace) as connection:
        assert await connection.fetchval("SELECT count(*) FROM porch.files") == 0


CREATED: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "model": "gpt-4o",
    "status": "in_progress",
    "output": [],
}
RESPONSES: list[dict[str, Any]] = [
    {"type": "response.created", "sequence_number": 0, "response": CREATED},
    {
        "type": "response.completed",
        "sequence_number": 1,
        "response": {**CREATED, "status": "completed", "usage": {"input_tokens": 1, "output_tokens": 1}},
    },
]
MESSAGES: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [],
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    },
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
]


def told(events: list[dict[str, Any]]) -> bytes:
    """Events as server-sent ones, named by their type."""
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


async def test_a_picture_and_a_pdf_reach_a_server_of_responses(fresh_urls: FreshUrls) -> None:
    async with (
        upstream(answer(told(RESPONSES))) as place,
        furnished(await fresh_urls(), {"OPENAI_BASE_URL": place.url, "OPENAI_API_KEY": "sk-x"}) as house,
    ):
        where = await house.conversation(model="openai-responses:gpt-4o")
        await ask(house, where, [PICTURE, PDF, {"type": "text", "text": "What is it?"}])
        content = place.requests[-1].json()["input"][-1]["content"]
    assert [piece["type"] for piece in content] == ["input_image", "input_file", "input_text"]
    assert content[0]["image_url"] == f"data:image/png;base64,{coded(png())}"
    assert content[1]["filename"] == "lease.pdf"
    assert content[1]["file_data"] == f"data:application/pdf;base64,{PDF['data']}"


async def test_a_picture_and_a_pdf_reach_a_server_of_messages(fresh_urls: FreshUrls) -> None:
    async with upstream(answer(told(MESSAGES))) as place:
        base = place.url.removesuffix("/v1")
        environ = {"ANTHROPIC_BASE_URL": base, "ANTHROPIC_API_KEY": "sk-ant-x"}
        async with furnished(await fresh_urls(), environ) as house:
            where = await house.conversation(model="anthropic:claude-sonnet-4-5")
            await ask(house, where, [PICTURE, PDF, {"type": "text", "text": "What is it?"}])
            content = place.requests[-1].json()["messages"][-1]["content"]
    source = {"type": "base64", "media_type": "image/png", "data": coded(png())}
    assert content[0] == {"type": "image", "source": source}
    assert content[1]["type"] == "document"
    assert content[1]["source"]["data"] == PDF["data"]
    assert content[2]["text"] == "What is it?"


async def ask(house: House, where: str, parts: list[Any]) -> Answer:
    """Send a message and read its stream to the end, however it ends."""
    got = await house.ada.client.post(f"{where}/runs", json={"input": parts}, headers=STREAM)
    assert got.status == 200, got.body
    return got
