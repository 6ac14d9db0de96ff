"""What is checked of a server, and what was found."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

Verdict = Literal["ok", "breach", "skipped"]
MOST_EVIDENCE, LONGEST_EVIDENCE = 4, 300
NOT_REACHED = "the kit ended before it"


class Check(NamedTuple):
    """One thing that a law demands: `law` is its number, or the chapter of the contract that says it."""

    key: str
    law: str
    what: str


class Fault(NamedTuple):
    """How a check was failed, in a sentence; `seq` is the event at which it shows."""

    check: str
    says: str
    seq: int | None = None


CHECKS: Final = (
    Check("dense", "1", "seq counts 1, 2, 3 … within a run; one run per stream"),
    Check("epochs", "1", "an epoch never falls, and a new one tells run.resumed"),
    Check("bounds", "2", "run.started first; one end, and nothing behind it"),
    Check("cut", "2", "an answer that breaks off, or fails, ends as run.failed"),
    Check("closers", "3", "every start has one end, before its step's and the run's"),
    Check("values", "4", "the end carries the full value: the deltas joined"),
    Check("names", "5", "ids of parts, calls and steps are used once and known"),
    Check("deltas", "6", "no empty delta, no half character, no NUL"),
    Check("nul-in", "6", "a message with NUL is refused at the door"),
    Check("nul-out", "6", "NUL from a model becomes U+FFFD, with a notice"),
    Check("usage", "7", "usage only grows in a step, and stands before its end"),
    Check("reasons", "8", "a call without a result is no stop; reasons are kept"),
    Check("retries", "9", "another try takes back what the first one showed"),
    Check("unknown", "10", "an unknown event of a provider does not fail the stream"),
    Check("decoding", "11", "the same events for every split of a provider's bytes"),
    Check("leaving", "12", "a reader that leaves does not cancel the run"),
    Check("slow", "12", "one slow reader is bounded, and nobody else notices"),
    Check("silence", "13", "a keep-alive comment every 10 to 15 s of silence"),
    Check("message", "14", "the final message is there when run.finished is read"),
    Check("memory", "14", "memory.write is committed with its memory"),
    Check("approvals", "15", "an approval is resolved once, for what was shown"),
    Check("framing", "framing", "id, event and data of each frame agree"),
    Check("envelope", "framing", "v, type, run, epoch, seq and ts on every event"),
    Check("fields", "schema", "events have the fields that the contract names"),
    Check("schema", "schema", "the served schema breaks no reader of v1"),
    Check("replay", "cursors", "replay is byte for byte what was streamed live"),
    Check("rest", "cursors", "from any event on, the rest, byte for byte"),
    Check("stronger", "cursors", "Last-Event-ID goes before ?after"),
    Check("done", "cursors", "204 at the terminal event"),
    Check("ahead", "cursors", "a cursor from the future is answered, in bounded time"),
    Check("future", "cursors", "while it is at work it is refused or taken back, soon"),
    Check("garbled", "cursors", "what is no cursor is refused with a problem"),
    Check("readers", "cursors", "readers at the same time get the same bytes"),
    Check("start", "http", "a run starts as a stream, or with 202 and its id"),
    Check("twice", "http", "one Idempotency-Key, one run"),
    Check("other-body", "http", "another body under the key is 422"),
    Check("missing", "http", "404 for a run that is not there"),
    Check("another", "http", "404 for another's run, also to cancel it"),
    Check("token", "http", "401 without a valid token"),
    Check("cancel", "http", "cancel ends with run.cancelled; again changes nothing"),
    Check("state", "http", "a run's state says what its stream said"),
    Check("everywhere", "replicas", "every replica replays the same bytes"),
    Check("elsewhere", "replicas", "a live run is read on another replica"),
    Check("reaching", "replicas", "cancel, and a key, count on every replica"),
    Check("goes-on", "kill", "the run goes on elsewhere within 5 s"),
    Check("told", "kill", "run.resumed {takeover}, then step.discarded"),
    Check("resync", "kill", "who was ahead is told to forget, others are not"),
    Check("whole", "kill", "nothing lost or doubled; replay is the same bytes"),
    Check("once", "kill", "a committed result is not run twice"),
)


@dataclass(frozen=True)
class Finding:
    """What became of one check: `why` says how it was seen, broken, or why it was skipped."""

    check: Check
    verdict: Verdict
    why: str = ""
    evidence: tuple[str, ...] = ()


@dataclass
class Report:
    """All findings so far. A check is ok only where it was made and nothing spoke against it."""

    seen: dict[str, str] = field(default_factory=dict[str, str])
    breaches: list[Finding] = field(default_factory=list[Finding])
    skipped: dict[str, str] = field(default_factory=dict[str, str])

    def ok(self, key: str, how: str = "") -> None:
        """It was made, and held."""
        assert key in BY_KEY
        if how or key not in self.seen:
            self.seen[key] = how

    def breach(self, key: str, says: str, evidence: Iterable[bytes] = ()) -> None:
        """It was made, and did not hold; each check tells its first breach and counts no more of the same words."""
        found = Finding(BY_KEY[key], "breach", says, tuple(map(cut, list(evidence)[:MOST_EVIDENCE])))
        if not any(found.why == other.why and found.check == other.check for other in self.breaches):
            self.breaches.append(found)

    def skip(self, why: str, *keys: str) -> None:
        """They could not be made."""
        for key in keys:
            assert key in BY_KEY
            self.skipped.setdefault(key, why)

    def findings(self) -> list[Finding]:
        """One per check, in the order of the laws, more where it was broken in several ways."""
        found: list[Finding] = []
        for check in CHECKS:
            broken = [breach for breach in self.breaches if breach.check == check]
            if broken:
                found += broken
            elif check.key in self.seen:
                found.append(Finding(check, "ok", self.seen[check.key]))
            else:
                found.append(Finding(check, "skipped", self.skipped.get(check.key, NOT_REACHED)))
        return found


BY_KEY: Final[Mapping[str, Check]] = {check.key: check for check in CHECKS}


def cut(frame: bytes) -> str:
    """Bytes of a server as a person reads them, on one line."""
    text = frame.decode("utf-8", "replace").rstrip("\n").replace("\r", "␍").replace("\n", " ⏎ ")
    return text if len(text) <= LONGEST_EVIDENCE else text[:LONGEST_EVIDENCE] + " …"
