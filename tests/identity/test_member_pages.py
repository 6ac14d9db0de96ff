"""Members, invitations and workspaces, as a browser without scripts has them."""

import re
from datetime import timedelta
from html import unescape

import pytest

from porch.contract.ids import new_id, new_uuid, parse_id
from porch.identity import member_store
from porch.identity.doors import Doors
from porch.identity.sessions import csrf_workspace
from porch.identity.tokens import mint
from tests.http.app import World, definer
from tests.http.browser import Browser, words
from tests.identity.conftest import PASSWORD, signed_up

INVITATION = {"role": "editor", "days": "7"}


def fresh(stem: str = "ada") -> str:
    return f"{stem}-{new_id('req')[-12:]}"


async def link_of(browser: Browser, **changes: str) -> str:
    """The path of a fresh invitation into the workspace where the browser is."""
    await browser.open("/members")
    page = await browser.submit("/members/invitations", INVITATION | changes)
    assert page.status == 200, words(page)
    found = re.search(rb'id="link"[^>]*value="([^"]+)"', page.body)
    assert found
    url = found[1].decode()
    assert url.startswith("http://localhost:8642/join/")
    return "/" + url.split("/", 3)[3]


async def invited(owner: Browser, login: str, **changes: str) -> Browser:
    """Somebody new who came by an invitation."""
    browser = Browser(owner.client.app)
    done = await browser.submit(await link_of(owner, **changes), {"login": login, "password": PASSWORD})
    assert (done.status, done.headers["location"]) == (303, "/")
    await browser.open("/members")
    return browser


async def id_of(browser: Browser, name: str) -> str:
    """The id of a member, from the forms beside the name."""
    page = (await browser.open("/members")).body.decode()
    found = re.search(rf"<bdi>{name}</bdi>.*?/members/(usr_[0-9a-f]+)/", page, re.DOTALL)
    assert found, f"no {name}"
    return found[1]


async def present(browser: Browser) -> str:
    """The handle of the workspace that the browser's pages are about."""
    page = await browser.open("/account")
    found = re.search(rb'workspace <span class="mono">@([a-z0-9-]+)<', page.body)
    assert found
    return found[1].decode()


# ---------------------------------------------------------------- invitations


async def test_an_invitation_says_who_invites_into_what_and_is_shown_once(town: World) -> None:
    owner = await signed_up(town, login := fresh(), "Ada")
    link = await link_of(owner)
    secret = link.rpartition("/")[2].encode()
    assert secret not in (await owner.open("/members")).body
    stranger = Browser(town.app)
    for _ in range(2):
        page = await stranger.open(link)
        assert page.status == 200
        assert "Ada invites you into the workspace" in words(page)
        assert f"@{login}" in words(page)
        assert "as editor" in words(page)
        assert b'href="/sign-in?next=' + link.encode() in page.body
        # The address holds a secret: no other server may learn it from where one goes next.
        assert page.headers["referrer-policy"] in ("same-origin", "no-referrer")
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-robots-tag"] == "noindex"


async def test_whoever_is_new_signs_up_and_is_in_that_workspace(town: World) -> None:
    owner = await signed_up(town, home := fresh(), "Ada")
    ben = await invited(owner, login := fresh("ben"))
    assert await present(ben) == home
    page = await ben.open("/members")
    assert login in words(page)
    assert b'value="' + login.encode() in page.body, "one's own workspace is a button in the switcher"


async def test_who_has_an_account_signs_in_on_the_way_and_joins_by_a_button(town: World) -> None:
    owner = await signed_up(town, home := fresh(), "Ada")
    await signed_up(town, login := fresh("ben"))
    link = await link_of(owner)
    ben = Browser(town.app)
    await ben.open(f"/sign-in?next={link}")
    done = await ben.submit("/sign-in", {"login": login, "password": PASSWORD, "next": link})
    assert done.headers["location"] == link
    page = await ben.open(link)
    assert b">Join</button>" in page.body
    assert b'name="password"' not in page.body
    joined = await ben.submit(link)
    assert (joined.status, joined.headers["location"]) == (303, "/")
    assert await present(ben) == home
    assert (await ben.submit(link)).headers["location"] == "/", "pressed twice"
    assert "You are in already" in words(await ben.open(link))


async def test_faults_of_signing_up_by_an_invitation_keep_it_open(town: World) -> None:
    link = await link_of(await signed_up(town, fresh()))
    fields = {"login": "?", "name": "Ben", "password": "short one"}
    answer = await Browser(town.app).submit(link, fields)
    assert answer.status == 422
    assert b'id="error-login"' in answer.body
    assert b'id="error-password"' in answer.body
    assert b'value="Ben"' in answer.body
    assert b"short one" not in answer.body
    assert (await Browser(town.app).open(link)).status == 200


async def test_a_used_expired_revoked_or_unknown_invitation_says_so(town: World) -> None:
    owner = await signed_up(town, fresh(), "Ada")
    used, revoked = [await link_of(owner) for _ in range(2)]
    old = await expired_link(town, owner)
    await Browser(town.app).submit(used, {"login": fresh("ben"), "password": PASSWORD})
    page = await owner.open("/members")
    (row,) = re.findall(r"/members/invitations/(inv_[0-9a-f]+)/revoke", page.body.decode())
    assert (await owner.submit(f"/members/invitations/{row}/revoke")).status == 303
    fields = {"login": fresh("eve"), "password": PASSWORD}
    cases = [(used, 410, "used already"), (old, 410, "too old, or was revoked"), (revoked, 410, "too old")]
    cases.append((f"/join/{mint('inv').text}", 404, "does not know"))
    cases.append(("/join/<script>alert(1)<", 404, "does not know"))
    for link, status, sentence in cases:
        eve = await signed_up(town, fresh("eve"))
        for answer in (
            await Browser(town.app).open(link),
            await Browser(town.app).submit(link, fields),
            await eve.submit(link),
        ):
            assert answer.status == status, link
            assert sentence in words(answer)
            assert b"<script>alert" not in answer.body
    assert (await owner.submit(f"/members/invitations/{row}/revoke")).status == 404


async def expired_link(town: World, owner: Browser) -> str:
    workspace, minted = csrf_workspace(owner.csrf), mint("inv")
    assert workspace
    me = parse_id("usr", (await owner.fetch("GET", "/api/v1/me")).json["user"]["id"])
    async with town.database.tenant(workspace) as connection:
        await member_store.insert_invitation(
            connection, workspace, new_uuid(), minted.digest, "editor", me, -timedelta(seconds=1)
        )
    return f"/join/{minted.text}"


async def test_an_invitation_comes_in_where_signing_up_is_closed_to_others(town: World) -> None:
    owner = await signed_up(town, fresh())
    link = await link_of(owner)
    town.app.state.doors = Doors(multi_user=True, sign_up="closed")
    page = await Browser(town.app).open(link)
    assert b'name="password"' not in page.body
    assert "Nobody new can sign up" in words(page)
    assert (await Browser(town.app).submit(link, {"login": fresh(), "password": PASSWORD})).status == 403
    town.app.state.doors = Doors(multi_user=True, sign_up="invitation")
    done = await Browser(town.app).submit(link, {"login": fresh(), "password": PASSWORD})
    assert done.status == 303


async def test_nobody_joins_by_another_site_s_page(town: World) -> None:
    link = await link_of(await signed_up(town, fresh()))
    ben = await signed_up(town, fresh("ben"))
    fields = {"login": fresh("eve"), "password": PASSWORD}
    assert (await ben.submit(link, None, **{"sec-fetch-site": "cross-site"})).status == 403
    assert (await Browser(town.app).submit(link, fields, **{"sec-fetch-site": "cross-site"})).status == 403
    ben.csrf = ""
    assert (await ben.submit(link)).status == 403
    assert "Join" in words(await ben.open(link))


@pytest.mark.parametrize("changes", [{"role": "king"}, {"days": "400"}, {"days": ""}, {"days": "x"}])
async def test_an_invitation_that_cannot_be_says_why(town: World, changes: dict[str, str]) -> None:
    owner = await signed_up(town, fresh())
    answer = await owner.submit("/members/invitations", INVITATION | changes)
    assert answer.status == 422
    assert b'role="alert"' in answer.body


# ---------------------------------------------------------------- members


async def test_an_owner_gives_roles_and_takes_people_out(town: World) -> None:
    owner = await signed_up(town, home := fresh(), "Ada")
    ben = await invited(owner, login := fresh("ben"), role="viewer")
    member = await id_of(owner, login)
    assert b"/members/invitations" not in (await ben.open("/members")).body
    done = await owner.submit(f"/members/{member}/role", {"role": "admin"})
    assert done.headers["location"] == "/members"
    assert b"/members/invitations" in (await ben.open("/members")).body
    page = await owner.open(f"/members/{member}/remove")
    assert f"Remove {login}?" in words(page)
    await owner.submit(f"/members/{member}/remove")
    assert login not in words(await owner.open("/members"))
    assert await present(ben) != home


async def test_the_last_owner_stays_one_and_is_told_why(town: World) -> None:
    owner = await signed_up(town, fresh(), "Ada")
    me = await id_of(owner, "Ada")
    answers = [
        await owner.submit(f"/members/{me}/role", {"role": "viewer"}),
        await owner.submit(f"/members/{me}/remove"),
    ]
    for answer in answers:
        assert answer.status == 409
        assert "Make somebody else an owner first" in words(answer)
        assert b'role="alert"' in answer.body


async def test_admins_neither_make_nor_change_owners(town: World) -> None:
    owner = await signed_up(town, fresh(), "Ada")
    ben = await invited(owner, login := fresh("ben"), role="admin")
    page = (await ben.open("/members")).body.decode()
    assert 'value="owner"' not in page
    me, ada = await id_of(ben, login), await id_of(owner, "Ada")
    for path, fields in (
        (f"/members/{me}/role", {"role": "owner"}),
        (f"/members/{ada}/role", {"role": "viewer"}),
        (f"/members/{ada}/remove", {}),
        ("/members/invitations", INVITATION | {"role": "owner"}),
    ):
        answer = await ben.submit(path, fields)
        assert answer.status == 403, path
        assert "owner" in words(answer)


async def test_one_leaves_by_a_page_that_asks(town: World) -> None:
    owner = await signed_up(town, home := fresh(), "Ada")
    ben = await invited(owner, login := fresh("ben"), role="viewer")
    me = await id_of(ben, login)
    assert "Leave this workspace?" in words(await ben.open(f"/members/{me}/remove"))
    done = await ben.submit(f"/members/{me}/remove")
    assert (done.status, done.headers["location"]) == (303, "/")
    assert await present(ben) == login
    assert home not in (await ben.open("/account")).body.decode()


async def test_a_page_is_shown_to_who_was_taken_out_a_moment_ago(town: World) -> None:
    owner = await signed_up(town, fresh())
    ben = await invited(owner, fresh("ben"))
    workspace = csrf_workspace(ben.csrf)
    assert (await ben.open("/account")).status == 200
    # Behind this server's back: for a second it takes ben for a member.
    async with definer(town.urls) as connection:
        await connection.execute(
            "DELETE FROM porch.memberships m USING porch.users u WHERE u.id = m.user_id AND m.workspace_id = $1"
            " AND u.login LIKE 'ben-%'",
            workspace,
        )
    page = await ben.open("/account")
    assert page.status == 200
    assert b"Workspace and account" not in page.body


async def test_others_members_are_out_of_reach(town: World) -> None:
    owner, eve = await signed_up(town, fresh(), "Ada"), await signed_up(town, fresh("eve"), "Eve")
    member = await id_of(owner, "Ada")
    for user in (member, new_id("usr"), "x"):
        assert (await eve.open(f"/members/{user}/remove")).status == 404
        assert (await eve.submit(f"/members/{user}/remove")).status == 404
        assert (await eve.submit(f"/members/{user}/role", {"role": "viewer"})).status == 404
    ben = await invited(owner, fresh("ben"), role="viewer")
    assert (await ben.submit("/members/invitations", INVITATION)).status == 403
    assert (await ben.submit(f"/members/{member}/remove")).status == 403


# ---------------------------------------------------------------- workspaces


async def test_a_new_workspace_is_made_and_one_is_in_it(town: World) -> None:
    browser = await signed_up(town, home := fresh())
    handle = fresh("garden")
    done = await browser.submit("/workspaces/new", {"handle": handle, "name": "The Garden"})
    assert (done.status, done.headers["location"]) == (303, "/")
    page = await browser.open("/account")
    assert "The Garden is made" in words(page)
    assert "<span>The Garden</span>" in page.body.decode()
    assert await present(browser) == handle
    switched = await browser.submit("/workspaces/switch", {"workspace": home, "next": "/members"})
    assert (switched.status, switched.headers["location"]) == (303, "/members")
    assert await present(browser) == home


async def test_a_workspace_that_cannot_be_made_keeps_what_was_typed(town: World) -> None:
    browser = await signed_up(town, home := fresh())
    wrong = await browser.submit("/workspaces/new", {"handle": "The Garden", "name": "Gar\x07den"})
    assert wrong.status == 422
    assert b'id="error-handle"' in wrong.body
    assert b'id="error-name"' in wrong.body
    assert b'value="The Garden"' in wrong.body
    taken = await browser.submit("/workspaces/new", {"handle": home, "name": "Garden"})
    assert taken.status == 409
    assert b'id="error-handle"' in taken.body
    assert b'value="Garden"' in taken.body


async def test_one_switches_only_into_workspaces_of_one_s_own(town: World) -> None:
    browser, other = await signed_up(town, home := fresh()), fresh("eve")
    await signed_up(town, other)
    for wrong in (other, "", "nothing-of-the-sort"):
        assert (await browser.submit("/workspaces/switch", {"workspace": wrong})).status == 404
    for then in ("https://evil.example/", "//evil.example", "/sign-out"):
        done = await browser.submit("/workspaces/switch", {"workspace": home, "next": then})
        assert done.headers["location"] == "/"
    browser.csrf = ""
    assert (await browser.submit("/workspaces/switch", {"workspace": home})).status == 403
    assert (await browser.submit("/workspaces/new", {"handle": fresh()})).status == 403


async def test_a_page_from_before_a_switch_still_writes_into_its_own_workspace(town: World) -> None:
    browser = await signed_up(town, home := fresh(), "Ada")
    stale = Browser(town.app)
    stale.cookies, stale.csrf = browser.cookies, browser.csrf
    handle = fresh("garden")
    await browser.submit("/workspaces/new", {"handle": handle, "name": ""})
    assert await present(browser) == handle
    page = await stale.submit("/members/invitations", INVITATION)
    assert page.status == 200
    link = re.search(r'id="link"[^>]*value="http://[^/]*([^"]+)"', unescape(page.body.decode()))
    assert link
    assert f"@{home}" in words(await Browser(town.app).open(link[1]))
