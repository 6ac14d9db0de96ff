"""Pages: what they are made of, what they carry, and how their failures read."""

import json
import logging
from typing import Annotated, Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
from fastapi import FastAPI, Query, Request
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError
from starlette.responses import Response

from porch.contract.errors import Conflict, InvalidInput, NotFound, Unavailable
from porch.contract.principal import Principal
from porch.http.application import create_app
from porch.http.auth import public, requires
from porch.http.pages import fields, form, local_path, page_router, redirect, render, wants_page
from porch.http.rendering import compile_templates, templates
from tests.http.client import Answer, Client

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def an_app() -> FastAPI:
    """Pages that do as they are told; none needs a database."""
    router = page_router("test")

    @router.get("/shown", dependencies=[public()])
    async def shown(request: Request) -> Response:
        return await shown_with(request, "Here.")

    async def shown_with(request: Request, sentence: str) -> Response:
        return render(request, "error.html", 200, **error_context(sentence))

    @router.get("/opened/{link}", dependencies=[public()])
    async def opened(request: Request, link: str) -> Response:
        return await shown_with(request, link)

    @router.get("/broken", dependencies=[public()])
    async def broken(request: Request, kind: str) -> Response:
        raise FAILURES[kind]

    @router.get("/counted", dependencies=[public()])
    async def counted(request: Request, limit: Annotated[int, Query(le=10)]) -> Response:
        return await shown_with(request, str(limit))

    @router.post("/sent", dependencies=[public()])
    async def sent(request: Request) -> Response:
        return Response(json.dumps([await form(request), await fields(request)]))

    @router.get("/go", dependencies=[public()])
    async def go(request: Request, to: str, say: str | None = None) -> Response:
        return redirect(request, to, flash=say)

    @router.get("/private", name="private")
    async def private(request: Request, principal: Annotated[Principal, requires()]) -> Response:
        return await shown_with(request, principal.name)

    @router.post("/private")
    async def private_post(request: Request, principal: Annotated[Principal, requires()]) -> Response:
        return await shown_with(request, principal.name)

    app = create_app([router], max_body_bytes=2000)
    app.state.authenticate = None  # never asked: nobody here sends a credential
    return app


def error_context(sentence: str) -> dict[str, Any]:
    return {"sentence": sentence, "errors": [], "request_id": "", "here": "", "back": ""}


class Later(Unavailable):
    retry_after = 7.0


FAILURES: dict[str, Exception] = {
    "not-found": NotFound("There is no agent '<b>x</b>'."),
    "conflict": Conflict("The handle 'x' is taken."),
    "later": Later("Not just now."),
    "many": InvalidInput("Two things.", errors=[{"pointer": "/a", "detail": "one"}, {"detail": "two"}]),
    "surprise": RuntimeError("a secret of the inside"),
}


@pytest.fixture
def client() -> Client:
    return Client(an_app())


def text_of(answer: Answer) -> str:
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.body.decode()


async def test_a_page_carries_the_policy_and_is_kept_by_nobody(client: Client) -> None:
    page = await client.get("/shown")
    assert page.status == 200
    assert page.headers["content-security-policy"] == POLICY
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "same-origin"
    assert text_of(page).startswith("<!doctype html>")


async def test_a_page_names_its_files_as_the_app_says() -> None:
    app = an_app()
    app.state.static = lambda path: f"/elsewhere/{path}"  # pyright: ignore[reportUnknownLambdaType]  # a string
    assert '<link rel="stylesheet" href="/elsewhere/css/site.css">' in text_of(
        await Client(app).get("/shown")
    )


async def test_a_failure_is_a_page_that_says_what_happened_and_leads_on(client: Client) -> None:
    page = await client.get("/broken?kind=not-found")
    assert page.status == 404
    text = text_of(page)
    assert "There is no agent &#39;&lt;b&gt;x&lt;/b&gt;&#39;." in text
    assert "<b>x</b>" not in text
    assert 'href="/">Home</a>' in text


async def test_a_failure_leads_back_to_the_page_of_ours_that_it_came_from(client: Client) -> None:
    page = await client.get("/broken?kind=conflict", headers={"referer": "http://localhost:8642/agents?a=1"})
    assert page.status == 409
    assert 'href="/agents?a=1">Go back</a>' in text_of(page)


@pytest.mark.parametrize("referrer", ["http://evil.example/x", "http://localhost:8642//evil.example", "x"])
async def test_a_failure_leads_to_no_other_host(client: Client, referrer: str) -> None:
    page = await client.get("/broken?kind=conflict", headers={"referer": referrer})
    assert "Go back" not in text_of(page)
    assert "evil" not in text_of(page)


async def test_what_may_work_later_says_when_and_offers_it(client: Client) -> None:
    page = await client.get("/broken?kind=later")
    assert (page.status, page.headers["retry-after"]) == (503, "7")
    assert 'href="/broken?kind=later">Try again</a>' in text_of(page)


async def test_several_things_wrong_are_listed(client: Client) -> None:
    page = await client.get("/broken?kind=many")
    assert page.status == 422
    assert '<li><span class="mono">/a</span> one</li>' in text_of(page)


async def test_a_parameter_that_cannot_be_used_is_named(client: Client) -> None:
    page = await client.get("/counted?limit=ninety")
    assert page.status == 422
    assert "&#39;limit&#39; cannot be used" in text_of(page)


async def test_a_surprise_tells_its_reference_and_nothing_of_the_inside(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        page = await client.get("/broken?kind=surprise")
    assert page.status == 500
    assert page.headers["x-request-id"] in text_of(page)
    assert "secret" not in text_of(page)
    assert page.headers["x-request-id"] in caplog.text


async def test_a_stranger_is_sent_to_sign_in_and_back(client: Client) -> None:
    answer = await client.get("/private?q=a%20b&x=1")
    assert answer.status == 303
    assert answer.headers["location"] == "/sign-in?next=/private%3Fq%3Da%2520b%26x%3D1"


async def test_what_a_stranger_sends_is_answered_by_a_page_that_leads_to_sign_in(client: Client) -> None:
    answer = await client.post("/private", body=b"a=1", headers=FORM)
    assert answer.status == 401
    assert 'href="/sign-in">Sign in</a>' in text_of(answer)


async def test_an_unknown_address_is_a_page_for_people_and_a_problem_for_programs(client: Client) -> None:
    page = await client.get("/nowhere", headers=BROWSER)
    assert page.status == 404
    assert "There is nothing at &#39;/nowhere&#39; on this server." in text_of(page)
    assert (await client.get("/nowhere")).code == "not_found"
    assert (await client.get("/nowhere", headers={"accept": "application/json, text/html"})).code


async def test_a_wrong_method_is_a_page_for_people_that_names_the_right_one(client: Client) -> None:
    page = await client.get("/sent", headers=BROWSER)
    assert (page.status, page.headers["allow"]) == (405, "POST")
    assert "not a page to open" in text_of(page)


async def test_what_the_outer_layers_refuse_is_a_page_for_people_too(client: Client) -> None:
    large = await client.post("/sent", body=b"a=" + b"x" * 3000, headers={**FORM, **BROWSER})
    assert large.status == 413
    assert "over 2,000 bytes" in text_of(large)
    rebound = await client.get("/shown", headers={**BROWSER, "host": "evil.example"})
    assert rebound.status == 421
    assert "does not go by the name" in text_of(rebound)
    assert (await client.get("/shown", headers={"host": "evil.example"})).code == "misdirected_request"


def a_failing_app() -> FastAPI:
    """One that cannot make a page: it finds no sheet."""

    def fail(path: str) -> str:
        raise KeyError(path)

    app = an_app()
    app.state.static = fail
    return app


async def test_where_no_page_can_be_made_a_problem_still_tells(caplog: pytest.LogCaptureFixture) -> None:
    app = a_failing_app()
    with caplog.at_level(logging.ERROR):
        answer = await Client(app).get("/shown", headers=BROWSER)
    assert (answer.status, answer.code) == (500, "internal")
    assert answer.headers["x-request-id"] in caplog.text


async def test_no_log_line_holds_the_secret_in_a_link(caplog: pytest.LogCaptureFixture) -> None:
    app = a_failing_app()
    with caplog.at_level(logging.DEBUG):
        answer = await Client(app).get("/opened/s3cr3t", headers=BROWSER)
    assert answer.status == 500
    assert "/opened/{link}" in caplog.text
    assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (BROWSER["accept"], True),
        ("text/html", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("application/problem+json, text/html", False),
        ("text/html, application/json", True),
    ],
)
def test_pages_are_for_those_who_would_rather_have_them(accept: str, wanted: bool) -> None:
    assert wants_page({"headers": [(b"accept", accept.encode())]}) is wanted


async def test_a_form_is_read_in_utf_8_with_plain_line_ends(client: Client) -> None:
    body = f"name={quote('Åsa')}&text=one%0D%0Atwo+three&tools=a&tools=b&empty=".encode()
    named, pairs = (await client.post("/sent", body=body, headers=FORM)).json
    assert named == {"name": "Åsa", "text": "one\ntwo three", "tools": "b", "empty": ""}
    assert [value for name, value in pairs if name == "tools"] == ["a", "b"]
    assert (await client.post("/sent", headers=FORM)).json == [{}, []]


@pytest.mark.parametrize(
    ("body", "headers", "status", "sentence"),
    [
        (b"a=%00", FORM, 422, "NUL"),
        (b"a=%ff", FORM, 400, "UTF-8"),
        (b"a=\xff", FORM, 400, "UTF-8"),
        (b"&".join(b"a=1" for _ in range(300)), FORM, 422, "over 200 fields"),
        (b'{"a": 1}', {"content-type": "application/json"}, 415, "reads forms"),
        (b"--x", {"content-type": "multipart/form-data; boundary=x"}, 415, "reads forms"),
        (b"a=1", {}, 415, "reads forms"),
        (b"\x1f\x8b", {**FORM, "content-encoding": "gzip"}, 415, "compressed"),
    ],
)
async def test_a_form_that_cannot_be_kept_is_refused_in_a_sentence(
    client: Client, body: bytes, headers: dict[str, str], status: int, sentence: str
) -> None:
    answer = await client.post("/sent", body=body, headers=headers)
    assert answer.status == status
    assert sentence in text_of(answer)


async def test_a_redirect_leads_to_a_path_of_this_server(client: Client) -> None:
    answer = await client.get("/go?to=" + quote("/@home/Ä b?x=1&y=%2F#top"))
    assert answer.status == 303
    assert answer.headers["location"] == "/@home/%C3%84%20b?x=1&y=%2F#top"


@pytest.mark.parametrize(
    "to",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "agents",
        "",
        "/a\r\nSet-Cookie: x",
        "/\t/x",
    ],
)
async def test_a_redirect_leads_nowhere_else(client: Client, to: str) -> None:
    answer = await client.get("/go?to=" + quote(to))
    assert answer.status == 422
    assert "location" not in answer.headers


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("/\\:@?#.%a\t\n\u2028 \u3002"), max_size=12))
def test_no_local_path_is_another_host(text: str) -> None:
    base = "http://localhost:8642/agents"
    if local_path(text) is not None:
        # Browsers drop tabs and line ends, and read a backslash as a slash.
        read = text.replace("\\", "/").translate({9: None, 10: None, 13: None})
        assert urlsplit(urljoin(base, read)).netloc == "localhost:8642"


async def test_a_sentence_travels_to_the_next_page_and_is_shown_once(client: Client) -> None:
    gone = await client.get("/go?to=/shown&say=" + quote("Saved <b>Åsa</b>."))
    name, _, rest = gone.headers["set-cookie"].partition("=")
    assert name == "porch_flash_8642"
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=60"} <= set(rest.split("; "))
    shown = await client.get("/shown", headers={"cookie": f"{name}={rest.partition(';')[0]}"})
    assert (
        '<div class="notice notice-good flash" role="status"><p>Saved &lt;b&gt;Åsa&lt;/b&gt;.</p>'
        in text_of(shown)
    )
    assert shown.headers["set-cookie"].startswith('porch_flash_8642=""; ')
    assert "Max-Age=0" in shown.headers["set-cookie"]


async def test_a_sentence_of_another_server_on_this_host_is_left_to_it(client: Client) -> None:
    shown = await client.get("/shown", headers={"cookie": "porch_flash_8643=SGVsbG8u"})
    assert "Hello." not in text_of(shown)
    assert "set-cookie" not in shown.headers


@pytest.mark.parametrize("sent", ["%%%", "AA", "gICA", "a" * 5, '""'])
async def test_a_cookie_that_holds_no_sentence_is_passed_over(client: Client, sent: str) -> None:
    shown = await client.get("/shown", headers={"cookie": f"porch_flash_8642={sent}"})
    assert shown.status == 200


async def test_half_a_character_does_not_break_a_page() -> None:
    app = an_app()
    router = page_router("test")

    @router.get("/half", dependencies=[public()])
    async def half(request: Request) -> Response:
        return render(request, "error.html", 200, **error_context("a\ud800b"))

    app.router.routes.extend(router.routes)
    assert "a\ufffdb" in text_of(await Client(app).get("/half"))


def test_a_name_that_a_template_does_not_know_is_a_mistake() -> None:
    with pytest.raises(UndefinedError):
        templates().from_string("{{ nobody_gave_this }}").render()


JSON_PAGE = templates().from_string("{{ value | json }}")
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from(["</script>", "<!--", "]]>", "\u2028"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(json_values)
def test_json_in_a_page_ends_no_script_and_stays_what_it_was(value: Any) -> None:
    text = JSON_PAGE.render(value=value)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == value


def test_every_template_of_every_room_compiles() -> None:
    compile_templates()
