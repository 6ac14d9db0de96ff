"""The agents to begin with."""

import pytest

from porch.agents.templates import DEFAULT, find_template, templates
from porch.contract.errors import InvalidInput, NotFound
from porch.plugins.service import Tools
from tests.http.app import Tenant


def test_every_template_shows_well() -> None:
    assert next(iter(templates())) == DEFAULT
    for template in templates().values():
        definition = template.definition
        assert template.summary.endswith(".")
        assert 2 <= len(definition.questions) <= 4
        assert definition.title
        assert definition.description
        assert definition.description.endswith(".")
        assert definition.instructions == definition.instructions.strip()
        Tools().of(definition)


def test_a_template_takes_another_name_and_model() -> None:
    made = find_template("tool-user").named("sunday-helper", "openai:gpt-5-mini")
    assert (made.name, made.title, made.model) == ("sunday-helper", "Sunday helper", "openai:gpt-5-mini")
    assert made.tools == ["clock"]
    assert find_template("hello").named("hi", default="ollama:qwen3").model == "ollama:qwen3"
    assert find_template("scripted-demo").named("hi", default="ollama:qwen3").model == "scripted:demo"
    with pytest.raises(InvalidInput):
        find_template(DEFAULT).named("No Name")


def test_an_agent_has_its_templates_questions_under_any_name_and_model() -> None:
    template = find_template("translator")
    made = template.named("dolmetscher", "openai:gpt-5-mini")
    assert made.questions == template.definition.questions


def test_an_unknown_template_names_those_there_are() -> None:
    with pytest.raises(NotFound, match="assistant, hello"):
        find_template("nothing")


async def test_every_template_can_be_kept_as_an_agent(ada: Tenant) -> None:
    import msgspec

    for template in templates().values():
        answer = await ada.client.post(f"{ada.path}/agents", json=msgspec.to_builtins(template.definition))
        assert answer.status == 201, answer.body
