"""What single models take that others of their provider do not, as it is sent and as it is refused."""

import json
from typing import Any

import pytest

from porch.contract.definition import ModelSettings
from porch.egress import Egress
from porch.providers import chat_completions, responses
from porch.providers.chat_completions.encoder import encode_request as encode_chat
from porch.providers.request import ModelRequest, ToolSpec
from porch.providers.responses.encoder import encode_request as encode_responses
from porch.providers.traits import nearest_effort
from tests.providers.asking import ask, chat, request
from tests.providers.upstream import DONE, SAY, STOP, answer, upstream

CLOCK = ToolSpec("clock", "The time.", {"type": "object", "properties": {}})


def sent(model: str, server: str = "openai", *, tools: bool = False, **settings: Any) -> dict[str, Any]:
    """What goes to a Chat Completions server."""
    asked = ModelRequest(
        model=model,
        instructions="",
        messages=[],
        tools=[CLOCK] if tools else [],
        settings=ModelSettings(**settings),
    )
    return json.loads(encode_chat(asked, chat_completions.profile(server)))


def sent_to_responses(model: str, server: str = "openai", **settings: Any) -> dict[str, Any]:
    asked = ModelRequest(
        model=model, instructions="", messages=[], tools=[CLOCK], settings=ModelSettings(**settings)
    )
    return json.loads(encode_responses(asked, responses.profile(server)))


@pytest.mark.parametrize("server", ["openai", "azure"])
@pytest.mark.parametrize(
    ("model", "effort"),
    [
        ("gpt-6-luna", "none"),
        ("gpt-6-sol", "none"),
        ("gpt-5.6-terra", "none"),
        ("gpt-5.5-2026-04-23", "none"),
        ("gpt-5.4-mini", None),
        ("gpt-5.2", None),
        ("gpt-5-mini", None),
        ("gpt-4o", None),
        ("gpt-5.50", None),
        ("somebody-else", None),
    ],
)
def test_tools_come_with_the_effort_that_their_model_demands_beside_them(
    server: str, model: str, effort: str | None
) -> None:
    body = sent(model, server, tools=True)
    assert body["tools"]
    assert body.get("reasoning_effort") == effort
    assert "reasoning_effort" not in sent(model, server), "without tools the model thinks as it likes"


def test_a_model_that_does_not_think_beside_tools_anyway_is_not_told_so() -> None:
    assert "reasoning_effort" not in sent("gpt-5.4", tools=True, reasoning_effort="none")
    assert sent("gpt-5.4", reasoning_effort="none")["reasoning_effort"] == "none"


@pytest.mark.parametrize(
    ("model", "effort", "said"),
    [
        ("gpt-6.1-sol", None, "takes no tools"),
        ("gpt-6.1-terra", "none", "takes no tools"),
        ("gpt-6-astra", "high", "takes no tools"),
        ("gpt-6.2-sol", None, "takes no tools"),
        ("gpt-6-luna", "low", "only without reasoning"),
        ("gpt-5.6", "minimal", "only without reasoning"),
        ("gpt-5.4", "high", "only without reasoning"),
    ],
)
async def test_tools_that_a_model_takes_elsewhere_alone_are_refused_before_it_is_asked(
    model: str, effort: Any, said: str
) -> None:
    async with Egress() as egress, upstream(answer(SAY, STOP, DONE)) as place:
        provider = chat(egress, place.url, chat_completions.profile("openai"))
        asked = request(model=model, tools=[CLOCK], settings=ModelSettings(reasoning_effort=effort))
        error = (await ask(provider, asked)).error
        assert not place.requests
    assert error is not None
    assert (error.reason, error.kind, error.retryable) == ("tools_not_taken", "bad_request", False)
    assert said in error.message
    assert f"Ask for 'openai-responses:{model}' instead" in error.message
    assert ("or set the reasoning effort to 'none'." in error.message) == (said == "only without reasoning")


@pytest.mark.parametrize(
    ("model", "end"),
    [
        ("gpt-6.1-sol", "Choose another model, or an agent without tools."),
        ("gpt-6-luna", "only without reasoning. Set the reasoning effort to 'none'."),
    ],
)
async def test_a_place_that_has_the_models_in_one_dialect_alone_names_no_other(model: str, end: str) -> None:
    async with Egress() as egress:
        provider = chat(egress, "http://127.0.0.1:9/v1", chat_completions.profile("azure"))
        asked = request(model=model, tools=[CLOCK], settings=ModelSettings(reasoning_effort="high"))
        error = (await ask(provider, asked)).error
    assert error is not None
    assert error.message.endswith(end)


async def test_the_same_models_are_asked_where_nothing_stands_against_it() -> None:
    async with Egress() as egress, upstream(answer(SAY, STOP, DONE)) as place:
        provider = chat(egress, place.url, chat_completions.profile("openai"))
        settings = ModelSettings(reasoning_effort="high")
        for asked in (
            request(model="gpt-6.1-sol", settings=settings),
            request(model="gpt-6-luna", settings=settings),
            request(model="gpt-6-luna", tools=[CLOCK]),
        ):
            assert (await ask(provider, asked)).error is None
        efforts = [exchange.json().get("reasoning_effort") for exchange in place.requests]
    assert efforts == ["high", "high", "none"]


def test_the_dialect_that_takes_the_tools_is_sent_them_with_the_reasoning() -> None:
    body = sent_to_responses("gpt-6.1-sol", reasoning_effort="high")
    assert body["tools"]
    assert body["reasoning"] == {"effort": "high", "summary": "auto"}


@pytest.mark.parametrize(
    ("model", "effort", "chosen"),
    [
        ("gpt-6.2-astra", "none", "low"),
        ("gpt-6-luna", "minimal", "low"),
        ("gpt-5.1", "minimal", "low"),
        ("gpt-5.1", "none", "none"),
        ("gpt-5-nano", "none", "minimal"),
        ("gpt-5-pro", "low", "high"),
        ("o3", "none", "low"),
        ("somebody-else", "minimal", "minimal"),
    ],
)
def test_an_effort_that_a_model_does_not_know_becomes_the_nearest_it_does(
    model: str, effort: str, chosen: str
) -> None:
    assert sent(model, reasoning_effort=effort)["reasoning_effort"] == chosen
    assert sent_to_responses(model, reasoning_effort=effort)["reasoning"]["effort"] == chosen


@pytest.mark.parametrize(
    ("model", "effort", "chosen"),
    [
        ("gemini-3.8-flash", "none", "low"),
        ("gemini-3.8-flash", "minimal", "low"),
        ("gemini-3.1-pro-preview", "none", "low"),
        ("gemini-2.5-flash", "none", "none"),
        ("gemini-2.5-flash", "minimal", "low"),
    ],
)
def test_gemini_is_asked_for_efforts_that_its_own_servers_take(model: str, effort: str, chosen: str) -> None:
    body = sent(model, "google", tools=True, reasoning_effort=effort, temperature=0.5)
    assert (body["reasoning_effort"], body["temperature"]) == (chosen, 0.5)


def test_a_little_thinking_asked_for_is_never_turned_into_none() -> None:
    assert nearest_effort("minimal", ("none", "low", "high")) == "low"
    assert nearest_effort("medium", ("none", "low", "high")) == "low"
    assert nearest_effort("none", ("low",)) == "low"


@pytest.mark.parametrize(
    ("model", "effort", "taken"),
    [
        ("gpt-6-luna", None, False),
        ("gpt-6-luna", "none", True),
        ("gpt-6.1-sol", "none", False),
        ("gpt-5-mini", None, False),
        ("gpt-5.4", None, True),
        ("gpt-5.4", "low", False),
        ("o4-mini", None, False),
        ("gpt-4.1", None, True),
        ("gpt-5-chat-latest", None, True),
        ("somebody-else", None, True),
    ],
)
def test_temperature_gives_way_to_reasoning_where_the_model_refuses_it_beside(
    model: str, effort: Any, taken: bool
) -> None:
    settings: dict[str, Any] = {"temperature": 0.5, "top_p": 0.9, "reasoning_effort": effort}
    for body in (sent(model, **settings), sent_to_responses(model, **settings)):
        assert ("temperature" in body, "top_p" in body) == (taken, taken)


def test_temperature_is_sent_with_tools_to_a_model_that_stops_thinking_for_them() -> None:
    assert sent("gpt-6-luna", tools=True, temperature=0.5)["temperature"] == 0.5


def test_another_server_that_goes_by_the_dialect_alone_is_sent_what_was_asked() -> None:
    body = sent("gpt-6.1-sol", "another", tools=True, reasoning_effort="minimal", temperature=0.5)
    assert (body["reasoning_effort"], body["temperature"]) == ("minimal", 0.5)
