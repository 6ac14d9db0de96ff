"""The laws of the stream contract over a list of events: of one model call, or of a whole run."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from porch.conformance.ledger import Ledger
from porch.conformance.model import Fault
from porch.contract.events import TERMINAL, AnyEvent, RunPaused, RunResumed, RunStarted


def judge_step(events: Sequence[AnyEvent]) -> Iterator[Fault]:
    """What one model call gave, closers included, keeps the laws on parts and calls."""
    ledger = Ledger()
    for event in events:
        yield from ledger.take(event)
    yield from ledger.left_open()


def judge_run(events: Sequence[AnyEvent], *, first_seq: int = 1) -> Iterator[Fault]:
    """A whole run as a reader got it from its start (or from `first_seq`) to its end."""
    if not events:
        yield Fault("bounds", "the run has no events")
        return
    yield from judge_order(events, first_seq)
    if first_seq == 1 and not isinstance(events[0], RunStarted):
        yield Fault("bounds", "the run does not begin with run.started", events[0].seq)
    if not isinstance(events[-1], TERMINAL):
        yield Fault("bounds", "the run does not end with a terminal event", events[-1].seq)
    ends = [event for event in events if isinstance(event, TERMINAL)]
    for event in ends[1:]:
        yield Fault("bounds", f"the run has {len(ends)} terminal events", event.seq)
    for event in events[1:]:
        if isinstance(event, RunStarted):
            yield Fault("bounds", "run.started comes again", event.seq)
    if ends and events[-1] is not ends[0]:
        yield Fault("bounds", "events follow the terminal event", events[-1].seq)
    yield from judge_paused_run(events)


def judge_paused_run(events: Sequence[AnyEvent]) -> Iterator[Fault]:
    """A stretch of a run up to its end or a pause: everything that began in it has ended."""
    yield from judge_step(events)
    if not isinstance(events[-1], (*TERMINAL, RunPaused)):
        yield Fault("bounds", "the stream ends neither with the run's end nor with a pause", events[-1].seq)


def judge_order(events: Sequence[AnyEvent], first_seq: int = 1) -> Iterator[Fault]:
    """One run, `seq` without gaps, epochs that never fall; a new one tells why."""
    for wanted, event in enumerate(events, first_seq):
        if event.seq != wanted:
            yield Fault("dense", f"seq {wanted} was due, and {event.seq} came", event.seq)
            break
    if len({event.run for event in events}) > 1:
        yield Fault("dense", "the stream holds events of several runs")
    told = {event.epoch for event in events if isinstance(event, RunResumed)}
    for before, event in pairwise(events):
        if event.epoch < before.epoch:
            yield Fault("epochs", f"the epoch falls from {before.epoch} to {event.epoch}", event.seq)
        if event.epoch > before.epoch and event.epoch not in told:
            yield Fault("epochs", f"epoch {event.epoch} begins without run.resumed", event.seq)
