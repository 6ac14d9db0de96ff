"""A call that waits for a person: what is shown, what runs, and that a decision counts once (law 15)."""

from porch.conformance.case import Case, refusal
from porch.conformance.recording import Recording
from porch.conformance.server import Answer, Server
from porch.conformance.telling import MODEL, check_state
from porch.contract.events import (
    ApprovalRequested,
    ApprovalResolved,
    Decision,
    RunPaused,
    RunResumed,
    ToolCallFinished,
    ToolResultFinished,
)

ASKING = '[[call clock {"timezone": "Europe/Paris"}]] [[say It is {result}.]]'
OTHER: dict[Decision, Decision] = {"approve": "deny", "deny": "approve"}


async def check_approvals(case: Case) -> None:
    """One call is approved, another denied; on another replica where there is one."""
    rule = {"tools": ["clock"]}
    made = await case.make_agent("-asks", model=MODEL, tools=["clock"], approval=rule)
    if made.status not in (200, 201):
        case.report.skip(f"no agent with a tool that asks could be made: {refusal(made)}", "approvals")
        return
    agent = case.made[-1]
    for decision in OTHER:
        recording, path = Recording(), await case.conversation(agent=agent)
        await case.server.record(recording, "POST", path, {"input": ASKING})
        asked = _judge_pause(case, recording)
        if asked is not None:
            await check_state(case, recording, "paused")
            await _decide(case, recording, asked, decision)


def _judge_pause(case: Case, recording: Recording) -> ApprovalRequested | None:
    """The stream ended with a pause, the parameters were shown, and nothing has run; what was asked."""
    case.judge(recording, paused=True)
    events = recording.events
    asked = next((event for event in events if isinstance(event, ApprovalRequested)), None)
    last = events[-1] if events else None
    paused = asked is not None and isinstance(last, RunPaused) and last.reason == "approval"
    says = "A call that needs approval did not end the stream with approval.requested and run.paused."
    if not case.expect("approvals", paused, says, *recording.around(None)) or asked is None:
        return None
    called = next((e for e in events if isinstance(e, ToolCallFinished) and e.call == asked.call), None)
    given = (called.arguments if called else None) or {}
    same = given and all(asked.arguments.get(name) == value for name, value in given.items())
    says = "The parameters that are shown for approval are not those of the call."
    case.expect(
        "approvals", same and called and asked.name == called.name, says, *recording.around(asked.seq)
    )
    ran = any(isinstance(event, ToolResultFinished) for event in events)
    case.expect("approvals", not ran, "A call ran before it was approved.", *recording.around(asked.seq))
    return asked


async def _decide(case: Case, recording: Recording, asked: ApprovalRequested, decision: Decision) -> None:
    """Decide, say so again, change one's mind, and read on."""
    server, paused = (case.others or [case.server])[-1], recording.events[-1]
    if case.stranger:
        strange = await _post(case.stranger, recording, asked, decision)
        says = f"Another principal's decision is answered with {strange.status}, not 404."
        case.expect("another", strange.status == 404, says, strange.shown)
    for again in ("A decision", "The same decision once more"):
        answer = await _post(server, recording, asked, decision)
        says = f"{again} is refused: {refusal(answer)}"
        case.expect("approvals", answer.status // 100 == 2, says, answer.shown)
    other = await _post(server, recording, asked, OTHER[decision])
    says = f"Another decision after the first is answered with {other.status}, not as a conflict."
    case.expect("approvals", other.status == 409, says, other.shown)
    async with case.limited("approvals", "A run did not go on after its call was decided."):
        await case.server.follow_to_the_end(recording)
        case.judge(recording)
        events = recording.events
        resolved = [event for event in events if isinstance(event, ApprovalResolved)]
        says = f"One call was decided with {decision!r}, and the run tells {[e.decision for e in resolved]}."
        case.expect("approvals", [e.decision for e in resolved] == [decision], says, *recording.around(None))
        results = [event for event in events if isinstance(event, ToolResultFinished)]
        ran = [not event.error for event in results]
        says = f"A call was decided with {decision!r}, and gave {len(results)} results, run: {ran}."
        case.expect("approvals", ran == [decision == "approve"], says, *recording.around(None))
        resumed = next((event for event in events if isinstance(event, RunResumed)), None)
        says = "A run that was resumed after a pause does not say run.resumed in an epoch of its own."
        fresh = resumed is not None and resumed.epoch > paused.epoch
        case.expect("epochs", fresh, says, *recording.around(paused.seq))
        replay = await case.server.replay(str(recording.run))
        says = "The replay of a run that had paused is not what was streamed."
        case.expect("replay", replay.data == recording.data, says, *replay.around(paused.seq))


async def _post(server: Server, recording: Recording, asked: ApprovalRequested, decision: Decision) -> Answer:
    path = f"/api/v1/runs/{recording.run}/approvals/{asked.approval}"
    return await server.ask("POST", path, {"decision": decision})
