"""What is read out of an answer to those who hear the page."""

from playwright.async_api import Browser

from tests.browser.modules import call, module_page


async def test_what_is_read_out_has_no_hidden_characters(browser: Browser) -> None:
    given = {
        "answer": "It is **safe**\u202e, pay\u200bpal.\x1b[2J Yes 👩\u200d💻.",
        "notice": "Using the tool a\u2066b.",
    }
    async with module_page(browser) as page:
        told = await call(page, "announcer.js", "told", given)
    assert told == [
        "It is safe⟨U+202E⟩, pay⟨U+200B⟩pal.⟨U+001B⟩[2J Yes 👩\u200d💻.",
        "Using the tool a⟨U+2066⟩b.",
    ]


WRITTEN = [
    ("2 * 3 * 4 = 24, and a_b | c ~ d.", "2 * 3 * 4 = 24, and a_b | c ~ d."),
    ("Call `get_user_id(*args)` **now**.", "Call get_user_id(*args) now."),
    ("See [Foo (bar)](https://example.org/wiki/Foo_(bar)) first.", "See Foo (bar) first."),
    ("1. One\n2. Two\n\n- a\n- b", "1. One 2. Two a b"),
    ("```python\nx = a * b * c\n```\nDone.", "x = a * b * c Done."),
    ("# Title\n\n> Quoted *words*", "Title Quoted words"),
]


async def test_text_is_said_as_written_without_the_marks_of_its_markdown(browser: Browser) -> None:
    async with module_page(browser) as page:
        for written, said in WRITTEN:
            told = await call(page, "announcer.js", "told", {"answer": written, "notice": "Over."})
            assert told == [said, "Over."]


async def test_pieces_are_said_as_parts_of_the_whole(browser: Browser) -> None:
    async with module_page(browser) as page:
        cases = [
            (["It is **so. Very", " much so.** Yes. "], ["It is so. Very much so. Yes."]),
            (["Code:\n\n```\na. *b\n", "c = *d\n```\n", "Done."], ["Code: a.", "*b c = *d Done."]),
            (["Some hold. ", "> 5 holds. + 3 too."], ["Some hold.", "> 5 holds. + 3 too."]),
            (["Read [this. And", " that](https://example.org) now. "], ["Read this. And that now."]),
        ]
        for given, said in cases:
            assert await call(page, "announcer.js", "pieces", given) == said
