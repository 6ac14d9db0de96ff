"""The pages of agents, as they are without any script."""

import html
import json
import re

import pytest

from porch.agents.templates import templates
from porch.egress import Egress
from porch.models import Models
from porch.models.sharing import Sharing
from tests.agents.sheets import (
    HOSTILE,
    NOT_READY,
    Fields,
    furnished,
    make,
    opened,
    page,
    read,
    send,
    text_of,
)
from tests.http.app import Tenant, World
from tests.providers.upstream import plain, upstream

__all__ = ["furnished"]


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
        "questions": ["Who <b>?", "Warum?"],
        "instructions": "\nBe thorough.\r\n\r\nThen stop.\n",
        "model": ["openai:gpt-5", "local:smollm2"],
        "tools": ["clock"],
        "plugins": ["notes"],
        "memory": {"recall": {"limit": 5}},
        "settings": {
            "temperature": 0.5,
            "stop": ["a\nb", "c\\n"],
            "seed": 7,
            "max_steps": 3,
            "reasoning_effort": "low",
            "tool_choice": "clock",
            "parallel_tool_calls": False,
            "response_schema": {"type": "object", "properties": {"é": {"const": None}}},
            "cache": True,
        },
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
        "questions": "q" * 201,
        "response_schema": '{"type": "text"}',
        "tool_choice": "teleport",
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
        assert "⟨U+202E⟩" in outside, path
    assert "⟨U+202D⟩" in await page(ada, "/agents/helper/versions/1..draft")
    assert (await opened(ada))["instructions"] == HOSTILE + "\u202dmore"
    assert "<script>alert" not in await page(ada, f"/@{ada.handle}/helper")


async def test_a_form_that_wants_to_go_on_to_nowhere_known_changes_nothing(ada: Tenant) -> None:
    await make(ada)
    answer = await send(ada, "/agents/helper", {**await opened(ada), "title": "New", "then": "elsewhere"})
    assert answer.status == 422
    assert (await read(ada))["revision"] == 1
    answer = await send(ada, "/agents/new", {"template": "tutor", "then": "elsewhere"})
    assert answer.status == 422
    await page(ada, "/agents/tutor", 404)


async def test_a_page_from_before_a_field_was_there_leaves_it_alone(ada: Tenant) -> None:
    await make(ada, questions=["Who?"])
    form = {**await opened(ada), "title": "Kind"}
    del form["questions"]
    assert (await send(ada, "/agents/helper", form)).status == 303
    assert (await read(ada))["definition"]["questions"] == ["Who?"]


async def test_questions_are_the_agents_own_however_its_instructions_change(ada: Tenant) -> None:
    await send(ada, "/agents/new", {"template": "tutor"})
    form = {**await opened(ada, "/agents/tutor"), "instructions": "Teach otherwise."}
    form["questions"] = "What is a lichen?\n\nIs <b>this</b> safe?"
    assert (await send(ada, "/agents/tutor", form)).status == 303
    assert (await read(ada, "tutor"))["definition"]["questions"] == [
        "What is a lichen?",
        "Is <b>this</b> safe?",
    ]
    for path in ("/agents/tutor", f"/@{ada.handle}/tutor"):
        shown = await page(ada, path)
        [offered] = re.findall(r"suggestions='([^']*)'", shown)
        assert json.loads(offered) == ["What is a lichen?", "Is <b>this</b> safe?"]
        assert "<b>this</b>" not in shown


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
    assert templates()["translator"].definition.questions[0] in shown
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


@pytest.mark.parametrize(
    ("listed", "typed"), [(b'{"data": [{"id": "house-model"}]}', False), (b'{"detail": "no list"}', True)]
)
async def test_of_another_server_its_own_models_are_the_choice_or_a_name_is_typed(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch, listed: bytes, typed: bool
) -> None:
    async with Egress() as egress, upstream(plain(200, listed)) as place:
        environ = {"OPENAI_BASE_URL": place.url, "OLLAMA_HOST": "127.0.0.1:1"}
        models = Models(environ, egress, Sharing(ada.workspace))
        await models.available(ada.workspace, seconds=3)
        monkeypatch.setitem(vars(world.app.state)["_state"], "models", models)
        await make(ada)
        for path in ("/agents/new?template=assistant", "/agents/helper"):
            shown = await page(ada, path)
            assert "openai:gpt" not in shown
            assert ("openai:house-model" in shown) is not typed
            assert ("does not say which models it has" in shown) is typed
        form = await page(ada, "/agents/new?template=assistant")
        assert bool(re.search(r'<input class="input" type="text"[^>]* name="model"', form)) is typed
        own = {"template": "assistant", "title": "T", "name": "own", "model": "openai:my-own"}
        assert (await send(ada, "/agents/new", own)).status == 303
        assert 'value="openai:my-own"' in await page(ada, "/agents/own")
