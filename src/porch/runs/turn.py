"""What the engine is told of one run."""

from dataclasses import dataclass, field
from uuid import UUID

from porch.contract.definition import Definition
from porch.runs.context import StoredMessage
from porch.runs.options import NO_OPTIONS, RunOptions
from porch.runs.transcript import Transcript


@dataclass(slots=True)
class Turn:
    """A message to answer: by whom, after what, and how far the answer has come.

    `history` is newest first and begins with the message to answer; `more` says that the conversation goes
    further back; `options` is what the caller added. `resumed` marks a run that another producer began.
    """

    workspace: UUID
    run: UUID
    definition: Definition
    history: list[StoredMessage]
    more: bool
    options: RunOptions = NO_OPTIONS
    transcript: Transcript = field(default_factory=Transcript)
    resumed: bool = False
