"""Where a list of conversations by their last activity goes on: a moment and an id."""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from porch.agents.model import Conversation
from porch.contract.errors import InvalidInput

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Activity:
    """The place behind one conversation in the list."""

    at: datetime
    conversation: UUID

    @classmethod
    def of(cls, conversation: Conversation) -> "Activity":
        """Behind this conversation as it was listed."""
        return cls(conversation.updated_at, conversation.id)

    @classmethod
    def parse(cls, cursor: str) -> "Activity":
        """From a cursor. Raises InvalidInput for one of another list."""
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode(
                "ascii"
            )
            kind, micros, name = text.split(":")
            if kind == "activity" and micros.isdigit() and len(micros) < 18 and len(name) == 32:
                return cls(EPOCH + int(micros) * MICROSECOND, UUID(hex=name))
        except (ValueError, binascii.Error, OverflowError):
            pass
        raise InvalidInput(
            f"The cursor {cursor[:80]!r} is not one of this list. Use next_cursor of an earlier page, or leave "
            "it out to begin at the start.",
            errors=[{"parameter": "cursor", "detail": "not a cursor of this list"}],
        )

    def __str__(self) -> str:
        text = f"activity:{(self.at - EPOCH) // MICROSECOND}:{self.conversation.hex}"
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
