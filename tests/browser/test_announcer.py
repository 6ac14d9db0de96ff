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
