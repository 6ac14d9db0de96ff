"""The pages of agents, as they are without any script."""

import html
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest

from porch import __version__
from porch.agents.pages import router
from porch.agents.templates import templates
from porch.contract.definition import Definition
from porch.contract.errors import InvalidInput
from porch.egress import Egress, EgressSettings
from porch.models.service import Models
from porch.plugins.service import Tools
from tests.http.app import DEFINITION, Tenant, World, assembled
from tests.http.client import Answer
from tests.postgres import TestServer

FORM = {"content-type": "application/x-www-form-urlencoded"}
NOT_READY = "OPENAI_API_KEY is not set; set it and start Porch again."
HOSTILE = "<script>alert(1)</script>\u202eevil\u2066\x1b[31m</textarea><b>&amp;"


@pytest.fixture(scope="module")
async def world(postgres: TestServer) -> AsyncIterator[World]:
    """The app with the pages of agents, and what they ask about models and tools."""
    urls = await postgres.create()
    egress = Egress(EgressSettings())
    await egress.open()
    tools = Tools()

    def check(definition: Definition) -> list[str]:
        tools.check(definition.tools or [])
        if "nobody:home" in definition.models:
            raise InvalidInput("'nobody:home' cannot be used: there is no provider 'nobody'.")
        return [NOT_READY] if "openai:gpt-5" in definition.models else []

    async with assembled(urls, [router]) as world:
        world.app.state.tools = tools
        world.app.state.models = Models({"OLLAMA_HOST": "127.0.0.1:1"}, egress)
        world.app.state.check_definition = check
        yield world
    await egress.close()
    await postgres.drop(urls)


class Fields(HTMLParser):
    """What a browser would send of a page's form that has a field `revision` or `template`."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.area: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name")
        if tag == "input" and name and (given.get("type") != "checkbox" or "checked" in given):
            self.values[name] = given.get("value") or ""
        if tag == "textarea" and name:
            self.area, self.values[name] = name, ""
        if tag == "option" and "selected" in given:
            self.values["model"] = given.get("value") or ""

    def handle_data(self, data: str) -> None:
        if self.area:
            self.values[self.area] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self.area:
            # A browser drops the line end right behind the start tag.
            self.values[self.area] = self.values[self.area].removeprefix("\n")
            self.area = None


async def make(tenant: Tenant, **changes: Any) -> Any:
    answer = await tenant.client.post(f"{tenant.path}/agents", json={**DEFINITION, **changes})
    assert answer.status == 201, answer.body
    return answer.json


async def read(tenant: Tenant, agent: str = "helper") -> Any:
    return (await tenant.client.get(f"{tenant.path}/agents/{agent}")).json


async def page(tenant: Tenant, path: str, status: int = 200) -> str:
    answer = await tenant.client.get(path)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    shown = answer.body.decode()
    assert f"<p>Porch {__version__} " in shown  # no page hides what the layout says
    return shown


async def send(tenant: Tenant, path: str, values: dict[str, str]) -> Answer:
    sent = {name: value.replace("\n", "\r\n") for name, value in values.items()}
    return await tenant.client.post(path, body=urlencode(sent).encode(), headers=FORM)


async def opened(tenant: Tenant, path: str = "/agents/helper") -> dict[str, str]:
    return Fields(await page(tenant, path)).values


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)))


async def test_an_empty_list_leads_to_a_first_agent(ada: Tenant) -> None:
    shown = await page(ada, "/agents")
    assert "Nobody on the porch yet" in shown
    assert 'href="/agents/new"' in shown


async def test_the_list_says_of_each_agent_where_it_stands(ada: Tenant) -> None:
    await make(ada, name="fresh", title="Fresh")
    await make(ada, name="steady", title="Steady")
    await make(ada, name="moving", title="Moving")
    for name in ("steady", "moving"):
        assert (await ada.client.post(f"{ada.path}/agents/{name}/versions")).status == 201
    await ada.client.patch(f"{ada.path}/agents/moving", json={"instructions": "Be otherwise."})
    cards = {
        name: text_of(card)
        for card in (await page(ada, "/agents")).split("<article")[1:]
        for name in ("Fresh", "Steady", "Moving")
        if name in card
    }
    assert "not published" in cards["Fresh"]
    assert "Version 1" in cards["Steady"]
    assert "Changes in the draft" not in cards["Steady"]
    assert "Changes in the draft" in cards["Moving"]


async def test_a_long_list_goes_on(ada: Tenant) -> None:
    for number in range(25):
        await make(ada, name=f"agent-{number}")
    first = await page(ada, "/agents")
    assert first.count("<article") == 24
    [more] = re.findall(r'href="(/agents\?cursor=[^"]+)"', first)
    assert (await page(ada, html.unescape(more))).count("<article") == 1


async def test_every_template_of_the_gallery_becomes_an_agent(ada: Tenant) -> None:
    gallery = await page(ada, "/agents/new")
    offered = re.findall(r'href="/agents/new\?template=([a-z-]+)"', gallery)
    assert sorted(offered) == sorted([*templates(), "blank"])
    for name in offered:
        values = await opened(ada, f"/agents/new?template={name}")
        made = await send(ada, "/agents/new", values)
        assert made.status == 303, made.body
        assert made.headers["location"] == f"/agents/{values['name']}"
        kept = await read(ada, values["name"])
        assert kept["definition"].get("title", "") == values["title"]


async def test_a_second_agent_of_a_template_is_offered_a_handle_of_its_own(ada: Tenant) -> None:
    for name in ("assistant", "assistant-2"):
        values = await opened(ada, "/agents/new?template=assistant")
        assert values["name"] == name
        assert (await send(ada, "/agents/new", values)).status == 303


async def test_a_card_alone_makes_an_agent_and_goes_into_the_chat(ada: Tenant) -> None:
    answer = await send(ada, "/agents/new", {"template": "scripted-demo", "then": "chat"})
    assert answer.headers["location"] == f"/@{ada.handle}/demo"
    assert (await read(ada, "demo"))["definition"]["title"] == "Scripted demo"


@pytest.mark.parametrize("name", ["Not A Handle", "taken", ""])
async def test_a_handle_that_cannot_be_brings_the_form_back(ada: Tenant, name: str) -> None:
    await make(ada, name="taken")
    values = {"template": "tutor", "name": name, "title": "My <b>tutor</b>", "model": "ollama:qwen3"}
    answer = await send(ada, "/agents/new", values)
    assert answer.status in (409, 422)
    shown = answer.body.decode()
    assert Fields(shown).values["title"] == values["title"]
    assert 'href="#field-name"' in shown
    assert 'id="error-name"' in shown
    assert "autofocus" in shown


async def test_an_unknown_template_is_a_page_with_a_sentence(ada: Tenant) -> None:
    assert "There is no template" in text_of(await page(ada, "/agents/new?template=nothing", 404))


async def test_what_the_form_shows_is_what_it_keeps(ada: Tenant) -> None:
    definition = {
        "name": "helper",
        "title": "Full",
        "description": "Has it all.",
        "instructions": "\nBe thorough.\r\n\r\nThen stop.\n",
        "model": ["openai:gpt-5", "local:smollm2"],
        "tools": ["clock"],
        "plugins": ["notes"],
        "memory": {"recall": {"limit": 5}},
        "settings": {"temperature": 0.5, "stop": ["a\nb", "c\\n"], "seed": 7, "max_steps": 3},
    }
    await make(ada, **definition)
    answer = await send(ada, "/agents/helper", await opened(ada))
    assert answer.status == 303
    kept = await read(ada)
    assert kept["definition"] == definition
    assert kept["revision"] == 1


async def test_only_what_was_changed_is_written(ada: Tenant) -> None:
    await make(ada, tools=["clock"], plugins=["notes"], settings={"temperature": 0.5, "seed": 7})
    values = await opened(ada)
    values |= {
        "title": " Anew ",
        "instructions": "Line one.\nLine two.",
        "fallbacks": "ollama:qwen3\nlocal:smollm2",
        "temperature": "",
        "max_steps": "4",
    }
    del values["tool:clock"]
    assert (await send(ada, "/agents/helper", values)).status == 303
    assert (await read(ada))["definition"] == {
        "name": "helper",
        "title": "Anew",
        "instructions": "Line one.\nLine two.",
        "model": ["local:smollm2", "ollama:qwen3", "local:smollm2"],
        "plugins": ["notes"],
        "settings": {"seed": 7, "max_steps": 4},
    }


async def test_everything_wrong_is_said_at_once_beside_its_field_with_all_that_was_typed(ada: Tenant) -> None:
    await make(ada)
    wrong = {
        "name": "No Handle",
        "title": "t" * 200,
        "model": "nocolon",
        "fallbacks": "also none",
        "temperature": "warm",
        "top_p": "inf",
        "max_output_tokens": "1e3",
        "max_steps": "65",
        "seed": "x",
    }
    typed = {**await opened(ada), **wrong, "instructions": HOSTILE.replace("\x1b", "")}
    answer = await send(ada, "/agents/helper", typed)
    assert answer.status == 422
    shown = answer.body.decode()
    again = Fields(shown).values
    assert {name: again[name] for name in typed} == typed
    for name in wrong:
        assert f'href="#field-{name}"' in shown
        assert re.search(rf'id="error-{name}">[^<]+[.]<', shown), name
        assert re.search(rf'id="field-{name}"[^>]*aria-invalid="true"', shown), name
    assert shown.count("autofocus") == 1
    assert (await read(ada))["revision"] == 1


async def test_a_refusal_of_the_service_stands_beside_its_field_too(ada: Tenant) -> None:
    await make(ada)
    await make(ada, name="other")
    for changed, field in (
        ({"model": "nobody:home"}, "model"),
        ({"name": "other"}, "name"),
        ({"tool:teleport": "on"}, "tools"),
    ):
        answer = await send(ada, "/agents/helper", {**await opened(ada), **changed})
        assert answer.status in (409, 422)
        assert f'id="error-{field}"' in answer.body.decode()


async def test_a_hundred_kilobytes_of_instructions_come_back_with_a_sentence(ada: Tenant) -> None:
    await make(ada)
    typed = {**await opened(ada), "instructions": "Wörter und <b>\n" * 6600}
    answer = await send(ada, "/agents/helper", typed)
    assert answer.status == 422
    assert Fields(answer.body.decode()).values["instructions"] == typed["instructions"]
    assert "an agent takes 64 KiB" in answer.body.decode()


async def test_a_draft_changed_elsewhere_is_not_overwritten_and_nothing_typed_is_lost(ada: Tenant) -> None:
    await make(ada)
    mine = {**await opened(ada), "instructions": "What I wrote for an hour."}
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "What came in between."})
    answer = await send(ada, "/agents/helper", mine)
    assert answer.status == 412
    shown = answer.body.decode()
    assert "changed elsewhere" in text_of(shown)
    assert "What came in between." in text_of(shown)
    again = Fields(shown).values
    assert again["instructions"] == mine["instructions"]
    assert (await read(ada))["definition"]["instructions"] == "What came in between."
    assert (await send(ada, "/agents/helper", again)).status == 303
    assert (await read(ada))["definition"]["instructions"] == mine["instructions"]


async def test_a_wrong_text_over_a_changed_draft_comes_back_as_well(ada: Tenant) -> None:
    await make(ada)
    mine = {**await opened(ada), "temperature": "warm"}
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "Other."})
    answer = await send(ada, "/agents/helper", mine)
    assert answer.status == 422
    assert Fields(answer.body.decode()).values["temperature"] == "warm"


async def test_hostile_texts_are_shown_as_text_and_move_nothing(ada: Tenant) -> None:
    await make(ada, title=HOSTILE * 900, description=HOSTILE, instructions=HOSTILE)
    await ada.client.post(f"{ada.path}/agents/helper/versions", json={"note": HOSTILE})
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": HOSTILE + "\u202dmore"})
    for path in (
        "",
        "/helper",
        "/helper/versions",
        "/helper/versions/1",
        "/helper/versions/1..draft",
        "/helper/publish",
    ):
        shown = await page(ada, f"/agents{path}")
        assert "<script>alert" not in shown
        outside = re.sub(r"<textarea.*?</textarea>|<input[^>]*>", "", shown, flags=re.DOTALL)
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b]", outside), path
        assert "⟨202E⟩" in outside, path
    assert "⟨202D⟩" in await page(ada, "/agents/helper/versions/1..draft")
    assert (await opened(ada))["instructions"] == HOSTILE + "\u202dmore"
    assert "<script>alert" not in await page(ada, f"/@{ada.handle}/helper")


async def test_a_draft_is_looked_at_and_published_with_a_note(ada: Tenant) -> None:
    await make(ada)
    answer = await send(ada, "/agents/helper", {**await opened(ada), "title": "Kind", "then": "publish"})
    assert answer.headers["location"] == "/agents/helper/publish"
    form = await opened(ada, "/agents/helper/publish")
    answer = await send(ada, "/agents/helper/versions", {**form, "note": "A first one."})
    assert answer.headers["location"] == "/agents/helper"
    version = (await ada.client.get(f"{ada.path}/agents/helper/versions/1")).json
    assert (version["note"], version["definition"]["title"]) == ("A first one.", "Kind")
    assert "nothing to publish" in await page(ada, "/agents/helper/publish")
    assert "A first one." in await page(ada, "/agents/helper/versions")


async def test_a_draft_that_changed_since_it_was_looked_at_is_not_published(ada: Tenant) -> None:
    await make(ada)
    form = await opened(ada, "/agents/helper/publish")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "Slipped in."})
    answer = await send(ada, "/agents/helper/versions", {**form, "note": "Mine."})
    assert answer.status == 412
    assert Fields(answer.body.decode()).values["note"] == "Mine."
    assert "Slipped in." in answer.body.decode()
    assert (await read(ada))["latest_version"] is None


async def test_two_versions_are_told_apart_by_word(ada: Tenant) -> None:
    await make(ada, instructions="Answer every question in plain words.")
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await ada.client.patch(
        f"{ada.path}/agents/helper", json={"instructions": "Answer every question in kind words."}
    )
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    for span in ("1..2", "1..draft"):
        shown = await page(ada, f"/agents/helper/versions/{span}")
        assert "<del>plain</del>" in shown
        assert "<ins>kind</ins>" in shown
    assert "They say the same." in await page(ada, "/agents/helper/versions/2..draft")


@pytest.mark.parametrize(
    "span", ["1..9", "0..1", "draft", "1...2", "x..y", "99999999999..1", "1..", "%00", "9"]
)
async def test_versions_that_are_not_there_are_a_page_with_a_sentence(ada: Tenant, span: str) -> None:
    await make(ada)
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await page(ada, f"/agents/helper/versions/{span}", 404)


async def test_a_very_long_difference_is_shown_from_its_beginning(ada: Tenant) -> None:
    lines = ["\n".join(f"{number % divisor}" for number in range(30_000)) for divisor in (7, 9)]
    await make(ada, instructions=lines[0])
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": lines[1]})
    shown = await page(ada, "/agents/helper/versions/1..draft")
    assert len(shown) < 200_000
    assert "more lines of this difference are not shown" in shown


@pytest.mark.parametrize("number", ["-1", "0", "-9999999999999", "9999999999999"])
async def test_no_draft_is_made_of_a_version_that_is_not_there(ada: Tenant, number: str) -> None:
    await make(ada)
    answer = await send(ada, f"/agents/helper/versions/{number}/restore", {"revision": "1"})
    assert answer.status == 404


async def test_an_old_version_becomes_the_draft_again(ada: Tenant) -> None:
    await make(ada, instructions="The old way.")
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "New.", "name": "renamed"})
    form = await opened(ada, "/agents/renamed/versions/1")
    answer = await send(ada, "/agents/renamed/versions/1/restore", form)
    assert answer.headers["location"] == "/agents/renamed"
    assert "The old way." in await page(ada, "/agents/renamed/versions/1")
    kept = (await read(ada, "renamed"))["definition"]
    assert (kept["instructions"], kept["name"]) == ("The old way.", "renamed")


async def test_a_draft_that_changed_meanwhile_is_not_replaced_by_an_old_version(ada: Tenant) -> None:
    await make(ada, instructions="The old way.")
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "New."})
    form = await opened(ada, "/agents/helper/versions/1")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"instructions": "Newer."})
    answer = await send(ada, "/agents/helper/versions/1/restore", form)
    assert answer.headers["location"] == "/agents/helper/versions/draft..1"
    assert (await read(ada))["definition"]["instructions"] == "Newer."


async def test_an_agent_is_deleted_after_a_question(ada: Tenant) -> None:
    await make(ada)
    shown = await page(ada, "/agents/helper/delete")
    assert "cannot be taken back" in shown
    answer = await send(ada, "/agents/helper/delete", {})
    assert answer.headers["location"] == "/agents"
    await page(ada, "/agents/helper", 404)


async def test_an_agent_called_new_has_pages_too(ada: Tenant) -> None:
    made = await make(ada, name="new", title="Newest")
    assert f'href="/agents/{made["id"]}"' in await page(ada, "/agents")
    assert "Newest" in await page(ada, f"/agents/{made['id']}")


async def test_an_agents_own_page_offers_questions_to_those_who_may_talk_to_it(
    ada: Tenant, world: World
) -> None:
    await send(ada, "/agents/new", {"template": "translator"})
    runner = await world.member(ada, "runner")
    answer = await runner.get(f"/@{ada.handle}/translator")
    assert answer.status == 200
    shown = text_of(answer.body.decode())
    assert templates()["translator"].questions[0] in shown
    assert "Edit" not in shown
    assert (await runner.get("/agents/translator/delete")).status == 403
    assert "cannot change it" in (await runner.get("/agents/translator")).body.decode()


async def test_an_agents_own_page_says_what_is_published_and_nothing_of_the_draft(
    ada: Tenant, world: World
) -> None:
    await make(ada, title="Open house", description="For all.")
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"title": "Secret plan", "description": "Hush."})
    runner = await world.member(ada, "runner", ["run:agents"])
    answer = await runner.get(f"/@{ada.handle}/helper")
    shown = answer.body.decode()
    assert "Open house" in shown
    assert "For all." in shown
    assert not re.search("Secret plan|Hush|draft", shown)
    assert "Secret plan" in await page(ada, "/agents/helper")


async def test_what_keeps_a_draft_from_answering_is_said_with_the_way_forward(ada: Tenant) -> None:
    await make(ada, model="openai:gpt-5")
    for path in ("/agents/helper", "/agents/helper/publish", f"/@{ada.handle}/helper"):
        shown = await page(ada, path)
        assert NOT_READY in shown
        assert 'href="/models"' in shown


async def test_an_agents_own_page_says_that_its_model_cannot_use_its_tools(ada: Tenant) -> None:
    await make(ada, model="local:smollm2", tools=["clock"])
    assert "cannot call tools" in await page(ada, f"/@{ada.handle}/helper")
    await ada.client.patch(f"{ada.path}/agents/helper", json={"tools": []})
    assert "cannot call tools" not in await page(ada, f"/@{ada.handle}/helper")


async def test_others_find_nothing(ada: Tenant, eve: Tenant) -> None:
    await make(ada)
    for path in (
        "/agents/helper",
        "/agents/helper/versions",
        "/agents/helper/delete",
        f"/@{ada.handle}/helper",
    ):
        await page(eve, path, 404)
    assert (await send(eve, "/agents/helper", {"name": "helper"})).status == 404
    assert (await send(eve, "/agents/helper/delete", {})).status == 404
    assert "helper" not in await page(eve, "/agents")
