"""Markdown in a real browser: what it becomes, however it comes, and what it can never become."""

import random
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from porch.agents.legible import legible
from tests.browser.modules import blank_again, call, module_page

LINK = 'target="_blank" rel="noopener noreferrer nofollow"'
CORPUS = {
    "# One\n\n## Two ##\n\nThree\n===\n": '<h3 dir="ltr">One</h3><h4 dir="ltr">Two</h4><h3 dir="ltr">Three</h3>',
    "#nothing": '<p dir="ltr">#nothing</p>',
    "a *b* **c** ***d*** ~~e~~ _f_ __g__ h_i_j": (
        '<p dir="ltr">a <em>b</em> <strong>c</strong> <em><strong>d</strong></em> <del>e</del> <em>f</em> '
        "<strong>g</strong> h_i_j</p>"
    ),
    "2 * 3 * 4 and **open": '<p dir="ltr">2 * 3 * 4 and **open</p>',
    "**中文。**后面": '<p dir="ltr"><strong>中文。</strong>后面</p>',
    "`a*b*` ``c`d`` `open": '<p dir="ltr"><code>a*b*</code> <code>c`d</code> `open</p>',
    r"\*a\* \`b\` \\": '<p dir="ltr">*a* `b` \\</p>',
    "a  \nb\\\nc\nd": '<p dir="ltr">a<br>b<br>c\nd</p>',
    "- a\n- b\n  - c\n- d": (
        '<ul dir="ltr"><li><p dir="ltr">a</p></li><li><p dir="ltr">b</p><ul dir="ltr"><li><p dir="ltr">c</p></li>'
        '</ul></li><li><p dir="ltr">d</p></li></ul>'
    ),
    "3. a\n4. b\n\n5. c": (
        '<ol start="3" dir="ltr" class="loose"><li><p dir="ltr">a</p></li><li><p dir="ltr">b</p></li>'
        '<li><p dir="ltr">c</p></li></ol>'
    ),
    "- [ ] a\n- [x] b": '<ul dir="ltr"><li><p dir="ltr">☐ a</p></li><li><p dir="ltr">☑ b</p></li></ul>',
    "> a\nb\n> > c": (
        '<blockquote dir="ltr"><p dir="ltr">a\nb</p><blockquote dir="ltr"><p dir="ltr">c</p></blockquote></blockquote>'
    ),
    "a\n\n***\n\n- - -": '<p dir="ltr">a</p><hr><hr>',
    "$x^2$, \\(y\\), $5 and $10": (
        '<p dir="ltr"><code class="math">$x^2$</code>, <code class="math">\\(y\\)</code>, $5 and $10</p>'
    ),
    "$$\na < b\n$$": '<pre class="math" tabindex="0"><code>a &lt; b</code></pre>',
    "&amp; &lt; &#65; &nope; &": '<p dir="ltr">&amp; &lt; A &amp;nope; &amp;</p>',
    "<b onclick=x>a</b><!-- c -->": '<p dir="ltr">&lt;b onclick=x&gt;a&lt;/b&gt;&lt;!-- c --&gt;</p>',
    "שלום": '<p dir="rtl">שלום</p>',
    "[a *b*](https://x.test/c 'd')": (
        f'<p dir="ltr"><a href="https://x.test/c" title="x.test" {LINK}>a <em>b</em></a></p>'
    ),
}
NO_LINKS = [
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](data:text/html,x)",
    "[a](vbscript:x)",
    "[a](/local)",
    "[a](//x.test)",
    "[a](<java\tscript:alert(1)>)",
    "[a](&#106;avascript:alert(1))",
    "<javascript:alert(1)>",
    "<https:>",
    "[a](\x01javascript:alert(1))",
    "![a](javascript:x)",
    "![a](data:image/png;base64,xx)",
    "ftp://x.test file:///etc/passwd",
]
FRAGMENTS = [
    *"*_~`[]()!<>#-+|:\\\n \t$&\"'=/.1a",
    *(
        "**",
        "```",
        "~~~\n",
        "\n\n",
        "    ",
        "- ",
        "1. ",
        "> ",
        "| a | b |\n|---|---|\n",
        "$$",
        "\\(",
        "\\]",
        "---\n",
        "===\n",
    ),
    *(
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=x>",
        "<a href=",
        "style=x",
        "<br>",
        "<!--",
        "-->",
    ),
    *(
        "](https://x.test)",
        "](javascript:x)",
        "![i](https://x.test/i.png)",
        "https://y.test/a_b(c)",
        "<m@x.test>",
        "mailto:q@x.test",
    ),
    *(
        "&lt;",
        "&#x202e;",
        "&#0;",
        "&amp",
        "\u202e",
        "\u2066",
        "\u200b",
        "\u200d",
        "\ufeff",
        "\x1b[31m",
        "\0",
        "\r",
        "\r\n",
        "\u2028",
    ),
    *("é", "中", "שלום", "😀", "👩\u200d👩", "\ufe0f", "[ ] ", "[x] ", "word"),
]
HOSTILE = {
    "one line": ("", "a", ""),
    "words in one line": ("", "word ", ""),
    "asterisks": ("", "*", ""),
    "openers": ("", "*a ", ""),
    "openers of many kinds": ("", "*a **b _c ~~d ", ""),
    "emphasis that may open and close": ("", "a**b*c_", ""),
    "backticks": ("", "`", ""),
    "backticks apart": ("", "`a``b```", ""),
    "brackets": ("", "[", ""),
    "links that never end": ("", "[a](", ""),
    "links with open titles": ("", '[a](https://b.c "', ""),
    "images in images": ("", "![*", "x"),
    "quotes": ("", ">", ""),
    "quotes by the line": ("", "> > > > x\n", ""),
    "an unclosed fence": ("```\n", "code\n", ""),
    "pipes": ("", "|", "\n|-"),
    "table rows": ("|a|b|\n|-|-|\n", "|x|y|\n", ""),
    "addresses": ("", "http://%%", ""),
    "dollars": ("", "$a ", ""),
    "formulas that never end": ("", "\\(", ""),
    "hard breaks": ("", "a  \n", ""),
    "a rule that is none": ("", "* ", "x"),
    "digits without a letter": ("", "1 ", ""),
    "overrides": ("", "\u202e", ""),
    "list items": ("", "- x\n", ""),
}


@pytest.fixture(scope="module")
async def tab(browser: Browser) -> AsyncGenerator[Page]:
    async with module_page(browser) as page:
        yield page


@pytest.fixture
async def page(tab: Page) -> AsyncGenerator[Page]:
    async with blank_again(tab) as page:
        yield page


def script(seed: int) -> str:
    chance = random.Random(seed)  # a repeatable test, no secret
    return "".join(chance.choice(FRAGMENTS) for _ in range(chance.randint(3, 40)))


def pieces(text: str, seed: int) -> list[str]:
    chance = random.Random(seed)  # as above
    cuts = sorted(chance.randint(0, len(text)) for _ in range(chance.randint(1, 12)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


async def test_markdown_becomes_the_elements_that_it_stands_for(page: Page) -> None:
    for text, wanted in CORPUS.items():
        assert await call(page, "markdown.js", "html", text) == wanted, text


async def test_code_keeps_every_character_and_names_its_language(page: Page) -> None:
    html = await call(page, "markdown.js", "html", "```python\nif a < b:\n\tprint('**')\n\n~~~\n```\nafter")
    assert '<span class="code-language">python</span>' in html
    assert "<code class=\"language-python\">if a &lt; b:\n\tprint('**')\n\n~~~</code>" in html
    assert html.endswith('<p dir="ltr">after</p>')


async def test_the_copy_button_copies_the_code_alone(page: Page) -> None:
    copied = await call(page, "markdown.js", "copied", "Do:\n\n```sh\nls -l\n```")
    assert copied == {"given": "ls -l", "told": "Copied"}


async def test_tables_have_headers_alignment_and_as_many_cells_as_columns(page: Page) -> None:
    html = await call(
        page, "markdown.js", "html", "| a | b |\n|:--|--:|\n| 1 | `x\\|y` | 3 |\n| **2** |\n\nend"
    )
    assert '<th scope="col" dir="ltr" class="align-start">a</th>' in html.replace(
        'dir="ltr" scope="col"', 'scope="col" dir="ltr"'
    )
    assert html.count("<td") == 4
    assert "<code>x|y</code>" in html
    assert "<strong>2</strong>" in html
    assert html.endswith('</div><p dir="ltr">end</p>')


@pytest.mark.parametrize("text", NO_LINKS)
async def test_what_is_no_web_or_mail_address_never_is_a_link(page: Page, text: str) -> None:
    assert await call(page, "markdown.js", "links", text) == []
    assert "script:" not in text or "script:" in (await call(page, "markdown.js", "plain", text)).lower()


async def test_links_say_where_they_lead(page: Page) -> None:
    found = await call(
        page,
        "markdown.js",
        "links",
        "[bank.com](https://evil.test/x) https://user:pw@host.test. <a@b.test> ![pic](https://img.test/p.png) [](https://e.test/q)",
    )
    assert [(link["text"], link["title"]) for link in found] == [
        ("bank.com (evil.test)", "evil.test"),
        ("https://user:pw@host.test", "host.test"),
        ("a@b.test", "a@b.test"),
        ("pic", "img.test"),
        ("https://e.test/q", "e.test"),
    ]
    assert {(link["rel"], link["target"]) for link in found} == {("noopener noreferrer nofollow", "_blank")}


async def test_nothing_is_ever_loaded(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await call(
        page,
        "markdown.js",
        "html",
        "![a](https://x.test/a.png) <img src=https://x.test/b.png> ![](https://x.test/c)",
    )
    await page.evaluate("document.body.append(document.createElement('p'))")
    assert [url for url in asked if "x.test" in url] == []


async def test_characters_that_deceive_are_shown_as_their_codes(page: Page) -> None:
    shown = {
        "a\u202eb": "a⟨U+202E⟩b",
        "\u2066x\u2069": "⟨U+2066⟩x⟨U+2069⟩",
        "pass\u200bword\ufeff": "pass⟨U+200B⟩word⟨U+FEFF⟩",
        "\ufeffat the beginning": "at the beginning",
        "\x1b[31mred\x07\x7f": "⟨U+001B⟩[31mred⟨U+0007⟩⟨U+007F⟩",
        "a\0b": "a⟨U+0000⟩b",
        "pay\u00adpal": "pay⟨U+00AD⟩pal",
        "x\U000e0041\U000e0042y": "x⟨U+E0041⟩⟨U+E0042⟩y",
        "a\u200db\u200c": "a⟨U+200D⟩b⟨U+200C⟩",
        "é\u200d\u200d": "é⟨U+200D⟩⟨U+200D⟩",
        "a\u202e\u200d": "a⟨U+202E⟩⟨U+200D⟩",
        "x\U000e0100 😀\ufe0f\ufe0f": "x⟨U+E0100⟩ 😀\ufe0f⟨U+FE0F⟩",
        "`\u202e`": "⟨U+202E⟩",
        "a\r\nb\rc\u2028d": "a\nb\nc\nd",
        "&#x202e;&#8203;": "⟨U+202E⟩⟨U+200B⟩",
    }
    needed = [
        "👩\u200d💻 می\u200cخواهم 1\ufe0f\u20e3",
        "ភា\u200bសា",
        "葛\U000e0100",
        "🏴\U000e0067\U000e0062\U000e0065\U000e007f",
    ]
    shown |= {text: text for text in needed}
    for text, wanted in shown.items():
        assert await call(page, "markdown.js", "plain", text) == wanted, repr(text)


async def test_the_chat_and_the_other_pages_spell_hidden_characters_the_same_way(page: Page) -> None:
    hidden = "\x01\x1b\x7f\x9b\u00ad\u115f\u180e\u200b\u200c\u200d\u202a\u202e\u2060\u2066\u206f\u3164"
    hidden += "\ufeff\uffa0\ufff9\U000e0041"
    for before in "aé":
        text = "".join(f"{before}{character}b" for character in hidden)
        assert await call(page, "markdown.js", "plain", text) == legible(text)


async def test_no_text_becomes_an_element_or_attribute_beyond_those_allowed(page: Page) -> None:
    assert await call(page, "markdown.js", "faultsOf", [script(seed) for seed in range(1500)]) == []


async def test_a_text_that_comes_in_pieces_ends_as_the_same_elements(page: Page) -> None:
    texts = [*CORPUS, *(script(seed) for seed in range(300))]
    cases: list[Any] = [{"pieces": pieces(text, seed)} for seed, text in enumerate(texts)]
    assert await call(page, "markdown.js", "differences", cases) == []


async def test_a_text_that_comes_character_by_character_ends_as_the_same_elements(page: Page) -> None:
    texts = [*CORPUS, *(script(seed) for seed in range(2000, 2100))]
    assert await call(page, "markdown.js", "differencesCharByChar", texts) == []


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_text_costs_time_in_proportion_to_its_length(page: Page, name: str) -> None:
    head, unit, tail = HOSTILE[name]
    took = await call(
        page, "markdown.js", "times", {"head": head, "unit": unit, "tail": tail, "length": 100_000}
    )
    # Ten times the text: ten times the time, with room for a busy machine. Quadratic would be a hundred.
    assert took["long"] < max(35 * took["short"], 6000), took


async def test_a_megabyte_in_one_line_is_drawn_in_a_moment(page: Page) -> None:
    took = await call(
        page, "markdown.js", "times", {"head": "", "unit": "word ", "tail": "", "length": 1_000_000}
    )
    assert took["long"] < 8000, took


async def test_nesting_has_an_end(page: Page) -> None:
    for text in (
        ">" * 5000 + "x",
        "\n".join(" " * (2 * level) + "- x" for level in range(300)),
        "*a " * 1000 + "a* " * 1000,
        "![*" * 500 + "x" + "*](https://x.test)" * 500,
    ):
        assert await call(page, "markdown.js", "depth", text) < 100


async def test_more_text_leaves_what_stands_before_it_alone(page: Page) -> None:
    before = "# A\n\nPara *one*.\n\n```js\nx\n```\n\n- a\n- b\n\nLast para"
    assert (
        await call(page, "markdown.js", "kept", {"before": before, "more": " goes on.\n\nAnd on."})
        == [True] * 5
    )
    assert await call(page, "markdown.js", "kept", {"before": "```\na\n", "more": "b\n"}) == [True]


async def test_what_is_begun_is_shown_as_if_it_were_closed(page: Page) -> None:
    assert (
        await call(page, "markdown.js", "whileOpen", "so **very bo")
        == '<p dir="ltr">so <strong>very bo</strong></p>'
    )
    assert (
        await call(page, "markdown.js", "whileOpen", "run `ls -") == '<p dir="ltr">run <code>ls -</code></p>'
    )
    assert (
        await call(page, "markdown.js", "whileOpen", "see [docs](https://exa") == '<p dir="ltr">see docs</p>'
    )
    assert await call(page, "markdown.js", "whileOpen", "text\n\n``") == '<p dir="ltr">text</p>'
