"""Pictures and files at URLs: what is fetched for a caller, and what is told where it cannot be."""

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from porch.contract.errors import InvalidInput
from porch.contract.messages import FilePart, ImagePart, Part, TextPart
from porch.egress import Egress, EgressSettings, read_place
from porch.faces import remote
from porch.faces.ag_ui.input import RunAgentInput
from porch.faces.openai.errors import Refused
from porch.faces.openai.response_request import ResponseRequest, read_response
from porch.faces.remote import NotFetched, Remote, fill, lay_out
from tests.egress.conftest import Names
from tests.faces.ag_ui.test_routes import agent
from tests.pictures import png
from tests.web.conftest import House

SHELF: dict[str, tuple[str, bytes]] = {
    "/a.png": ("image/png", png()),
    "/liar.jpg": ("image/jpeg", png()),
    "/bare": ("application/octet-stream", png()),
    "/page": ("text/html", b"<h1>Sign in</h1>"),
    "/terms%20of%20use.txt": ("text/plain; charset=utf-8", b"Be kind."),
    "/a.pdf": ("application/octet-stream", b"%PDF-1.7\n"),
    "/endless": ("image/png", png(size=remote.MAX_IMAGE_BYTES + 1)),
}


class Library:
    """A server of pictures and files, a way out that may reach it, and what was asked of it."""

    def __init__(self, url: str, egress: Egress, asked: list[str]) -> None:
        self.url = url
        self.egress = egress
        self.asked = asked

    async def bring(self, *paths: str, picture: bool = True) -> list[Part]:
        """The parts of a message that names these."""
        whole = [Remote(self.url + path, f"/parts/{at}", picture=picture) for at, path in enumerate(paths)]
        parts, gaps = lay_out([TextPart(text="Look:"), *whole])
        await fill(self.egress, gaps)
        return parts[1:]


@pytest.fixture
async def library() -> AsyncGenerator[Library]:
    asked: list[str] = []

    async def give(request: web.Request) -> web.Response:
        asked.append(request.rel_url.raw_path)
        if request.path == "/moved":
            raise web.HTTPFound("/a.png")
        if request.path == "/inside":
            raise web.HTTPFound("http://127.0.0.1:1/a.png")
        named, content = SHELF.get(request.rel_url.raw_path, ("", b""))
        if not named:
            raise web.HTTPNotFound
        return web.Response(body=content, headers={"Content-Type": named})

    app = web.Application()
    app.router.add_get("/{rest:.*}", give)
    async with TestServer(app, host="127.0.0.1") as server:
        url = str(server.make_url("")).rstrip("/")
        place = read_place(urlsplit(url).netloc)
        async with Egress(EgressSettings(allow=frozenset({place}))) as egress:
            yield Library(url, egress, asked)


@pytest.mark.parametrize("path", ["/a.png", "/liar.jpg", "/bare", "/moved"])
async def test_a_picture_is_what_its_bytes_are_whatever_its_server_says(library: Library, path: str) -> None:
    [part] = await library.bring(path)
    assert isinstance(part, ImagePart)
    assert (part.media_type, part.width, part.height) == ("image/png", 4, 3)
    assert part.url is None
    assert part.data


async def test_files_are_named_by_their_url_and_pictures_among_them_are_pictures(library: Library) -> None:
    text, pdf, picture = await library.bring("/terms%20of%20use.txt", "/a.pdf", "/bare", picture=False)
    assert isinstance(text, FilePart)
    assert (text.media_type, text.name, text.size) == ("text/plain", "terms of use.txt", 8)
    assert isinstance(pdf, FilePart)
    assert (pdf.media_type, pdf.name) == ("application/pdf", "a.pdf")
    assert isinstance(picture, ImagePart)


async def test_what_is_named_twice_is_fetched_once(library: Library) -> None:
    one, other = await library.bring("/a.png", "/a.png")
    assert one == other
    assert library.asked == ["/a.png"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/gone?key=secret", "could not be fetched: it answered 404"),
        ("/page", "no type of a picture"),
        ("/endless", "over 5 MiB"),
        ("/inside", "no place on the public internet"),
    ],
)
async def test_what_cannot_be_had_is_an_error_at_its_place(library: Library, path: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as raised:
        await library.bring("/a.png", path)
    assert raised.value.errors[0]["pointer"].startswith("/parts/1")
    assert "secret" not in str(raised.value.errors) + raised.value.message


@pytest.mark.parametrize("host", ["127.0.0.1:1", "169.254.169.254", "inside.example", "nowhere.example"])
async def test_inside_and_nowhere_are_the_same_to_a_caller(host: str) -> None:
    _, gaps = lay_out([Remote(f"http://{host}/a.png", "/parts/0", picture=True)])
    async with Egress(names=Names(inside_example=[["10.0.0.1"]])) as egress:
        with pytest.raises(NotFetched, match="that is no place on the public internet"):
            await fill(egress, gaps)


async def test_one_message_holds_no_more_at_urls_than_in_itself(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_ATTACHED_BYTES", len(png()) + 10)
    with pytest.raises(NotFetched, match="together"):
        await library.bring("/a.png", "/bare")
    with pytest.raises(NotFetched, match="at most 20"):
        await library.bring(*(f"/a.png?{n}" for n in range(21)))


URL = "https://example.org/a"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "image", "source": {"type": "url", "value": URL}},
            Remote(URL, "/messages/0/content/0/source/value", picture=True),
        ),
        (
            {"type": "document", "source": {"type": "url", "value": URL, "mimeType": "application/pdf"}},
            Remote(URL, "/messages/0/content/0/source/value", picture=False),
        ),
        (
            {"type": "binary", "mimeType": "image/png", "url": URL, "filename": "a.png"},
            Remote(URL, "/messages/0/content/0/url", picture=True, name="a.png"),
        ),
    ],
)
def test_ag_ui_names_pictures_and_documents_at_urls(part: Any, expected: Remote) -> None:
    messages: list[dict[str, Any]] = [{"id": "m", "role": "user", "content": [part]}]
    [gap] = RunAgentInput(threadId="t", runId="r", messages=messages).read().gaps
    assert gap.remote == expected


def test_responses_name_files_at_urls_and_only_users_do() -> None:
    file = {"type": "input_file", "file_url": URL, "filename": "a.pdf"}
    body = {"input": [{"role": "user", "content": [file]}]}
    [gap] = read_response(ResponseRequest.model_validate(body)).gaps
    assert gap.remote == Remote(URL, "/input/0/content/0", picture=False, name="a.pdf")
    hello = {"role": "user", "content": "Hi"}
    for role in ("assistant", "system"):
        body = {"input": [{"role": role, "content": [file]}, hello]}
        with pytest.raises(Refused, match="a user's"):
            read_response(ResponseRequest.model_validate(body))


@pytest.mark.parametrize("door", ["openai-chat", "openai-responses", "ag-ui", "ai-sdk"])
async def test_every_door_takes_a_picture_at_its_url(house: House, library: Library, door: str) -> None:
    house.world.app.state.egress = library.egress
    path = await agent(house)
    url, words = f"{library.url}/a.png", {"type": "text", "text": "[[say Seen.]]"}
    shown: Any = {"type": "image_url", "image_url": {"url": url}}
    chat = {"messages": [{"role": "user", "content": [words, shown]}]}
    items = [{"type": "input_text", "text": "[[say Seen.]]"}, {"type": "input_image", "image_url": url}]
    source = {"type": "image", "source": {"type": "url", "value": url}}
    ag_ui = {
        "threadId": "t",
        "runId": "r",
        "messages": [{"id": "m", "role": "user", "content": [words, source]}],
        "tools": [],
        "context": [],
    }
    file = {"type": "file", "mediaType": "image/png", "url": url}
    ai_sdk = {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [words, file]}]}
    where, body = {
        "openai-chat": ("/v1/chat/completions", chat),
        "openai-responses": ("/v1/responses", {"input": [{"role": "user", "content": items}]}),
        "ag-ui": ("/ag-ui", ag_ui),
        "ai-sdk": ("/ai-sdk", ai_sdk),
    }[door]
    answer = await house.ada.client.post(path + where, json=body)
    assert answer.status == 200, answer.body
    assert b"Seen." in answer.body
    run = answer.headers["porch-run"]
    record = (await house.ada.client.get(f"/api/v1/runs/{run}")).json
    messages = (await house.ada.client.get(f"/api/v1/conversations/{record['conversation']}/messages")).json
    assert [part["type"] for part in messages["items"][0]["parts"]] == ["text", "image"]
    assert messages["items"][0]["parts"][1]["width"] == 4
    assert library.asked == ["/a.png"]


async def test_a_repeated_call_under_its_key_fetches_nothing_again(house: House, library: Library) -> None:
    house.world.app.state.egress = library.egress
    path = await agent(house)
    shown = {"type": "image_url", "image_url": {"url": f"{library.url}/a.png"}}
    body = {"messages": [{"role": "user", "content": [shown, {"type": "text", "text": "[[say Seen.]]"}]}]}
    for _ in range(2):
        answer = await house.ada.client.post(
            f"{path}/v1/chat/completions", json=body, headers={"Idempotency-Key": "k"}
        )
        assert answer.status == 200, answer.body
    assert library.asked == ["/a.png"]
