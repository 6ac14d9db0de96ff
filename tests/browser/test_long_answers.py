"""Long answers are laid out part by part, and nobody sees or copies a difference."""

from collections.abc import AsyncGenerator
from itertools import cycle, islice

import pytest
from playwright.async_api import Browser, Page

from tests.browser.modules import call, module_page

WORDS = [
    "An",
    "answer",
    "of",
    "many",
    "words",
    "that",
    "somebody",
    "reads",
    "while",
    "it",
    "is",
    "being",
    "written,",
    "line",
    "after",
    "line",
]
HEBREW = ["תשובה", "ארוכה", "מאוד", "שמישהו", "קורא", "בזמן", "שהיא", "נכתבת,", "שורה", "אחרי", "שורה"]


def prose(words: list[str], count: int) -> str:
    return " ".join(islice(cycle(words), count))


def marked(count: int) -> str:
    signs = cycle(["{}", "{}", "**{}**", "{}", "`{}`", "*{}*", "{}", "[{}](https://x.test)"])
    return " ".join(sign.format(word) for sign, word in zip(signs, prose(WORDS, count).split(), strict=False))


PARAGRAPHS = {
    "words": prose(WORDS, 5000),
    "marked words": marked(4000),
    "right to left": prose(HEBREW, 4000),
    "both ways": prose([*WORDS, *HEBREW, "12,5", "(x)"], 4000),
    "ways that change with each word": "a ש " * 4000,
    "no spaces": "字は" * 9000,
    "lines": "\n".join([prose(WORDS, 40)] * 80),
    "in a list": "- " + prose(WORDS, 4000),
}


@pytest.fixture
async def page(browser: Browser) -> AsyncGenerator[Page]:
    async with module_page(browser) as page:
        yield page


@pytest.mark.parametrize("name", PARAGRAPHS)
async def test_a_long_paragraph_grows_in_stretches_and_looks_as_one(page: Page, name: str) -> None:
    text = PARAGRAPHS[name]
    found = await call(page, "long-answers.js", "growing", {"text": text, "width": 600})
    assert found["stretches"] >= 3
    # At most two pieces and a line are laid out again.
    assert found["held"] > (len(text) - 12_000) / 2
    assert found["moved"] == []
    assert found["left"] == 0


async def test_a_window_that_changes_its_width_parts_the_lines_anew(page: Page) -> None:
    found = await call(
        page,
        "long-answers.js",
        "growing",
        {"text": PARAGRAPHS["words"], "width": 600, "narrower": 420},
    )
    assert found["heldNarrower"] > 10_000
    assert found["moved"] == []


@pytest.mark.parametrize("name", ["words", "right to left", "marked words"])
async def test_what_is_selected_while_a_paragraph_grows_is_copied_as_one_text(page: Page, name: str) -> None:
    found = await call(page, "long-answers.js", "selected", PARAGRAPHS[name])
    assert found["growing"] == found["whole"]
    assert len(found["part"]) > 1000
    assert found["part"] == found["partAfter"]


async def test_long_code_is_copied_as_it_was_written(page: Page) -> None:
    code = "\n".join(f"{' ' * (number % 5)}line {number} = '{number * 7}'" for number in range(1200))
    found = await call(page, "long-answers.js", "selected", f"```\n{code}\n\n\nend\n```")
    assert found["whole"].endswith(f"{code}\n\n\nend")
    assert found["growing"] == found["whole"]
    shown = await call(page, "long-answers.js", "growing", {"text": f"```\n{code}\n```", "width": 600})
    assert shown["stretches"] >= 3
    assert shown["moved"] == []


async def test_a_long_answer_stands_in_groups_that_change_nothing_to_the_eye(page: Page) -> None:
    part = f"## {prose(WORDS, 4)}\n\n{prose(WORDS, 60)}\n\n- {prose(WORDS, 9)}\n- b\n\n---\n\n> {prose(WORDS, 30)}\n\n"
    found = await call(page, "long-answers.js", "grouped", part * 80 + "| a | b |\n|---|---|\n| c | d |\n")
    assert len(found["sizes"]) >= 4
    assert min(found["sizes"]) >= 1
    assert found["moved"] == []


async def test_a_short_answer_has_no_groups(page: Page) -> None:
    found = await call(page, "long-answers.js", "grouped", "A word.\n\n" * 50)
    assert found["sizes"] == []
