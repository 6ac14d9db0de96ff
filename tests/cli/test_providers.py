"""`porch models` and `porch providers test` as a person with some keys runs them."""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from porch.cli.story import better_models
from porch.models import Availability
from tests.cli.places import data_folder, porch, terminal
from tests.providers.asking import KEY
from tests.providers.upstream import DONE, SAY, STOP, Behaviour, Upstream, answer, plain, upstream

USED = b'data: {"model":"m-1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"cost":0.5}}\n\n'
LISTED = plain(200, b'{"data": [{"id": "a/m"}]}')
GOOD = answer(SAY, STOP, USED, DONE)


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as place:
        yield place


async def tried(
    folder: Path, *behaviours: Behaviour, arguments: tuple[str, ...] = (), **environ: str
) -> subprocess.CompletedProcess[str]:
    """`porch providers test` with OpenRouter's place taken by a server that behaves so."""
    async with upstream(*behaviours) as place:
        environ = {"OPENROUTER_BASE_URL": place.url, "OPENROUTER_API_KEY": KEY, **environ}
        return await asyncio.to_thread(porch, folder, "providers", "test", *arguments, **environ)


async def test_each_provider_that_is_set_up_says_something_with_its_times_and_its_cost(folder: Path) -> None:
    done = await tried(folder, LISTED, GOOD)
    assert done.returncode == 0, done.stderr
    assert "openrouter:a/m" in done.stdout
    assert "Hi" in done.stdout
    assert "first token after" in done.stdout
    assert "9 tokens read and 2 written, 0.5 USD (price of " in done.stdout
    assert "by openrouter:m-1" in done.stdout
    assert "openai" not in done.stdout


async def test_one_that_fails_is_said_with_what_to_do_and_fails_the_command(folder: Path) -> None:
    done = await tried(folder, LISTED, plain(401))
    assert done.returncode == 1
    assert "refused the key in OPENROUTER_API_KEY" in done.stdout
    assert KEY not in done.stdout + done.stderr


async def test_a_wrong_key_is_said_even_where_no_model_can_be_chosen(folder: Path) -> None:
    refusal = plain(401, b'{"error": {"message": "Incorrect API key provided: sk-..."}}')
    async with upstream(refusal) as place:
        environ = {"OPENAI_BASE_URL": place.url, "OPENAI_API_KEY": KEY}
        done = await asyncio.to_thread(porch, folder, "providers", "test", "--json", **environ)
        listed = await asyncio.to_thread(porch, folder, "models", **environ)
    assert done.returncode == 1
    (openai,) = json.loads(done.stdout)["items"]
    assert openai["provider"] == "openai"
    assert "OPENAI_API_KEY" in openai["error"]["message"]
    assert "it was refused when its models were asked for (401): give another." in openai["error"]["message"]
    assert "refused" in listed.stdout
    assert KEY not in done.stdout + done.stderr + listed.stdout


async def test_what_keeps_a_model_from_being_chosen_is_said_in_one_sentence(folder: Path) -> None:
    async with upstream(plain(403)) as place:
        environ = {"GROQ_BASE_URL": place.url, "XAI_BASE_URL": "http://h/v1/chat/completions"}
        done = await asyncio.to_thread(porch, folder, "providers", "test", "groq", "xai", "--json", **environ)
    groq, xai = [item["error"]["message"] for item in json.loads(done.stdout)["items"]]
    assert groq.startswith("Which of its models? Write porch providers test groq:MODEL. Groq: without a key")
    assert "(it answered 403)" in groq
    assert xai == (
        "xAI is not ready: XAI_BASE_URL ends in /chat/completions, which Porch adds itself; leave that off."
    )


async def test_a_server_in_openais_place_is_asked_once_and_in_the_dialect_of_such_servers(
    folder: Path,
) -> None:
    async with upstream(LISTED, GOOD) as place:
        environ = {"OPENAI_BASE_URL": place.url}
        done = await asyncio.to_thread(porch, folder, "providers", "test", **environ)
        twice = await asyncio.to_thread(
            porch, folder, "providers", "test", "openai:x", "openai:x", "openai:y", "--json", **environ
        )
    assert done.returncode == 0, done.stdout
    assert "openai:a/m" in done.stdout
    asked, left_out = done.stdout.split("Asked only by name: ")
    assert "openai-responses" not in asked
    assert "openai-responses (another server stands there" in left_out
    assert {"local (comes with Porch)", "scripted (comes with Porch)"} <= set(left_out.split("; "))
    told = json.loads(twice.stdout)
    assert [item["model"] for item in told["items"]] == ["openai:x", "openai:y"]
    assert told["left_out"] == {}, "those that are named are all"


async def test_a_program_gets_all_of_it_as_json(folder: Path) -> None:
    arguments = ("openrouter:x", "scripted", "vllm", "--json")
    done = await tried(folder, LISTED, GOOD, arguments=arguments)
    assert done.returncode == 1
    first, scripted, vllm = json.loads(done.stdout)["items"]
    assert (first["ok"], first["text"], first["answered_by"]) == (True, "Hi", "openrouter:m-1")
    assert first["usage"]["cost"]["amount"] == "0.5"
    assert 0 <= first["first_token_ms"] <= first["total_ms"]
    assert scripted["ok"]
    assert (vllm["ok"], vllm["error"]["category"]) == (False, "bad_request")
    assert "VLLM_BASE_URL" in vllm["error"]["message"]


def test_without_anything_to_ask_it_says_so(folder: Path) -> None:
    done = porch(folder, "providers", "test")
    assert done.returncode == 1
    assert "No provider is set up here" in done.stderr
    unknown = porch(folder, "providers", "test", "nobody")
    assert unknown.returncode == 1
    assert "There is no provider 'nobody'" in unknown.stderr


def test_what_few_have_set_up_takes_two_lines_of_the_list(folder: Path) -> None:
    lines = porch(folder, "models").stdout.splitlines()
    assert len(lines) < 14
    assert any(line.startswith("More with a key: ") and "groq (GROQ_API_KEY)" in line for line in lines)
    assert any(line.startswith("More with an address: ") and "VLLM_BASE_URL" in line for line in lines)
    shown = porch(folder, "models", GROQ_API_KEY=KEY, GROQ_BASE_URL="http://127.0.0.1:1").stdout
    assert "Groq             key found in GROQ_API_KEY, at http://127.0.0.1:1" in shown
    assert "groq (GROQ" not in shown


ROUTED = {
    "id": "a/m",
    "context_length": 200_000,
    "architecture": {"input_modalities": ["text", "image"]},
    "supported_parameters": ["tools"],
}


def cells(text: str, name: str) -> list[str]:
    """A model's cells in the lines for programs."""
    return next(
        line.strip().split("\t") for line in text.splitlines() if line.strip().startswith(f"{name}\t")
    )


async def test_what_each_model_can_do_is_said_as_its_provider_tells_it(folder: Path) -> None:
    async with upstream(plain(200, json.dumps({"data": [ROUTED, {"id": "a/n"}]}).encode())) as place:
        environ = {"OPENROUTER_BASE_URL": place.url, "OPENROUTER_API_KEY": KEY}
        done = await asyncio.to_thread(porch, folder, "models", **environ)
    assert cells(done.stdout, "openrouter:a/m") == ["openrouter:a/m", "tools images", "200k"]
    assert cells(done.stdout, "openrouter:a/n") == ["openrouter:a/n", "not known"]


def test_without_a_network_the_table_tells_what_models_can_do_and_cost_and_as_of_when(folder: Path) -> None:
    environ = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY, "PORCH_EGRESS_PROXY": "http://127.0.0.1:1"}
    shown = porch(folder, "models", "openai", "anthropic", **environ).stdout
    assert cells(shown, "openai:gpt-4o")[:6] == [
        "openai:gpt-4o",
        "tools images",
        "128k",
        "16k",
        "$2.50",
        "$10.00",
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", cells(shown, "openai:gpt-4o")[6])
    assert cells(shown, "anthropic:claude-haiku-4-5")[1] == "tools images thinking"
    assert shown.count("it cannot be reached just now") == 2
    whole = json.loads(porch(folder, "models", "--json", **environ).stdout)["items"]
    openai = next(item for item in whole if item["provider"] == "openai")
    assert (openai["state"], openai["unlocks"]) == ("not reached", [])
    four = next(model for model in openai["models"] if model["name"] == "openai:gpt-4o")
    assert (four["tools"], four["reasoning"], four["context_tokens"]) == (True, False, 128_000)
    assert (four["price"]["output"], four["price"]["currency"]) == ("10", "USD")


def test_what_a_key_would_unlock_is_told_of_each_provider_without_one(folder: Path) -> None:
    shown = porch(folder, "models").stdout
    assert re.search(r"A key unlocks openai:\S+, .* and \d+ more\.", shown)
    assert "porch models PROVIDER" in shown
    google = porch(folder, "models", "google").stdout
    assert "A key unlocks, among others:" in google
    assert cells(google, "google:gemini-3.8-flash")[1] == "tools images thinking"
    items = json.loads(porch(folder, "models", "--json").stdout)["items"]
    unlocked = {item["provider"]: [model["name"] for model in item["unlocks"]] for item in items}
    assert "anthropic:claude-haiku-4-5" in unlocked["anthropic"]
    assert unlocked["local"] == []
    assert "There is no provider 'nobody'" in porch(folder, "models", "nobody").stderr


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_of_models_fits_its_terminal(folder: Path, columns: int) -> None:
    environ = {"OPENAI_API_KEY": KEY, "PORCH_EGRESS_PROXY": "http://127.0.0.1:1"}
    with terminal(folder, "models", "openai", columns=columns, **environ) as person:
        assert person.wait() == 0
    rows = person.text.splitlines()
    assert [row for row in rows if len(row.rstrip()) > columns] == []
    assert any(
        re.search(r"openai:gpt-6-luna +tools images thinking +1\.05M +128k +\$0\.10 +\$0\.50", row)
        for row in rows
    )
    assert ("in, out: prices of a million tokens, as of" in person.text) == (columns == 80)
    assert ("per 1M in" in person.text) == (columns == 120)


async def test_a_key_that_a_test_saw_refused_is_listed_as_refused_until_it_is_taken(folder: Path) -> None:
    folder.mkdir(parents=True)

    async def state(place: Upstream) -> tuple[str, list[str]]:
        environ = {"OPENROUTER_BASE_URL": place.url, "OPENROUTER_API_KEY": KEY}
        done = await asyncio.to_thread(porch, folder, "models", "openrouter", "--json", **environ)
        (item,) = json.loads(done.stdout)["items"]
        return item["state"], [model["name"] for model in item["models"]]

    async with upstream(plain(401)) as place:
        environ = {"OPENROUTER_BASE_URL": place.url, "OPENROUTER_API_KEY": KEY}
        arguments = ("providers", "test", "openrouter:a/m")
        assert (await asyncio.to_thread(porch, folder, *arguments, **environ)).returncode == 1
        place.behaviours[:] = [LISTED]
        assert await state(place) == ("refused", ["openrouter:a/m"])
        place.behaviours[:] = [GOOD]
        assert (await asyncio.to_thread(porch, folder, *arguments, **environ)).returncode == 0
        place.behaviours[:] = [LISTED]
        assert await state(place) == ("ready", ["openrouter:a/m"])


async def test_a_first_hello_offers_the_providers_whose_keys_are_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in list(os.environ):
        if re.search(r"_API_KEY$|_BASE_URL$", name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    monkeypatch.setenv("MISTRAL_API_KEY", KEY)
    monkeypatch.setattr("porch.models.service.look_at_list", unlisted)
    offers = await better_models(tmp_path)
    assert offers == [("openrouter:openai/gpt-4o-mini", "with OpenRouter: a key is set")]


async def unlisted(_: object, __: object, plain: Availability) -> Availability:
    """No network."""
    return plain
