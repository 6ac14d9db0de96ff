"""What waits for a person, and for quota, over HTTP."""

from typing import Any

from tests.http.client import Answer
from tests.web.conftest import House


async def pause(house: House, text: str = "[[call clock {}]] [[say Done]]") -> tuple[Answer, dict[str, Any]]:
    """A stream that ended with a pause, and the approval that its run waits for."""
    where = await house.conversation(tools=["clock"], approval={"tools": ["clock"]})
    answer = await house.say(text, where)
    assert b"event: run.paused" in answer.body
    state = (await house.ada.client.get(f"/api/v1/runs/{answer.headers['porch-run']}")).json
    assert state["status"] == "paused"
    assert state["waits_for"]["reason"] == "approval"
    [approval] = state["waits_for"]["approvals"]
    return answer, approval


async def test_a_paused_run_says_what_it_waits_for_and_goes_on_once_that_is_decided(house: House) -> None:
    answer, approval = await pause(house)
    assert approval["canonical"] == '{"timezone":"UTC"}'
    assert approval["may_decide"]
    listed = (await house.ada.client.get("/api/v1/approvals")).json["items"]
    assert approval in listed
    assert (await house.ada.client.get(f"/api/v1/approvals/{approval['id']}")).json == approval
    path = f"/api/v1/runs/{approval['run']}"
    last = answer.body.count(b"\n\n")
    assert (await house.ada.client.get(f"{path}/events?after=1-{last}")).status == 204
    path_of_it = f"{path}/approvals/{approval['id']}"
    decided = await house.ada.client.post(path_of_it, json={"decision": "approve"})
    assert (decided.status, decided.json["decision"]) == (200, "approve")
    again = await house.ada.client.post(path_of_it, json={"decision": "approve"})
    assert (again.status, again.json) == (200, decided.json)
    rest = await house.ada.client.get(f"{path}/events?after=1-{last}")
    assert rest.body.startswith(b"id: 2-%d\nevent: run.resumed" % (last + 1))
    assert b"event: run.finished" in rest.body
    other = await house.ada.client.post(path_of_it, json={"decision": "deny"})
    assert (other.status, other.json["code"]) == (409, "decided_already")
    assert (await house.ada.client.get("/api/v1/approvals?state=decided")).json["items"][0] == decided.json


async def test_bad_decisions_are_told_what_is_wrong(house: House) -> None:
    _, approval = await pause(house)
    path = f"/api/v1/runs/{approval['run']}/approvals/{approval['id']}"
    assert (await house.ada.client.post(path, json={"decision": "maybe"})).status == 422
    note = {"decision": "deny", "note": "x" * 3000}
    assert (await house.ada.client.post(path, json=note)).status == 422
    nowhere = f"/api/v1/runs/{approval['run']}/approvals/apr_{'0' * 32}"
    assert (await house.ada.client.post(nowhere, json={"decision": "deny"})).status == 404


async def test_a_conversation_is_deleted_once_its_paused_run_is_cancelled(house: House) -> None:
    _, approval = await pause(house)
    path, run = f"/api/v1/conversations/{approval['conversation']}", f"/api/v1/runs/{approval['run']}"
    assert (await house.ada.client.delete(path)).status == 409
    assert (await house.ada.client.post(f"{run}/cancel")).status == 202
    assert b"event: run.cancelled" in (await house.ada.client.get(f"{run}/events")).body
    assert (await house.ada.client.delete(path)).status == 204


async def test_a_quota_is_read_and_set(house: House) -> None:
    path = f"{house.ada.path}/quota"
    found = (await house.ada.client.get(path)).json
    assert (found["tokens"], found["period"], found["waiting"]) == (None, "month", 0)
    kept = await house.ada.client.put(path, json={"tokens": 10**9, "period": "day"})
    assert kept.status == 200
    assert (kept.json["tokens"], kept.json["period"]) == (10**9, "day")
    for wrong in ({"tokens": -1}, {"tokens": 1.5}, {"tokens": 5, "period": "year"}, {}):
        assert (await house.ada.client.put(path, json=wrong)).status == 422
    assert (await house.ada.client.put(path, json={"tokens": None})).json["tokens"] is None
