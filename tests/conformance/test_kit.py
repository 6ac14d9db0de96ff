"""Every check of the kit is green on a server that keeps the contract, and red on one that does not."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from porch.cli.root import run
from porch.conformance import approvals, cursors, doors, kills, kit, readers, telling
from porch.conformance.case import Case, Pace
from porch.conformance.model import BY_KEY
from porch.conformance.recording import Recording
from tests.conformance.fake import Door, problem, replicas

PACE = Pace(
    answer=20.0, keep_alive=(0.5, 1.6), slack=0.4, goes_on=2.0, ends=2.0, word="4ms", flood=600, back=0.5
)
UNSEEN = {"unknown", "decoding", "memory"}
Action = Callable[[Case], Awaitable[object]]


@asynccontextmanager
async def case_of(fault: str = "") -> AsyncGenerator[Case]:
    """The case of a fake server with that fault."""
    async with (
        replicas(fault) as (first, second),
        kit.opened(
            first.url, "owner", also=[second.url], stranger="stranger", kill=first.kill, pace=PACE
        ) as case,
    ):
        yield case


def after_talk(action: Callable[..., Awaitable[object]]) -> Action:
    """A check that is given a run that is over."""

    async def act(case: Case) -> None:
        await action(case, await telling.check_talk(case))

    return act


TALK, KEYS, CANCEL = telling.check_talk, doors.check_keys, doors.check_cancel
REST, ODD = after_talk(cursors.check_rest), after_talk(cursors.check_odd)
SCHEMA, WALLS = after_talk(cursors.check_schema), after_talk(doors.check_walls)
NUL, TOGETHER, KILL = telling.check_nul, readers.check_together, kills.check_kill
ASK = approvals.check_approvals

# Each fault of a server, the check that must see it, and where it looks.
FAULTS: list[tuple[str, str, Action]] = [
    ("gap", "dense", TALK),
    ("another run", "envelope", TALK),
    ("epoch unsaid", "epochs", TALK),
    ("epoch falls", "epochs", TALK),
    ("no run.started", "bounds", TALK),
    ("two ends", "bounds", TALK),
    ("late event", "bounds", TALK),
    ("cut is success", "cut", telling.check_failures),
    ("emitted_any", "cut", telling.check_failures),
    ("part open", "closers", TALK),
    ("step open", "closers", TALK),
    ("value", "values", TALK),
    ("arguments", "values", TALK),
    ("part twice", "names", TALK),
    ("call unknown", "names", TALK),
    ("empty delta", "deltas", TALK),
    ("NUL in a delta", "deltas", TALK),
    ("half a character", "deltas", TALK),
    ("nul taken", "nul-in", NUL),
    ("nul kept", "nul-out", NUL),
    ("no notice", "nul-out", NUL),
    ("usage falls", "usage", TALK),
    ("usage late", "usage", TALK),
    ("no result", "reasons", TALK),
    ("reason lost", "reasons", telling.check_reasons),
    ("no takeback", "retries", telling.check_retries),
    ("leaving cancels", "leaving", readers.check_leaving),
    ("slow cut", "slow", readers.check_slow),
    ("no keep-alive", "silence", readers.check_silence),
    ("keep-alive often", "silence", readers.check_silence),
    ("message late", "message", after_talk(telling.check_message)),
    ("other parameters shown", "approvals", ASK),
    ("runs unasked", "approvals", ASK),
    ("denied runs", "approvals", ASK),
    ("decided twice", "approvals", ASK),
    ("minds change", "approvals", ASK),
    ("once and never again", "approvals", ASK),
    ("same epoch", "epochs", ASK),
    ("id", "framing", TALK),
    ("no id", "framing", TALK),
    ("name", "framing", TALK),
    ("no JSON", "framing", TALK),
    ("torn", "framing", TALK),
    ("content type", "framing", TALK),
    ("version 2", "envelope", TALK),
    ("no time", "envelope", TALK),
    ("seq as text", "envelope", TALK),
    ("delta as number", "fields", TALK),
    ("schema without seq", "schema", SCHEMA),
    ("schema without a type", "schema", SCHEMA),
    ("schema of something else", "schema", SCHEMA),
    ("replay rewritten", "replay", after_talk(cursors.check_replay)),
    ("after counts wrong", "rest", REST),
    ("query stronger", "stronger", REST),
    ("no 204", "done", REST),
    ("ahead", "ahead", ODD),
    ("future awaited", "future", cursors.check_future),
    ("any epoch", "future", cursors.check_future),
    ("garbled taken", "garbled", ODD),
    ("joins late", "readers", TOGETHER),
    ("no 202", "start", doors.check_start),
    ("no stream", "start", TALK),
    ("key ignored", "twice", KEYS),
    ("other body", "other-body", KEYS),
    ("forbidden", "missing", doors.check_missing),
    ("shown to strangers", "another", WALLS),
    ("no token needed", "token", WALLS),
    ("cancel ignored", "cancel", CANCEL),
    ("cancelled twice", "cancel", CANCEL),
    ("state", "state", after_talk(telling.check_message)),
    ("replay elsewhere", "everywhere", cursors.check_everywhere),
    ("elsewhere late", "elsewhere", readers.check_elsewhere),
    ("cancel elsewhere", "reaching", readers.check_reaching),
    ("key of a replica", "reaching", readers.check_reaching),
    ("late takeover", "goes-on", KILL),
    ("no run.resumed", "told", KILL),
    ("no takeback after a kill", "told", KILL),
    ("no resync", "resync", KILL),
    ("resync keeps less", "resync", KILL),
    ("resync for all", "resync", KILL),
    ("lost after a kill", "whole", KILL),
    ("runs the tool again", "once", KILL),
]


async def test_a_server_that_keeps_the_contract_passes_and_what_was_not_checked_is_skipped() -> None:
    async with case_of() as case:
        report = await kit.check(case)
    assert not report.breaches, "no check sees a fault where there is none"
    assert {found.check.key for found in report.findings() if found.verdict == "skipped"} == UNSEEN
    assert all(found.why for found in report.findings() if found.verdict == "skipped")


async def test_a_server_that_tells_every_reader_to_come_back_keeps_the_contract_too() -> None:
    async with case_of("nothing but haste") as case:
        whole = Recording()
        await case.server.record(whole, "POST", await case.conversation(), {"input": "[[tokens 300]]"})
        report = await kit.check(case)
    assert not report.breaches
    assert whole.ended
    assert [back.reason for back in whole.resyncs] == ["overflow"] * 3, "it overflowed, and came back"


@pytest.mark.parametrize(("fault", "check", "action"), FAULTS, ids=[fault for fault, *_ in FAULTS])
async def test_a_fault_is_seen_by_the_check_that_stands_for_it(
    fault: str, check: str, action: Action
) -> None:
    async with case_of(fault) as case:
        await kit.attempt(case, (check,), lambda: action(case))
    found = [breach for breach in case.report.breaches if breach.check.key == check]
    assert found, case.report.breaches
    assert all(breach.why.endswith(".") for breach in found)


def test_every_check_is_seen_to_fail() -> None:
    assert {check for _, check, _ in FAULTS} == set(BY_KEY) - UNSEEN


@pytest.mark.parametrize("how", ["refused", "empty", "cut"])
async def test_a_server_whose_runs_give_no_stream_is_told_so_and_the_kit_comes_to_its_end(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(_: Door, request: web.Request, conversation: str) -> web.StreamResponse:
        if how == "refused":
            return problem(500, "internal")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if how == "cut":
            await response.write(b'id: 1-1\nevent: run.started\ndata: {"v":1')
        return response

    monkeypatch.setattr(Door, "_start", start)
    async with case_of() as case:
        case.pace = Pace(answer=0.3, keep_alive=(0.1, 0.2), slack=0.1, goes_on=0.2, ends=0.2, back=0.2)
        report = await kit.check(case)
    found = {breach.check.key: breach.why for breach in report.breaches}
    assert {"start", "silence", "readers", "cancel"} <= set(found)
    assert "gave no event" in found["silence"]


async def test_without_a_script_a_replica_or_a_kill_what_needs_them_is_skipped_and_not_ok() -> None:
    async with replicas() as (first, _):
        first.world.models["mine"] = ["m"]
        async with kit.opened(first.url, "owner", agent="@home/mine", pace=PACE) as case:
            report = await kit.check(case)
    assert not report.breaches
    skipped = {found.check.key: found.why for found in report.findings() if found.verdict == "skipped"}
    assert {"cut", "retries", "leaving", "silence", "everywhere", "another", *kills.KEYS} <= set(skipped)
    assert "--stranger" in skipped["another"]
    assert {"dense", "closers", "replay", "twice"}.isdisjoint(skipped)


async def test_a_kill_that_hits_nobody_is_skipped_with_its_reason() -> None:
    async with case_of() as case:
        case.kill = lambda: None
        await kills.check_kill(case)
    assert "did not hold it" in case.report.skipped["whole"]
    assert not case.report.breaches


@pytest.mark.parametrize("again", [True, False])
async def test_without_a_replica_the_kit_waits_for_the_server_itself(*, again: bool) -> None:
    async with replicas() as (first, _), kit.opened(first.url, "owner", kill=first.kill, pace=PACE) as case:
        supervisor = asyncio.create_task(first.be_supervised()) if again else None
        await kills.check_kill(case)
        if supervisor:
            await supervisor
    assert not case.report.breaches
    assert (set(case.report.seen) >= {"told", "resync", "whole", "once"}) is again
    assert "--also" in case.report.skipped["goes-on"]
    assert ("whole" in case.report.skipped) is not again


async def test_a_breach_is_told_with_its_evidence_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kit, "Pace", lambda: PACE)
    async with replicas("value") as (first, _):
        arguments = ["conformance", first.url, "--token", "owner", "--stranger", "stranger"]
        assert await asyncio.to_thread(run, arguments) == 1
        told = capsys.readouterr().out
        assert await asyncio.to_thread(run, [*arguments, "--json"]) == 1
        items = json.loads(capsys.readouterr().out)["items"]
    assert "4\tvalues\tthe end carries the full value: the deltas joined\tbreach" in told
    assert "Law 4: The full value of part p2 is not its deltas joined." in told
    assert "event: part.finished" in told.partition("Law 4: ")[2]
    broken = [item for item in items if item["verdict"] == "breach"]
    assert {item["check"] for item in broken} == {"values"}
    assert all(item["evidence"] for item in broken)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["not an address"], "is no server's address"),
        (["http://127.0.0.1:9", "--pid", "1"], "1 is not in the range"),
        (["http://127.0.0.1:9", "--also", "http://127.0.0.1:9/"], "One address is given twice."),
        (["http://127.0.0.1:9"], "No server answers at http://127.0.0.1:9."),
    ],
)
def test_a_wrong_call_is_told_with_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["conformance", *arguments, "--token", "owner"]) == 2
    assert says in capsys.readouterr().err
