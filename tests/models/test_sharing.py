"""Keys and addresses serve the home workspace; others are served where that is shared, and learn nothing of them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID

import pytest

from porch.contract.errors import Forbidden, SetupError
from porch.contract.ids import new_uuid
from porch.egress import Egress
from porch.models import Availability, ModelNotConfigured, Models
from porch.models.keys import FILE, ModelKeys
from porch.models.offers import list_offers, measure
from porch.models.pages import router as pages
from porch.models.places import PLACES
from porch.models.routes import router as routes
from porch.models.sharing import ALL, SHAREABLE, Sharing, read_shared
from tests.conftest import FreshUrls
from tests.home import AT_HOME, HOME
from tests.http.app import Tenant, World, assembled
from tests.http.client import Answer
from tests.providers.upstream import DONE, SAY, STOP, Upstream, answer, plain, upstream

KEY = "sk-a-key-of-many-letters-x7Qa"
FORM = {"content-type": "application/x-www-form-urlencoded"}
KEYS = "/api/v1/models/keys"
OTHER = new_uuid()
NOWHERE = {"OLLAMA_HOST": "127.0.0.1:1"}
GOOD = answer(SAY, STOP, DONE)


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress() as egress:
        yield egress


def shared(*names: str) -> Sharing:
    return Sharing(HOME, read_shared(names))


async def found(models: Models, workspace: UUID) -> dict[str, Availability]:
    return {item.provider: item for item in await models.available(workspace, seconds=3)}


@pytest.mark.parametrize("name", ["openai:m", "openai-responses:m", "vllm:m", "ollama:m", "groq:m"])
async def test_another_workspace_is_not_served_whether_a_key_is_there_or_not(
    egress: Egress, name: str
) -> None:
    provider = name.partition(":")[0]
    said: list[str] = []
    for environ in ({}, {"OPENAI_API_KEY": KEY, "VLLM_BASE_URL": "http://inner.lan:8000/v1"}):
        with pytest.raises(ModelNotConfigured) as refused:
            Models(environ, egress, AT_HOME).resolve(name, OTHER)
        said.append(refused.value.message)
    assert said[0] == said[1]
    assert "serve its first workspace only" in said[0]
    holder = PLACES[provider].holder if provider in PLACES else provider
    assert f"PORCH_SHARED_PROVIDERS={holder}" in said[0]


async def test_a_key_that_the_home_workspace_used_before_serves_no_other_after_it(egress: Egress) -> None:
    models = Models({"OPENAI_API_KEY": KEY}, egress, AT_HOME)
    assert models.resolve("openai:m", HOME).model == "m"
    with pytest.raises(ModelNotConfigured, match="first workspace only"):
        models.resolve("openai:m", OTHER)


async def test_neither_a_probe_nor_a_trial_asks_for_another_workspace(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        models = Models({"OPENAI_BASE_URL": place.url}, egress, AT_HOME)
        with pytest.raises(ModelNotConfigured, match="first workspace only"):
            await models.probe("openai:m", OTHER)
        with pytest.raises(ModelNotConfigured, match="first workspace only"):
            await measure(models, "openai:m", OTHER)
        with pytest.raises(ModelNotConfigured, match="first workspace only"):
            models.trial("openai:m", OTHER)
    assert place.requests == []


@pytest.mark.parametrize("name", ["scripted:demo"])
async def test_what_needs_no_key_serves_everybody(egress: Egress, name: str) -> None:
    assert (await Models({}, egress, AT_HOME).probe(name, OTHER)).model == "demo"
    assert AT_HOME.serves("local", OTHER)


@pytest.mark.parametrize(
    ("names", "served", "refused"),
    [
        (("openai",), ["openai", "openai-responses"], ["anthropic", "ollama"]),
        (("openai-responses",), ["openai-responses"], ["openai"]),
        (("ollama", "vllm"), ["ollama", "vllm"], ["openai"]),
        ((ALL,), [*SHAREABLE], []),
    ],
)
def test_a_provider_that_is_shared_serves_every_workspace(
    names: tuple[str, ...], served: list[str], refused: list[str]
) -> None:
    sharing = shared(*names)
    assert all(sharing.serves(provider, OTHER) for provider in served)
    assert not any(sharing.serves(provider, OTHER) for provider in refused)
    assert all(sharing.serves(provider, HOME) for provider in SHAREABLE)


def test_an_unknown_name_is_an_error_that_says_which_there_are() -> None:
    with pytest.raises(SetupError, match=r"PORCH_SHARED_PROVIDERS.*'opnai'.*openai, .*anthropic.*ollama.*\*"):
        read_shared(["anthropic", "opnai"])


async def test_the_list_says_so_and_nothing_of_key_address_or_models(egress: Egress, tmp_path: Path) -> None:
    async with upstream(plain(200, b'{"data": [{"id": "house-model"}]}')) as place:
        keys = ModelKeys(tmp_path)
        keys.put("openai", KEY)
        environ = {"OPENAI_BASE_URL": place.url, "GROQ_API_KEY": KEY, "VLLM_BASE_URL": "http://inner.lan/v1"}
        models = Models({**environ, **NOWHERE}, egress, AT_HOME, keys=keys)
        assert (await found(models, HOME))["openai"].models == ["openai:house-model"]
        asked = len(place.requests)
        theirs = await found(models, OTHER)
        assert len(place.requests) == asked
    for name in SHAREABLE:
        item = theirs[name]
        assert (item.ready, item.key, item.models, item.elsewhere, item.state) == (
            False,
            None,
            [],
            False,
            "not set up",
        )
        assert "serve its first workspace only" in item.note
    assert theirs["scripted"].ready
    told = repr(await list_offers(models, OTHER))
    for secret in ("x7Qa", place.url, "inner.lan", "house-model", "GROQ_API_KEY"):
        assert secret not in told
    assert models.key_ending("openai", OTHER) is None


async def test_what_an_address_told_of_its_models_stays_with_whom_it_serves(egress: Egress) -> None:
    listed = b'{"data": [{"id": "own", "max_model_len": 64000}]}'
    async with upstream(plain(200, listed)) as place:
        models = Models({"VLLM_BASE_URL": place.url, **NOWHERE}, egress, AT_HOME)
        await models.available(HOME, seconds=3)
    assert models.card_of("vllm:own", HOME).context_tokens == 64_000
    assert models.card_of("vllm:own", OTHER).context_tokens == 8192


async def test_a_price_does_not_tell_another_workspace_of_an_address(egress: Egress) -> None:
    models = Models({"OPENAI_BASE_URL": "http://gateway/v1"}, egress, AT_HOME)
    plain_models = Models({}, egress, AT_HOME)
    assert models.price_of("openai:gpt-4o-mini", HOME) is None
    price = models.price_of("openai:gpt-4o-mini", OTHER)
    assert price == plain_models.price_of("openai:gpt-4o-mini", OTHER) is not None


async def test_a_shared_address_answers_every_workspace_and_stays_untold(egress: Egress) -> None:
    async with upstream(plain(200, b'{"data": [{"id": "house-model"}]}')) as place:
        environ = {"OPENAI_BASE_URL": place.url, "OPENAI_API_KEY": KEY, **NOWHERE}
        models = Models(environ, egress, shared("openai"))
        theirs = await found(models, OTHER)
        place.behaviours[:] = [GOOD]
        assert (await models.probe("openai:house-model", OTHER)).model
    item = theirs["openai"]
    assert (item.ready, item.models, item.key) == (True, ["openai:house-model"], None)
    assert item.note == "shared by whoever runs this installation"
    assert theirs["openai-responses"].ready
    assert not theirs["anthropic"].ready


@pytest.mark.parametrize(
    ("environ", "listed", "said"),
    [
        ({}, 200, "not set up; whoever runs"),
        ({"OPENAI_API_KEY": KEY}, 401, "key was refused"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, 200, "cannot be reached"),
        ({"OPENAI_API_KEY": KEY}, 500, "write a model's name yourself, openai:"),
    ],
)
async def test_what_is_wrong_with_a_shared_provider_is_told_without_its_address(
    egress: Egress, environ: dict[str, str], listed: int, said: str
) -> None:
    async with upstream(plain(listed)) as place:
        given = {"OPENAI_BASE_URL": place.url} if "OPENAI_API_KEY" in environ else {}
        models = Models({**given, **environ, **NOWHERE}, egress, shared("openai"))
        note = (await found(models, OTHER))["openai"].note
    assert said in note
    assert "127.0.0.1" not in note


async def test_a_shared_provider_without_a_key_says_whose_affair_that_is(egress: Egress) -> None:
    with pytest.raises(ModelNotConfigured, match="whoever runs it can give it one"):
        Models({}, egress, shared(ALL)).resolve("openai:m", OTHER)


async def test_only_the_home_workspace_keeps_and_forgets_keys(egress: Egress, tmp_path: Path) -> None:
    models = Models({}, egress, shared(ALL), keys=ModelKeys(tmp_path))
    with pytest.raises(Forbidden, match="whoever runs this installation"):
        await models.keep_key("openai", KEY, OTHER)
    await models.keep_key("openai", KEY, HOME)
    with pytest.raises(Forbidden, match="whoever runs this installation"):
        await models.forget_key("openai", OTHER)
    assert models.key_ending("openai", HOME) == "x7Qa"


# -- over HTTP


@dataclass(frozen=True)
class Street:
    """The app, the home workspace, and a neighbour whose owner may do everything there."""

    world: World
    home: Tenant
    neighbour: Tenant
    place: Upstream
    egress: Egress
    folder: Path

    def share(self, *names: str) -> None:
        environ = {"OPENAI_BASE_URL": self.place.url, **NOWHERE}
        sharing = Sharing(self.home.workspace, read_shared(names))
        keys = ModelKeys(self.folder)
        self.world.app.state.models = Models(environ, self.egress, sharing, keys=keys)

    async def send(self, path: str, **fields: str) -> Answer:
        """Post a form as the neighbour."""
        return await self.neighbour.client.post(path, body=urlencode(fields).encode(), headers=FORM)


@pytest.fixture
async def street(fresh_urls: FreshUrls, tmp_path: Path, egress: Egress) -> AsyncIterator[Street]:
    async with (
        upstream(GOOD) as place,
        assembled(await fresh_urls(), [routes, pages]) as world,
    ):
        home, neighbour = await world.tenant("home"), await world.tenant("neighbour")
        made = Street(world, home, neighbour, place, egress, tmp_path)
        made.share()
        world.app.state.home = home.workspace
        world.app.state.default_model = "local:smollm2"
        kept = await home.client.put(f"{KEYS}/openai", json={"key": KEY})
        assert kept.status == 200
        yield made


async def test_keys_are_changed_with_a_credential_of_the_home_workspace_alone(street: Street) -> None:
    client = street.neighbour.client
    answers = [
        await client.put(f"{KEYS}/openai", json={"key": KEY}),
        await client.delete(f"{KEYS}/openai"),
        await street.send("/models/keys/openai", key=KEY),
        await street.send("/models/keys/openai/remove"),
    ]
    assert [answer.status for answer in answers] == [403] * 4
    assert "only whoever runs it" in answers[0].json["detail"]
    assert KEY in (street.folder / FILE).read_text()
    assert (await street.home.client.delete(f"{KEYS}/openai")).status == 204


@pytest.mark.parametrize("names", [(), ("openai",), (ALL,)])
async def test_a_neighbour_learns_nothing_of_a_key_and_is_offered_no_place_for_one(
    street: Street, names: tuple[str, ...]
) -> None:
    street.share(*names)
    told = await street.neighbour.client.get("/api/v1/models")
    page = (await street.neighbour.client.get("/models")).body
    for body in (told.body, page):
        assert b"x7Qa" not in body
        assert street.place.url.encode() not in body
    assert not any(item["takes_key"] or item["key"] for item in told.json["items"])
    openai = next(item for item in told.json["items"] if item["provider"] == "openai")
    assert openai["ready"] is bool(names)
    assert b"/models/keys/" not in page
    assert b'type="password"' not in page
    assert b"OPENAI_API_KEY" not in page
    assert b"Get a key" not in page
    assert (b"PORCH_SHARED_PROVIDERS=openai)" in page) is not bool(names)
    assert b"x7Qa" in (await street.home.client.get("/models")).body


async def test_a_neighbour_s_test_asks_nobody_unless_the_provider_is_shared(street: Street) -> None:
    async def tried() -> Answer:
        return await street.neighbour.client.post("/api/v1/models/test", json={"model": "openai:m"})

    refused = await tried()
    assert (refused.status, refused.code) == (422, "model_not_configured")
    streamed = await street.send("/models/test/stream", model="openai:m")
    assert b"first workspace only" in streamed.body
    hint = await street.neighbour.client.get("/models/abilities?model=openai:m")
    assert b"first workspace only" in hint.body
    street.place.behaviours[:] = [GOOD]
    street.share("openai")
    assert (await tried()).status == 200
