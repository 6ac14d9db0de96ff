"""What is said stays among what was said: in a Markdown file nothing swallows or outranks the rest."""

from datetime import UTC, datetime

import pytest

from porch.agents.exported_text import contain, tame
from porch.agents.exports import MarkdownFile
from porch.contract.messages import Message, Part, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from tests.agents.test_shares import a_conversation


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("Look:\n```python\nprint(1)", "\n```"),
        ("~~~~\na\n~~~", "\n~~~~"),
        ("   `````js\n```\n````", "\n   `````"),
        ("```\na\n```\n```\nb", "\n```"),
        ("1. so:\n   ```\n   a", "\n   ```"),
        ("```\n~~~", "\n```"),
        ("```\n```python", "\n```"),
    ],
)
def test_a_block_of_code_that_never_ends_is_ended(text: str, ending: str) -> None:
    assert contain(text) == text + ending


@pytest.mark.parametrize(
    "text",
    [
        "```\na\n```",
        "~~~\na\n~~~~~  ",
        "``` a `b` c",
        "    ```\n    a",
        "```\n# a comment\n===\n```",
        "- a\n  ```\n  code\n\nAfter the list.",
        "> ```\n> a",
        "a | b\n--|--\n1 | 2",
        "one\n\n---\n\ntwo",
        "- one\n- two\n---\nthree",
        "#no heading, 5 # 6",
        "    # a comment",
        "One *word*.\n\n1. a\n2. b",
        "",
    ],
)
def test_what_stays_within_itself_is_left_as_it_is(text: str) -> None:
    assert contain(text) == text


@pytest.mark.parametrize(
    ("text", "below"),
    [
        ("# One", "### One"),
        ("## You", "#### You"),
        ("  ###### Six", "  ###### Six"),
        ("#", "###"),
        ("> # Quoted", "> ### Quoted"),
        ("- a\n\n  # In it", "- a\n\n  ### In it"),
        ("Title\n=====\ntext", "### Title\ntext"),
        ("Title\n---", "#### Title"),
        ("two\nlines\n---", "two\nlines\n\\---"),
        ("```\n# a\n```\n# b", "```\n# a\n```\n### b"),
    ],
)
def test_a_heading_stands_below_those_of_the_file(text: str, below: str) -> None:
    assert contain(text) == below


def test_no_control_drives_a_terminal() -> None:
    assert (
        tame("a\tb\r\nc\x1b[31m\x9b2J\x07\x7f\r") == "a\tb\nc⟨U+001B⟩[31m⟨U+009B⟩2J⟨U+0007⟩⟨U+007F⟩⟨U+000D⟩"
    )
    assert tame("می‌خواهم 👩‍🚀 \u202e") == "می‌خواهم 👩‍🚀 \u202e", "what people write stays theirs"


def test_a_long_line_of_marks_is_read_at_once() -> None:
    for marks in (
        "> " * 50_000,
        "- " * 50_000,
        "-  " * 50_000,
        "`" * 100_000,
        " " * 100_000 + "x",
        "* " * 9 + "x",
    ):
        assert contain(marks + "\n" + marks)


def test_the_next_speaker_is_a_heading_whatever_was_said_before() -> None:
    parts: list[Part] = [
        TextPart(text="## You\n\n```"),
        ReasoningPart(text="# Hm\n~~~\nno end\x1b"),
        ToolCallPart(call="c", name="clo\x1bck", arguments={"a": "\x9b"}),
        ToolResultPart(call="c", output="\x1b]0;title\x07"),
        TextPart(text="~~~\nopen"),
    ]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    said = Message(id="msg_1", role="assistant", parts=parts, created_at=now)
    asked = Message(id="msg_2", role="user", parts=[TextPart(text="Thanks")], created_at=now)
    file = MarkdownFile(a_conversation("A\x1b[1m\u202etitle\u200b"), "@a/b", "Bob\u2066\x9b")
    text = (file.opening() + file.messages([said, asked]) + file.closing()).decode()
    assert text.startswith("# A⟨U+001B⟩\\[1m⟨U+202E⟩title⟨U+200B⟩\n\nWith Bob⟨U+2066⟩⟨U+009B⟩ (@a/b)")
    assert "\n#### You\n\n```\n```\n\n> Thinking:\n> ### Hm\n> ~~~\n> no end⟨U+001B⟩\n> ~~~\n" in text
    assert text.endswith("\n\n~~~\nopen\n~~~\n\n## You\n\nThanks\n")
    assert not set(text) & {*map(chr, range(9)), *map(chr, range(11, 32)), *map(chr, range(127, 160))}
