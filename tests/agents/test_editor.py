"""A definition as a form's fields, and back."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.agents.editor import read_changes, sheet_from, sheet_of
from porch.agents.service import merge
from porch.contract.definition import Definition, ModelSettings, parse_definition
from porch.contract.errors import InvalidInput

words = st.text(alphabet="ab<&\"'é\u202e\\n", min_size=1, max_size=8)
lines = st.lists(words, max_size=3).map("\n".join)
models = st.sampled_from(["local:smollm2", "openai:gpt-5", "ollama:qwen3:4b"])
settings = st.builds(
    ModelSettings,
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    max_output_tokens=st.none() | st.integers(1, 10**6),
    max_steps=st.none() | st.integers(1, 64),
    seed=st.none() | st.integers(-(2**53), 2**53),
    stop=st.none() | st.lists(st.text(alphabet="a\n\\ x", min_size=1, max_size=4), min_size=1, max_size=3),
)
definitions = st.builds(
    Definition,
    name=st.sampled_from(["helper", "a", "b-2"]),
    title=st.none() | words,
    description=st.none() | words,
    instructions=lines,
    questions=st.lists(st.text(alphabet="ab <é", min_size=1, max_size=8).filter(str.strip), max_size=6),
    model=models | st.lists(models, min_size=2, max_size=3),
    tools=st.none() | st.lists(st.sampled_from(["clock", "search", "mail"]), min_size=1, unique=True),
    plugins=st.none() | st.just(["notes"]),
    memory=st.none() | st.just({"recall": {"limit": 5}}),
    settings=st.none() | settings,
)


@given(definitions)
def test_a_form_sent_back_untouched_changes_nothing(definition: Definition) -> None:
    sent = {name: text.replace("\n", "\r\n") for name, text in sheet_of(definition).items()}
    assert read_changes(sheet_from(sent), definition) == {}


@given(definitions, definitions)
def test_what_the_form_says_is_what_the_draft_becomes_and_the_rest_stays(
    draft: Definition, wanted: Definition
) -> None:
    patch = read_changes(sheet_of(wanted), draft)
    made = parse_definition(merged(draft, patch))
    kept = (
        made.questions if wanted.questions == draft.questions else [each.strip() for each in wanted.questions]
    )
    assert sheet_of(made) == {**sheet_of(wanted), "questions": "\n".join(kept)}
    assert (made.plugins, made.memory) == (draft.plugins, draft.memory)


def merged(draft: Definition, patch: dict[str, Any]) -> dict[str, Any]:
    result = merge(msgspec.to_builtins(draft), patch)
    assert isinstance(result, dict)
    return result  # pyright: ignore[reportUnknownVariableType]  # JSON


def test_every_wrong_field_is_named() -> None:
    draft = Definition(name="helper", instructions="", model="local:smollm2")
    wrong = {
        "name": "-",
        "model": "x",
        "seed": "1.5",
        "max_steps": "0",
        "temperature": "nan",
        "top_p": "1e999",
    }
    with pytest.raises(InvalidInput) as caught:
        read_changes({**sheet_of(draft), **wrong}, draft)
    assert {error["pointer"] for error in caught.value.errors} == {f"/{name}" for name in wrong}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("Who?\n\n" + "x" * 201, "Line 3 has 201 characters; shorten it to 200."),
        ("Who?\nWh\tat?", "Line 2 holds a control character (U+0009); write it as one line of plain text."),
        ("\n".join("abcdefg"), "Line 7 is one too many: keep the best 6."),
    ],
)
def test_a_question_that_cannot_be_is_named_by_its_line(typed: str, said: str) -> None:
    draft = Definition(name="helper", instructions="", model="local:smollm2")
    with pytest.raises(InvalidInput) as caught:
        read_changes({**sheet_of(draft), "questions": typed}, draft)
    assert caught.value.errors == [{"pointer": "/questions", "detail": said}]


def test_questions_go_one_a_line_and_empty_lines_are_none() -> None:
    draft = Definition(name="helper", instructions="", model="local:smollm2", questions=["Old?"])
    assert read_changes({**sheet_of(draft), "questions": "\n Who? \n\nWhat?\n"}, draft) == {
        "questions": ["Who?", "What?"]
    }
    assert read_changes({**sheet_of(draft), "questions": " \n"}, draft) == {"questions": None}


def test_a_field_that_the_page_did_not_have_stays_as_it_is() -> None:
    draft = Definition(name="helper", instructions="Be.", model="local:smollm2", questions=["Who?"])
    assert read_changes(sheet_from({"title": "Helper"}), draft) == {"title": "Helper"}
