"""A definition as a form's fields, and back."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.agents.editor import apply_changes, read_changes, sheet_from, sheet_of
from porch.contract.definition import Approval, Definition, ModelSettings, parse_definition
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
    reasoning_effort=st.none() | st.sampled_from(["none", "minimal", "low", "medium", "high"]),
    tool_choice=st.none() | st.sampled_from(["auto", "none", "required"]),
    parallel_tool_calls=st.none() | st.booleans(),
    response_schema=st.none()
    | st.dictionaries(words, st.none() | st.integers(-9, 9) | words, max_size=3).map(
        lambda rest: {**rest, "type": "object"}
    ),
    cache=st.none() | st.booleans(),
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
    concurrency=st.none() | st.sampled_from(["reject", "queue", "interrupt"]),
    settings=st.none() | settings,
).flatmap(
    lambda made: (
        st.lists(st.sampled_from(made.tools), unique=True).map(
            lambda asked: msgspec.structs.replace(
                made, approval=Approval(tools=asked, expires_in=90) if asked else None
            )
        )
        if made.tools
        else st.just(made)
    )
)


@given(definitions)
def test_a_form_sent_back_untouched_changes_nothing(definition: Definition) -> None:
    sheet = {**sheet_of(definition), "ask:": "on"}
    sent = {name: text.replace("\n", "\r\n") for name, text in sheet.items()}
    assert read_changes(sheet_from(sent), definition) == {}


@given(definitions, definitions)
def test_what_the_form_says_is_what_the_draft_becomes_and_the_rest_stays(
    draft: Definition, wanted: Definition
) -> None:
    sent = {**sheet_of(wanted), "ask:": "on"}
    made = parse_definition(apply_changes(draft, read_changes(sent, draft)))
    kept = (
        made.questions if wanted.questions == draft.questions else [each.strip() for each in wanted.questions]
    )
    assert sheet_of(made) == {**sheet_of(wanted), "questions": "\n".join(kept)}
    assert (made.plugins, made.memory) == (draft.plugins, draft.memory)


def test_every_wrong_field_is_named() -> None:
    draft = Definition(name="helper", instructions="", model="local:smollm2")
    wrong = {
        "name": "-",
        "model": "x",
        "seed": "1.5",
        "max_steps": "0",
        "temperature": "nan",
        "top_p": "1e999",
        "reasoning_effort": "very",
        "tool_choice": "two words",
        "response_schema": "{",
        "cache": "maybe",
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


HELPER = Definition(name="helper", instructions="", model="local:smollm2", tools=["clock"])
BOOK = {"type": "object", "properties": {"year": {"type": ["integer", "null"], "default": None}}}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ('{"type": "object",}', "at line 1, column 1"),
        ('{\n  "type": "object"\n  "properties": {}\n}', "at line 3, column 3"),
        ('{"minimum": NaN, "type": "number"}', "This is no JSON"),
        ('"\\ud800"', "This is no JSON"),
        ("[" * 5000 + "]" * 5000, "nests too deep"),
        ('["type"]', "A schema is a JSON object"),
        ('{"title": "Book"}', "says nothing of the answer yet"),
        ('{"type": "text"}', "The schema has the type 'text'; the types are object, array, string"),
        (
            '{"properties": {"a": {"items": {"type": "strng"}}}}',
            "/properties/a/items has the type 'strng'",
        ),
        ('{"properties": {"a": {}}, "required": ["b"]}', "The schema requires 'b'"),
        ('{"properties": []}', "no object"),
        ('{"required": "a", "type": "object"}', "no list of names"),
        ('{"enum": []}', '"enum" that is no list of values'),
        ('{"anyOf": {}}', '"anyOf" that is no list of schemas'),
        ('{"$defs": {"b": 7}, "$ref": "#/$defs/b"}', "/$defs/b is no schema"),
        ('{"items": ' * 60 + "{}" + "}" * 60, "nests too deep"),
    ],
)
def test_a_schema_that_cannot_be_says_where_and_what_to_write(typed: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_changes({**sheet_of(HELPER), "response_schema": typed}, HELPER)
    [error] = caught.value.errors
    assert error["pointer"] == "/response_schema"
    assert said in error["detail"]


def test_a_schema_takes_the_place_of_the_one_before_whole_with_its_nulls() -> None:
    before = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    draft = Definition(
        name="helper",
        instructions="",
        model="local:smollm2",
        settings=ModelSettings(response_schema=before, seed=7),
    )
    changes = read_changes({**sheet_of(draft), "response_schema": json.dumps(BOOK)}, draft)
    assert apply_changes(draft, changes)["settings"] == {"response_schema": BOOK, "seed": 7}
    emptied = read_changes({**sheet_of(draft), "response_schema": " "}, draft)
    assert apply_changes(draft, emptied)["settings"] == {"seed": 7}


def test_a_tool_that_must_be_called_has_to_be_ticked() -> None:
    chosen = {**sheet_of(HELPER), "tool_choice": "clock"}
    draft = parse_definition(apply_changes(HELPER, read_changes(chosen, HELPER)))
    assert draft.settings == ModelSettings(tool_choice="clock")
    for sheet, before in (
        ({**sheet_of(HELPER), "tool_choice": "search"}, HELPER),
        ({name: text for name, text in sheet_of(draft).items() if name != "tool:clock"}, draft),
    ):
        with pytest.raises(InvalidInput) as caught:
            read_changes(sheet, before)
        assert [error["pointer"] for error in caught.value.errors] == ["/tool_choice"]
        assert "not ticked under Tools" in caught.value.errors[0]["detail"]


def test_a_tool_that_the_agent_gives_up_is_nothing_to_ask_about() -> None:
    approval = Approval(tools=["clock", "mail"], expires_in=90, guests=True)
    draft = Definition(
        name="a", instructions="", model="local:smollm2", tools=["clock", "mail"], approval=approval
    )
    sheet = sheet_of(draft)
    assert read_changes({**sheet, "ask:": "on"}, draft) == {}
    del sheet["tool:mail"]
    changed = parse_definition(apply_changes(draft, read_changes({**sheet, "ask:": "on"}, draft)))
    assert changed.tools == ["clock"]
    assert changed.approval == Approval(tools=["clock"], expires_in=90, guests=True)
    # A page of an older version says nothing of asking.
    without = {name: text for name, text in sheet_of(changed).items() if not name.startswith("ask:")}
    assert read_changes(without, changed) == {}
    silent = parse_definition(apply_changes(changed, read_changes({**without, "ask:": "on"}, changed)))
    assert silent.approval is None


def test_a_setting_for_yes_and_no_can_also_be_left_to_the_provider() -> None:
    asked = {**sheet_of(HELPER), "cache": "no", "parallel_tool_calls": "yes"}
    draft = parse_definition(apply_changes(HELPER, read_changes(asked, HELPER)))
    assert draft.settings == ModelSettings(cache=False, parallel_tool_calls=True)
    left = {**sheet_of(draft), "cache": "", "parallel_tool_calls": ""}
    assert not apply_changes(draft, read_changes(left, draft))["settings"]
