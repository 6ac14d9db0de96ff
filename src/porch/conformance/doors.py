"""What HTTP promises about runs: starting once, finding what is one's own, and stopping."""

import os

from porch.conformance.case import Case, refusal
from porch.conformance.recording import Recording
from porch.conformance.server import IDEMPOTENCY_KEY, Server
from porch.conformance.telling import HELLO, check_state
from porch.contract.ids import new_id

LONG = "[[tokens 600 itl={pace}]]"


async def check_start(case: Case) -> None:
    """Without a wish for a stream: 202 with the run's id, and the run is there."""
    answer = await case.server.ask("POST", await case.conversation(), {"input": HELLO})
    run = answer.told.get("run")
    if case.expect("start", answer.status == 202 and run, "No 202 with a run's id.", answer.shown):
        there = await case.state(str(run))
        case.expect("start", there.get("id") == run, "The run of a 202 is not there.", answer.shown)


async def check_keys(case: Case) -> None:
    """The same write twice counts once, however its answer is wanted."""
    path, body = await case.conversation(), {"input": HELLO}
    keyed = {IDEMPOTENCY_KEY: os.urandom(12).hex()}
    first = await case.server.ask("POST", path, body, headers=keyed)
    second = await case.server.ask("POST", path, body, headers=keyed)
    runs = [answer.told.get("run") for answer in (first, second)]
    same = runs[0] and runs[0] == runs[1]
    case.expect("twice", same, "The same write twice made two runs.", first.shown, second.shown)
    stream = Recording()
    async with case.limited("twice", "A repeated write gave no stream of its run."):
        await case.server.record(stream, "POST", path, body, headers=keyed)
    says = "The same write once more, as a stream, is another run."
    case.expect("twice", stream.run == runs[0], says, *stream.around(None))
    other = await case.server.ask("POST", path, {"input": HELLO + "!"}, headers=keyed)
    says = f"Another body under a used key is answered with {other.status}, not 422."
    case.expect("other-body", other.status == 422 and other.is_problem, says, other.shown)


async def check_missing(case: Case) -> None:
    """What is not there, is not one's own, or is asked for without a token."""
    for run in (new_id("run"), "run_of_nobody"):
        for method, path in _doors(run):
            answer = await case.server.ask(method, path)
            says = f"{method} {path} of a run that is not there is {answer.status}, not 404."
            case.expect("missing", answer.status == 404 and answer.is_problem, says, answer.shown)


async def check_walls(case: Case, recording: Recording) -> None:
    """A run that is there, for people who may not know of it."""
    run = str(recording.run)
    nobody = Server(case.server.url, "porch_pat_nobody")
    try:
        for method, path in _doors(run):
            answer = await nobody.ask(method, path)
            says = f"{method} {path} with a token of nobody is {answer.status}, not 401."
            case.expect("token", answer.status == 401, says, answer.shown)
    finally:
        await nobody.close()
    if case.stranger is None:
        case.report.skip("no second principal is known: give --stranger TOKEN", "another")
        return
    for method, path in _doors(run):
        answer = await case.stranger.ask(method, path)
        says = f"{method} {path} by another principal is {answer.status}, not 404."
        case.expect("another", answer.status == 404, says, answer.shown)


async def admit_stranger(case: Case) -> Server | None:
    """A guest of the throw-away agent, where the server knows guests: somebody else than the token's owner."""
    origin = "http://localhost"
    agent = f"{case.agents}/{case.agent}"
    for method, path, body in (
        ("POST", f"{agent}/versions", None),
        ("PUT", f"{agent}/embedding", {"origins": [origin]}),
    ):
        if (await case.server.ask(method, path, body)).status not in (200, 201):
            return None
    path = f"/@{case.workspace}/{case.agent}/guests"
    answer = await case.server.ask("POST", path, headers={"Origin": origin})
    token = answer.told.get("token") if answer.status == 201 else None
    return Server(case.server.url, str(token)) if token else None


async def check_cancel(case: Case) -> None:
    """Stop a run in mid-word, and once more when it is over."""
    async with case.telling(LONG.format(pace=case.pace.word), 10) as recording:
        path = f"/api/v1/runs/{recording.run}/cancel"
        answer = await case.server.ask("POST", path)
        case.expect("cancel", answer.status // 100 == 2, f"Cancel is refused: {refusal(answer)}")
        async with case.limited(
            "cancel", f"A cancelled run did not end within {case.pace.ends:.0f} s.", case.pace.ends
        ):
            await recording.until(lambda now: now.ended)
        if not recording.ended:
            return
    case.judge(recording)
    ended = recording.types[-1:] == ["run.cancelled"]
    case.expect("cancel", ended, "A cancelled run did not end as run.cancelled.", *recording.around(None))
    again = await case.server.ask("POST", path)
    says = f"Cancelling a run that is over is {again.status}."
    case.expect("cancel", again.status // 100 == 2 or again.status == 409, says, again.shown)
    replay = await case.server.replay(str(recording.run))
    says = "Cancelling a run that was over changed it."
    case.expect("cancel", replay.data == recording.data, says, *replay.around(None))
    await check_state(case, recording, "cancelled")


def _doors(run: str) -> tuple[tuple[str, str], ...]:
    path = f"/api/v1/runs/{run}"
    return ("GET", path), ("GET", f"{path}/events"), ("POST", f"{path}/cancel")
