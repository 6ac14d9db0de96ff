"""The page of an agent's embedding: its sites, one a line, the snippet, and the way to end it."""

import html
import re

import pytest

from tests.agents.sheets import HOSTILE, furnished, make, page, read, send, text_of
from tests.http.app import Tenant, World
from tests.http.visitors import OTHER_SITE, SITE, embed, embed_in

__all__ = ["furnished"]

EMBED = "/agents/helper/embed"


async def sites_of(tenant: Tenant) -> list[str]:
    return (await tenant.client.get(f"{tenant.path}/agents/helper/embedding")).json["origins"]


def snippet_of(markup: str) -> str:
    found = re.search(r'id="snippet".*?<code>(.*?)</code>', markup, re.DOTALL)
    assert found
    return html.unescape(found[1])


async def test_sites_are_kept_one_a_line_and_shown_as_browsers_spell_them(ada: Tenant) -> None:
    await embed(ada)
    answer = await send(ada, EMBED, {"origins": f"  {SITE}:443 \n\n{OTHER_SITE.upper()}/\n"})
    assert (answer.status, answer.headers["location"]) == (303, EMBED)
    assert await sites_of(ada) == [SITE, OTHER_SITE]
    assert f">\n{SITE}\n{OTHER_SITE}</textarea>" in await page(ada, EMBED)


async def test_the_snippet_names_this_server_and_this_agent(world: World, ada: Tenant) -> None:
    agent = await embed(ada, SITE)
    wanted = (
        '<script type="module" src="http://localhost:8642/embed.js"></script>\n'
        f'<porch-chat agent="{agent}"></porch-chat>'
    )
    shown = await page(ada, EMBED)
    assert snippet_of(shown) == wanted
    assert "visitors cannot open" in text_of(shown)
    assert 'data-copy-from="snippet"' in shown


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://porch.example", None),
        ("http://porch.example", "reached without https"),
        ("http://127.0.0.1:8642", "visitors cannot open"),
        ("http://[::1]:8642", "visitors cannot open"),
    ],
)
async def test_an_address_that_visitors_cannot_use_is_told(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch, url: str, told: str | None
) -> None:
    await embed(ada, SITE)
    monkeypatch.setattr(world.app.state, "url", url, raising=False)
    shown = text_of(await page(ada, EMBED))
    for sentence in ("reached without https", "visitors cannot open"):
        assert (sentence in shown) == (sentence == told)


async def test_what_is_no_site_comes_back_as_it_was_typed_with_all_that_is_wrong(ada: Tenant) -> None:
    await embed(ada, SITE)
    typed = f"{OTHER_SITE}\nhttp://plain.example\nhttps://shop.example/cart"
    answer = await send(ada, EMBED, {"origins": typed})
    assert answer.status == 422
    shown = answer.body.decode()
    assert typed in html.unescape(shown)
    for sentence in ("is not encrypted", "leave out '/cart'", "2 things cannot be kept yet"):
        assert sentence in text_of(shown), sentence
    assert await sites_of(ada) == [SITE]


async def test_hostile_text_stays_text(ada: Tenant) -> None:
    await embed(ada)
    answer = await send(ada, EMBED, {"origins": HOSTILE})
    assert answer.status == 422
    assert b"<script>alert" not in answer.body
    assert b"<b>&amp;" not in answer.body


async def test_an_agent_that_is_not_published_says_so(ada: Tenant) -> None:
    await make(ada)
    assert "/agents/helper/publish" in await page(ada, EMBED)
    answer = await send(ada, EMBED, {"origins": SITE})
    assert answer.status == 409
    assert "has no published version" in text_of(answer.body.decode())
    assert (await read(ada))["latest_version"] is None


async def test_the_switch_takes_all_sites_out_whatever_stands_in_the_field(ada: Tenant) -> None:
    await embed(ada, SITE)
    assert 'name="off"' in await page(ada, EMBED)
    answer = await send(ada, EMBED, {"origins": "nonsense", "off": "on"})
    assert answer.status == 303
    assert await sites_of(ada) == []
    assert 'name="off"' not in await page(ada, EMBED)


async def test_who_may_only_look_sees_the_sites_and_no_form(world: World, ada: Tenant) -> None:
    await embed(ada, SITE)
    viewer = await world.member(ada, "viewer")
    shown = (await viewer.get(EMBED)).body.decode()
    assert SITE in shown
    assert "<textarea" not in shown
    assert "Save the sites" not in shown
    answer = await viewer.post(
        EMBED, body=b"origins=", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status == 403
    assert await sites_of(ada) == [SITE]


async def test_another_tenant_s_page_is_not_there(ada: Tenant, eve: Tenant) -> None:
    await embed(ada, SITE)
    assert (await eve.client.get(EMBED)).status == 404
    assert (await send(eve, EMBED, {"origins": ""})).status == 404
    assert await sites_of(ada) == [SITE]


async def test_every_page_of_the_agent_leads_there(ada: Tenant) -> None:
    await embed(ada)
    for path in ("/agents/helper", "/agents/helper/versions", EMBED):
        assert f'href="{EMBED}"' in await page(ada, path)
    assert f'href="{EMBED}" aria-current="page"' in await page(ada, EMBED)


async def test_a_site_that_was_taken_out_elsewhere_is_shown_as_it_is(ada: Tenant) -> None:
    await embed(ada, SITE, OTHER_SITE)
    await embed_in(ada, OTHER_SITE)
    shown = await page(ada, EMBED)
    assert f">\n{OTHER_SITE}</textarea>" in shown
