"""Whole runs, told from start to end: what every one must keep, and what a script must bring about."""

from porch.conformance.case import Case, refusal
from porch.conformance.recording import Recording
from porch.contract.events import (
    Notice,
    PartFinished,
    RunFailed,
    RunFinished,
    StepDiscarded,
    StepStarted,
    ToolCallFinished,
)

HELLO = "Say hello in one short sentence."
TALK = (
    "[[think Let me see.]] [[say Good evening, 你好 👋🏽 and welcome.]] [[call clock]] [[next]]"
    ' [[call clock {"timezone": "UTC"}]] [[call clock {"timezone": "Europe/Paris"}]] [[say It is {result}.]]'
)
BROKEN = "[[cut after=3]]"
FAILED = "[[fail after=3 overloaded]]"
REFUSED_AT_ONCE = "[[fail bad_request]]"
SHORTENED = "[[say As far as it goes]] [[finish length]]"
DECLINED = "[[refuse No.]]"
NUL = "[[nul]]"
MODEL, OTHER_MODEL = "scripted:test", "scripted:other"


async def check_talk(case: Case) -> Recording:
    """One good answer, with thoughts, words and calls where there is a script; what follows is judged by it."""
    recording = await case.tell(TALK if case.scripted else HELLO)
    case.expect(
        "start", recording.told and recording.ended, "The run gave no stream with an end.", recording.body
    )
    if not case.scripted:
        return recording
    finished = recording.events[-1] if recording.ended else None
    calls = sum(isinstance(event, ToolCallFinished) for event in recording.events)
    text = "".join(e.value for e in recording.events if isinstance(e, PartFinished) and e.kind == "text")
    case.expect("deltas", "你好 👋🏽" in text, "What the model said came back changed.", text.encode())
    stopped = isinstance(finished, RunFinished) and finished.reason == "stop"
    case.expect("reasons", stopped and calls == 3, "A script of three calls and words did not stop as one.")
    return recording


async def check_message(case: Case, recording: Recording) -> None:
    """Law 14, as far as it shows: who reads the end finds the message."""
    path = await case.conversation()
    talk = Recording()
    await case.server.record(talk, "POST", path, {"input": "[[say Done.]]" if case.scripted else HELLO})
    end = talk.events[-1] if talk.ended else None
    if not isinstance(end, RunFinished):
        case.report.skip("no run finished", "message")
        return
    answer = await case.server.ask("GET", path.replace("/runs", "/messages"))
    there = end.message.encode() in answer.body
    case.expect("message", there, "The message that run.finished names is not there.", answer.shown)
    await check_state(case, talk, "finished")


async def check_state(case: Case, recording: Recording, *expected: str) -> None:
    """A run's record says what its stream said."""
    status = (await case.state(recording.run)).get("status")
    case.expect(
        "state",
        status in expected,
        f"The stream ended with {recording.types[-1:]}, and the run's state is {status!r}.",
        *recording.around(None),
    )


async def check_failures(case: Case) -> None:
    """An error, and an end of file without an end, are failures, never a success."""
    for text, emitted in ((BROKEN, True), (FAILED, True), (REFUSED_AT_ONCE, False)):
        recording = await case.tell(text)
        end = recording.events[-1] if recording.ended else None
        failed = isinstance(end, RunFailed)
        case.expect("cut", failed, f"The script {text} did not end as run.failed.", *recording.around(None))
        if isinstance(end, RunFailed):
            says = f"The script {text} ends with emitted_any {end.error.emitted_any}."
            case.expect("cut", end.error.emitted_any == emitted, says, *recording.around(None))
            await check_state(case, recording, "failed")


async def check_reasons(case: Case) -> None:
    """Finish reasons of the model are told in the contract's words."""
    for text, wanted in ((SHORTENED, "length"), (DECLINED, "refusal")):
        recording = await case.tell(text)
        end = recording.events[-1] if recording.ended else None
        reason = end.reason if isinstance(end, RunFinished) else None
        says = f"The script {text} ended with the reason {reason!r}, not {wanted!r}."
        case.expect("reasons", reason == wanted, says, *recording.around(None))


async def check_nul(case: Case) -> None:
    """NUL is refused from people, and replaced from models."""
    answer = await case.server.ask("POST", await case.conversation(), {"input": "before\x00after"})
    refused = 400 <= answer.status < 500
    case.expect("nul-in", refused, "A message with NUL was not refused.", answer.shown)
    if not case.scripted:
        return
    recording = await case.tell(NUL)
    text = "".join(event.value for event in recording.events if isinstance(event, PartFinished))
    noticed = any(isinstance(event, Notice) for event in recording.events)
    case.expect("nul-out", "\ufffd" in text, "NUL from the model did not become U+FFFD.", text.encode())
    case.expect("nul-out", noticed, "No notice tells that NUL was replaced.", *recording.around(None))


async def check_retries(case: Case) -> None:
    """A second model takes back what the first one showed."""
    made = await case.make_agent("-chain", model=[MODEL, OTHER_MODEL])
    if made.status not in (200, 201):
        case.report.skip(f"no agent with two models could be made: {refusal(made)}", "retries")
        return
    recording = await case.tell(FAILED, agent=case.made[-1])
    tries = [event for event in recording.events if isinstance(event, StepStarted)]
    taken_back = [event for event in recording.events if isinstance(event, StepDiscarded)]
    if len(tries) < 2:
        case.report.skip("the second model of a chain was not tried", "retries")
        return
    says = f"{len(tries)} tries showed words, and {len(taken_back)} were taken back."
    case.expect("retries", len(taken_back) >= len(tries) - 1, says, *recording.around(None))
