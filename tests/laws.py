"""The laws of the stream contract as assertions over a list of events: of one model call, or of a whole run.

One implementation serves our own tests and the conformance kit, which judges any server by it.
"""

from collections.abc import Iterable, Sequence

from porch.conformance import laws
from porch.conformance.ledger import judge_text
from porch.conformance.model import Fault
from porch.contract.events import AnyEvent


def check_step(events: Sequence[AnyEvent]) -> None:
    """What one provider's stream gave, closers included, keeps the laws on parts and calls."""
    _accept(laws.judge_step(events))


def check_run(events: Sequence[AnyEvent], *, first_seq: int = 1) -> None:
    """A whole run as a reader got it from its start: also dense `seq`, and one terminal event, the last."""
    _accept(laws.judge_run(events, first_seq=first_seq))


def check_paused_run(events: Sequence[AnyEvent]) -> None:
    """A stretch of a run up to its end or a pause: everything that began in it has ended."""
    _accept(laws.judge_paused_run(events))


def check_text(delta: str) -> None:
    """A delta is not empty, holds whole code points, and no NUL."""
    _accept(judge_text(delta))


def _accept(faults: Iterable[Fault]) -> None:
    assert not (found := list(faults)), found


__all__ = ["check_paused_run", "check_run", "check_step", "check_text"]
