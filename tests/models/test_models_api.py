"""`/api/v1/models` and its page over HTTP: what is told, who may change it, and that no key ever comes back."""

import logging
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from porch.egress import Egress
from porch.models import Models
from porch.models.catalogue import known_models
from porch.models.keys import FILE, VARIABLES, ModelKeys
from porch.models.pages import router as pages
from porch.models.places import PLACES, try_first
from porch.models.routes import router as routes
from porch.models.sharing import Sharing
from tests.conftest import FreshUrls
from tests.http.app import Tenant, World, assembled
from tests.http.client import Answer, Client
from tests.providers.upstream import DONE, SAY, STOP, Upstream, answer, plain, upstream

KEY = "sk-a-key-of-many-letters-x7Qa"
KEYS = "/api/v1/models/keys"
FORM = {"content-type": "application/x-www-form-urlencoded"}
GOOD = answer(SAY, STOP, DONE)


@dataclass(frozen=True)
class Desk:
    """The app, an owner, and the provider's stand-in."""

    world: World
    ada: Tenant
    place: Upstream
    file: Path

    @property
    def client(self) -> Client:
        return self.ada.client

    async def send(self, path: str, **fields: str) -> Answer:
        """Post a form."""
        return await self.client.post(path, body=urlencode(fields).encode(), headers=FORM)


@pytest.fixture
async def desk(fresh_urls: FreshUrls, tmp_path: Path) -> AsyncGenerator[Desk]:
    async with (
        Egress() as egress,
        upstream(GOOD) as place,
        assembled(await fresh_urls(), [routes, pages]) as world,
    ):
        environ = {"OPENAI_BASE_URL": place.url, "OLLAMA_HOST": "127.0.0.1:1"}
        ada = await world.tenant("ada")
        world.app.state.models = Models(environ, egress, Sharing(ada.workspace), keys=ModelKeys(tmp_path))
        world.app.state.home = ada.workspace
        world.app.state.default_model = "local:smollm2"
        yield Desk(world, ada, place, tmp_path / FILE)


async def test_the_list_tells_state_and_abilities_of_every_provider(desk: Desk) -> None:
    told = (await desk.client.get("/api/v1/models")).json
    assert told["default"] == "local:smollm2"
    items = {item["provider"]: item for item in told["items"]}
    assert items["scripted"]["models"][0]["tools"] is True
    assert items["openai"]["takes_key"]
    assert {name for name, item in items.items() if item["takes_key"]} == set(VARIABLES)
    assert items["local"]["ready"] is False
    assert items["openai"]["models"] == [], "another server stands there, and lists nothing"
    assert "gives no list of its models" in items["openai"]["note"]


async def test_of_openai_itself_the_table_of_models_is_told(desk: Desk) -> None:
    async with Egress() as egress:
        desk.world.app.state.models = Models(
            {"OPENAI_API_KEY": KEY, "OLLAMA_HOST": "127.0.0.1:1"}, egress, Sharing(desk.ada.workspace)
        )
        told = (await desk.client.get("/api/v1/models")).json["items"]
    listed = next(item["models"] for item in told if item["provider"] == "openai")
    four = next(model for model in listed if model["name"] == "openai:gpt-4o")
    assert (four["context_tokens"], four["vision"], four["known"]) == (128_000, True, True)
    assert (four["price"]["input"], four["price"]["currency"]) == ("2.5", "USD")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", four["price"]["priced_at"])


async def test_another_server_shows_its_own_models_and_none_of_openais(desk: Desk) -> None:
    desk.place.behaviours[:] = [plain(200, b'{"data": [{"id": "house-model"}, {"id": "small-one"}]}')]
    page = (await desk.client.get("/models")).body.decode()
    assert "openai:house-model" in page
    assert "openai:gpt-4o" not in page
    assert 'id="try-openai" name="model" value="openai:house-model"' in page


async def test_a_key_that_was_refused_is_shown_so_until_it_is_tested_again_or_changed(desk: Desk) -> None:
    async def state() -> str:
        card = (await desk.client.get("/models")).body.decode().partition('id="provider-openai"')[2]
        return re.sub("<[^>]+>", "", card[card.index("badge") - 13 : card.index("</span>")]).strip()

    desk.place.behaviours[:] = [plain(401)]
    await desk.send("/models/keys/openai", key=KEY, model="openai:m")
    assert await state() == "refused"
    listed = (await desk.client.get("/api/v1/models")).json["items"]
    openai = next(item for item in listed if item["provider"] == "openai")
    assert (openai["ready"], "refused when it was last used" in openai["note"]) == (False, True)
    desk.place.behaviours[:] = [plain(200, b'{"data": [{"id": "m"}]}')]
    page = (await desk.client.get("/models")).body.decode()
    assert 'data-try="trial-openai-1"' in page, "it can be tested again"
    desk.place.behaviours[:] = [GOOD]
    await desk.send("/models/test", model="openai:m")
    assert await state() == "ready"
    desk.place.behaviours[:] = [plain(401)]
    await desk.send("/models/test", model="openai:m")
    desk.place.behaviours[:] = [GOOD]
    assert await state() == "refused"
    await desk.client.put(f"{KEYS}/openai", json={"key": KEY[::-1]})
    assert await state() == "ready"


async def test_a_key_is_kept_used_and_shown_by_its_last_four_alone(desk: Desk) -> None:
    kept = await desk.client.put(f"{KEYS}/openai", json={"key": KEY})
    assert kept.status == 200
    assert kept.json["key"] == {"source": "kept", "variable": "OPENAI_API_KEY", "last4": "x7Qa"}
    tested = await desk.client.post("/api/v1/models/test", json={"model": "openai:m"})
    assert tested.json["first_token_ms"] >= 0
    assert f"Bearer {KEY}" in desk.place.requests[0].head
    assert (await desk.client.delete(f"{KEYS}/openai")).status == 204
    assert (await desk.client.delete(f"{KEYS}/openai")).code == "not_found"


async def test_no_answer_no_page_and_no_log_line_holds_a_key(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    desk.place.behaviours[:] = [
        plain(401, f'{{"error": {{"message": "Incorrect API key: {KEY}"}}}}'.encode())
    ]
    answers = [
        await desk.client.put(f"{KEYS}/openai", json={"key": KEY}),
        await desk.client.put(f"{KEYS}/openai", json={"key": [KEY]}),
        await desk.client.put(f"{KEYS}/openai", json={"key": f"{KEY} {KEY}"}),
        await desk.client.put(f"{KEYS}/nobody", json={"key": KEY}),
        await desk.client.post("/api/v1/models/test", json={"model": "openai:m"}),
        await desk.client.get("/api/v1/models"),
        await desk.client.get("/models"),
        await desk.send("/models/keys/openai", key=KEY, model="openai:m"),
        await desk.send("/models/keys/openai", key=f"{KEY} {KEY}"),
        await desk.send("/models/keys/nobody", key=KEY),
        await desk.send("/models/test", model="openai:m"),
    ]
    assert {told.status for told in answers} == {200, 404, 422, 502}
    for told in answers:
        assert KEY.encode() not in told.body + str(told.headers).encode()
    assert KEY not in caplog.text
    assert KEY in desk.file.read_text()


async def test_only_who_administers_models_changes_or_tries_them(desk: Desk) -> None:
    runner = await desk.world.member(desk.ada, "runner")
    reader = Client(
        desk.world.app, await desk.world.token(desk.ada.workspace, desk.ada.owner, ["read:models"])
    )
    for client in (runner, reader):
        assert (await client.put(f"{KEYS}/openai", json={"key": KEY})).code == "forbidden"
        assert (await client.delete(f"{KEYS}/openai")).code == "forbidden"
        assert (await client.post("/api/v1/models/test", json={"model": "scripted:test"})).code == "forbidden"
        refused = await client.post("/models/keys/openai", body=b"key=" + KEY.encode(), headers=FORM)
        assert refused.status == 403
    assert (await reader.get("/api/v1/models")).status == 200
    page = (await reader.get("/models")).body.decode()
    assert "<form" not in page.partition("<main")[2]
    assert (await Client(desk.world.app).put(f"{KEYS}/openai", json={"key": KEY})).code == "unauthenticated"
    assert not desk.file.exists()


async def test_the_end_of_a_key_is_for_those_who_may_change_it(desk: Desk) -> None:
    await desk.client.put(f"{KEYS}/openai", json={"key": KEY})
    scopes = ["read:models", "read:agents", "write:agents"]
    reader = Client(desk.world.app, await desk.world.token(desk.ada.workspace, desk.ada.owner, scopes))
    for path in ("/api/v1/models", "/models"):
        assert b"x7Qa" in (await desk.client.get(path)).body
        told = await reader.get(path)
        assert (told.status, b"x7Qa" in told.body) == (200, False)
    told = (await reader.get("/api/v1/models")).json
    openai = next(item for item in told["items"] if item["provider"] == "openai")
    assert openai["key"] == {"source": "kept", "variable": "OPENAI_API_KEY", "last4": ""}
    assert b"Key kept by Porch" in (await reader.get("/models")).body


async def test_a_test_that_fails_says_why_and_what_to_do(desk: Desk) -> None:
    async def failed(model: str) -> str:
        tried = await desk.client.post("/api/v1/models/test", json={"model": model})
        assert tried.status in (422, 502)
        return tried.json["detail"]

    assert "switched off" in await failed("local:smollm2")
    assert "needs a key: add one on the Models page" in await failed("anthropic:claude")
    assert "no provider" in await failed("nobody:m")
    desk.place.behaviours[:] = [plain(401)]
    assert "asks for a key" in await failed("openai:m")
    await desk.client.put(f"{KEYS}/openai", json={"key": KEY})
    assert "refused the key in the Models page" in await failed("openai:m")


async def test_the_page_keeps_a_key_and_tries_it_at_once(desk: Desk) -> None:
    sent = await desk.send("/models/keys/openai", key=KEY, model="openai:m")
    assert (sent.status, sent.headers["location"]) == (303, "/models")
    assert f"Bearer {KEY}" in desk.place.requests[0].head
    page = (await desk.client.get("/models")).body.decode()
    assert "<code>x7Qa</code>" in page
    removed = await desk.send("/models/keys/openai/remove")
    assert removed.status == 303
    assert "x7Qa" not in (await desk.client.get("/models")).body.decode()


async def test_a_key_that_the_provider_refuses_is_kept_and_said_to_be_refused(desk: Desk) -> None:
    desk.place.behaviours[:] = [plain(401)]
    page = await desk.send("/models/keys/openai", key=KEY, model="openai:m")
    assert page.status == 200
    assert "The key is kept, but the test failed." in page.body.decode()
    assert desk.file.exists()


async def test_a_key_that_did_not_do_leaves_its_form_open_for_another(desk: Desk) -> None:
    opened = re.compile(rb"<details open>\s*<summary>Replace the key")
    desk.place.behaviours[:] = [plain(401)]
    refused = await desk.send("/models/keys/openai", key=KEY, model="openai:tried-one")
    assert opened.search(refused.body)
    assert b'id="try-openai" name="model" value="openai:tried-one"' in refused.body
    short = await desk.send("/models/keys/openai", key="short")
    assert (short.status, bool(opened.search(short.body))) == (422, True)
    assert re.search(rb'id="key-openai"[^>]* autofocus', short.body)
    assert not opened.search((await desk.client.get("/models")).body)


async def test_a_kept_key_is_no_key_of_the_environment(desk: Desk) -> None:
    await desk.client.put(f"{KEYS}/openai", json={"key": KEY})
    assert b"key found in" not in (await desk.client.get("/models")).body
    listed = (await desk.client.get("/api/v1/models")).json["items"]
    shared = next(item for item in listed if item["provider"] == "openai-responses")
    assert (shared["key"]["source"], shared["takes_key"]) == ("kept", False), "it stands at openai"


@pytest.mark.parametrize("provider", sorted(PLACES))
def test_the_model_that_a_key_is_tried_with_can_be_chosen_afterwards(provider: str) -> None:
    first, names = try_first(provider), known_models(provider)
    assert not first or not names or first.removeprefix(f"{provider}:") in names


async def test_what_is_typed_for_a_model_is_text_on_the_page(desk: Desk) -> None:
    page = await desk.send("/models/test", model='<script>alert("x")</script>:m')
    assert page.status == 422
    assert b"<script>alert" not in page.body
    empty = await desk.send("/models/test", model=" ")
    assert (empty.status, b"Which model?" in empty.body) == (422, True)
