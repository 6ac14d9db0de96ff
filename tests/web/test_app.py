"""The assembled app: every route declares who may call it, and says how."""

import pytest

from porch.http.application import describe
from porch.http.auth import Public
from porch.http.routing import declarations
from porch.identity.policy import KINDS
from tests.http.client import Client
from tests.web.conftest import House

PUBLIC = {
    "GET /healthz",
    "GET /readyz",
    "GET /contract/v1/schema.json",
    "GET /openapi.json",
    "GET /static/{path:path}",
    "GET /embed.js",
    "GET /favicon.svg",
    "GET /manifest.webmanifest",
    "GET /design",
    "GET /shared/{token}",
    "GET /shared/{token}/messages/{message}/parts/{part}",
    "POST /@{ws}/{agent}/guests",
    "GET /join/{secret}",
    "POST /join/{secret}",
    "GET /sign-in",
    "POST /sign-in",
    "GET /sign-in/{link}",
    "GET /sign-in/with/provider",
    "GET /sign-in/with/back",
    "GET /recover",
    "POST /recover",
    "POST /sign-in/{link}",
    "POST /api/v1/sign-in/passkey",
    "POST /api/v1/sign-in/passkey/options",
    "POST /sign-out",
    "GET /sign-up",
    "POST /sign-up",
}


async def test_every_route_declares_a_scope_of_a_known_kind_or_that_it_is_public(house: House) -> None:
    found = dict(declarations(house.world.app))
    assert {name for name, declared in found.items() if isinstance(declared, Public)} == PUBLIC
    for name, declared in found.items():
        assert declared is not None, name
        if not isinstance(declared, Public) and declared.scope:
            assert declared.scope.partition(":")[2] in {*KINDS, "*"}, name


async def test_no_route_but_the_public_ones_answers_a_stranger(house: House) -> None:
    stranger = Client(house.world.app)
    for name in dict(declarations(house.world.app)):
        methods, _, path = name.partition(" ")
        method = methods.partition(",")[0]
        answer = await stranger.request(method, path.replace("{", "").replace("}", ""))
        sent_away = answer.headers.get("location", "").startswith("/sign-in?next=")
        assert (answer.status == 401 or sent_away) == (name not in PUBLIC), name
        assert not sent_away or (method == "GET" and not path.startswith("/api/")), name


async def test_the_openapi_document_describes_every_operation_with_examples(house: House) -> None:
    document = describe(house.world.app)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation.get("operationId"), (method, path)
            assert operation.get("description"), (method, path)
            assert operation.get("tags"), (method, path)
    text = (await house.ada.client.get("/openapi.json")).body
    assert b"example" in text
    assert document["components"]["securitySchemes"]


async def test_it_is_ready_while_it_holds_a_lease(house: House) -> None:
    ready = await Client(house.world.app).get("/readyz")
    assert (ready.status, ready.json["ready"]) == (200, True)
    await house.runs.stop()
    late = await Client(house.world.app).get("/readyz")
    assert (late.status, late.json["runs"]) == (503, "waiting for a lease")
    assert late.headers["retry-after"] == "1"
    refused = await house.say("hello")
    assert (refused.status, refused.code) == (503, "unavailable")
    assert refused.headers["retry-after"]


async def test_metrics_tell_what_the_process_carries(house: House) -> None:
    await house.say("[[say Hi]]")
    text = (await house.ada.client.get("/metrics")).body.decode()
    assert "porch_runs_started_total 1\n" in text
    assert "porch_runs_active 0\n" in text
    model = 'gen_ai_provider_name="scripted",gen_ai_request_model="test"'
    chat = f'gen_ai_operation_name="chat",{model}'
    assert f"gen_ai_client_operation_time_to_first_chunk_seconds_count{{{chat}}} 1\n" in text
    # One model has one name, whatever is measured of it.
    for name in ("porch_run_time_to_first_text", "gen_ai_invoke_agent_duration"):
        assert f"{name}_seconds_count{{{model}}} 1\n" in text
    assert "porch_journal_lag_seconds_count" in text


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"tools": ["rocket"]}, "rocket"),
        ({"model": "nowhere:x"}, "nowhere"),
        ({"colour": "red"}, "colour"),
        ({"concurrency": "sometimes"}, "concurrency"),
    ],
)
async def test_a_definition_that_cannot_work_is_refused_and_names_what_is_wrong(
    house: House, change: dict[str, object], word: str
) -> None:
    definition = {"name": "odd", "instructions": "", "model": "scripted:test", **change}
    answer = await house.ada.client.post(f"{house.ada.path}/agents", json=definition)
    assert (answer.status, answer.code) == (422, "invalid_input")
    assert word in answer.json["detail"]


async def test_a_model_whose_key_is_missing_is_kept_with_a_warning(house: House) -> None:
    definition = {"name": "later", "instructions": "", "model": "openai:gpt-5"}
    answer = await house.ada.client.post(f"{house.ada.path}/agents", json=definition)
    assert answer.status == 201
    assert "OPENAI_API_KEY" in answer.json["warnings"][0]


async def test_what_changes_something_needs_more_than_to_read(house: House) -> None:
    for name, declared in declarations(house.world.app):
        if name.partition(" ")[0] != "GET" and not isinstance(declared, Public):
            assert declared is not None
            assert not str(declared.scope).startswith("read:"), name
