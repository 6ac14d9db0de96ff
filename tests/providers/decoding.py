"""Running a decoder over bytes, and joining what came out."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from porch.contract.errors import ModelError
from porch.contract.events import AnyEvent, PartFinished, ToolCallFinished, UsageReported
from porch.providers.assembly import MAX_STEP_CHARACTERS, Assembly
from porch.providers.chat_completions.decoder import Decoder
from porch.providers.endpoint import Endpoint
from porch.providers.failures import Asked
from porch.providers.reader import AnswerReader
from porch.providers.request import StepOutcome
from tests.laws import check_step

ASKED = Asked(Endpoint("OpenAI", "http://localhost/v1", "sk-very-secret-key", "OPENAI_API_KEY"), "gpt-test")


@dataclass
class Decoded:
    """What an answer came to."""

    events: list[AnyEvent] = field(default_factory=list[AnyEvent])
    outcome: StepOutcome = field(default_factory=StepOutcome)
    error: ModelError | None = None
    done: bool = False

    def text(self, kind: str = "text") -> str:
        """All parts of a kind, joined."""
        ends = [event for event in self.events if isinstance(event, PartFinished) and event.kind == kind]
        return "".join(end.value for end in ends)

    @property
    def calls(self) -> list[ToolCallFinished]:
        """The calls as they ended."""
        return [event for event in self.events if isinstance(event, ToolCallFinished)]

    @property
    def usage(self) -> list[UsageReported]:
        """Every report of usage."""
        return [event for event in self.events if isinstance(event, UsageReported)]

    def plain(self) -> list[Any]:
        """The events without call ids, which are new each time."""
        names: dict[str, str] = {}
        found: list[Any] = []
        for event in self.events:
            fields = {name: getattr(event, name) for name in event.__struct_fields__}
            if "call" in fields:
                fields["call"] = names.setdefault(fields["call"], f"call{len(names)}")
            found.append((type(event).__name__, fields))
        error = self.error and (self.error.reason, self.error.kind, self.error.message)
        return [found, self.outcome, error]


def decode(
    pieces: Iterable[bytes],
    *,
    dialect: Callable[..., AnswerReader] = Decoder,
    max_frame_bytes: int = 1 << 20,
    max_step_characters: int = MAX_STEP_CHARACTERS,
) -> Decoded:
    """Feed the pieces, finish, and check the laws on what came, failures included."""
    result = Decoded()
    assembly = Assembly("s1", max_characters=max_step_characters)
    decoder = dialect(assembly, result.outcome, ASKED, max_frame_bytes=max_frame_bytes)
    try:
        for piece in pieces:
            decoder.feed(piece)
            result.events += assembly.take()
        decoder.finish()
    except ModelError as error:
        result.error = error
    result.events += assembly.take() if result.error is None else assembly.close()
    result.done = decoder.done
    check_step(result.events)
    return result


def split(body: bytes, seed: int) -> list[bytes]:
    """The body cut at random places; pieces may be empty."""
    chance = random.Random(seed)
    cuts = sorted(
        chance.randrange(len(body) + 1) for _ in range(chance.choice([1, 5, 50, len(body) // 3 + 1]))
    )
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
