"""What the engine is told of one run."""

from dataclasses import dataclass, field
from uuid import UUID

from porch.contract.definition import Definition
from porch.runs.context import StoredMessage
from porch.runs.options import NO_OPTIONS, RunOptions
from porch.runs.store import LoadedTurn
from porch.runs.transcript import Transcript
from porch.runs.verdict import Verdict


@dataclass(slots=True)
class Turn:
    """A message to answer: by whom, after what, and how far the answer has come.

    `history` is newest first and begins with the message to answer; `more` says that the conversation goes
    further back; `options` is what the caller added. `resumed` marks a run that another producer began, and `gap` is
    for how many seconds it had stood still, at most; `takeovers` is how often that happened. `fresh` marks a person's
    new message in a lasting conversation; `since` is when a run went on, in seconds since 1970, that was not meant
    to until then. `verdicts` are what people decided about its calls. `before` is the conversation as a message at its
    head found it, and `answer` the message that this came to.
    """

    workspace: UUID
    run: UUID
    definition: Definition
    history: list[StoredMessage]
    more: bool
    options: RunOptions = NO_OPTIONS
    transcript: Transcript = field(default_factory=Transcript)
    resumed: bool = False
    gap: float | None = None
    takeovers: int = 0
    conversation: UUID | None = None
    fresh: bool = False
    since: float | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict[str, Verdict])
    before: LoadedTurn | None = None
    answer: UUID | None = None
