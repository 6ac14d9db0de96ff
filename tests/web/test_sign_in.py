"""Signing in to the whole app, and by an address that a proxy stands before."""

import pytest
from fastapi import FastAPI

from porch.plugins.service import Tools
from porch.settings import Settings
from porch.web.app import Rooms, build_app
from tests.http.browser import Browser, words
from tests.http.client import Client
from tests.web.conftest import House


def app_of(house: House, settings: Settings) -> FastAPI:
    """Another app over the same rooms."""
    state = house.world.app.state
    rooms = Rooms(
        house.world.database, state.authenticate, state.models, Tools(), house.runs, None, state.egress
    )
    app = build_app(settings, rooms)
    app.state.url = settings.public_url
    return app


async def signed_in(house: House, app: FastAPI, host: str) -> Browser:
    made = await Client(app, house.ada.client.token, host).post("/api/v1/sign-in-links")
    browser = Browser(app, host)
    await browser.sign_in(made.json["url"])
    return browser


async def test_a_session_reads_and_talks_as_a_token_does(house: House) -> None:
    browser = await signed_in(house, house.world.app, "localhost:8642")
    await browser.open("/sessions")
    conversation = await house.conversation()
    started = await browser.fetch(
        "POST", f"{conversation}/runs", json={"input": "Hi."}, accept="text/event-stream"
    )
    assert started.status == 200
    assert b"event: run.finished" in started.body
    run = started.headers["porch-run"]
    assert (await browser.fetch("GET", f"/api/v1/runs/{run}")).json["status"] == "finished"
    replay = await browser.fetch("GET", f"/api/v1/runs/{run}/events", accept="text/event-stream")
    assert replay.body == started.body
    browser.csrf = ""
    refused = await browser.fetch("POST", f"{conversation}/runs", json={"input": "Hi."})
    assert (refused.status, refused.code) == (403, "csrf")


async def test_a_session_reaches_its_own_workspace_alone(house: House) -> None:
    eve = await house.world.tenant("eve-of-the-house")
    browser = await signed_in(house, house.world.app, "localhost:8642")
    assert (await browser.fetch("GET", f"{house.ada.path}/agents")).status == 200
    assert (await browser.fetch("GET", f"{eve.path}/agents")).status == 404


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://porch.public.example", "porch.public.example"),
        ("http://[2001:db8::7]:8080", "[2001:db8::7]:8080"),
    ],
)
async def test_the_public_address_is_answered_and_named_in_links(house: House, url: str, host: str) -> None:
    app = app_of(house, Settings(public_url=url))
    made = await Client(app, house.ada.client.token, "localhost").post("/api/v1/sign-in-links")
    assert made.json["url"].startswith(url + "/sign-in/")
    browser = await signed_in(house, app, host)
    assert all(name.startswith("__Host-") for name in browser.cookies) is url.startswith("https")
    assert "this browser" in words(await browser.open("/sessions"))
    assert (await Client(house.world.app, None, host).get("/healthz")).status == 421
