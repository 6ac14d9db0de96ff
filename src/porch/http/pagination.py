"""Lists in pages: `?limit=&cursor=` in, `{items, next_cursor}` out."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import ConfigDict

from porch.contract.errors import InvalidInput
from porch.http.body_model import BodyModel

T = TypeVar("T")
MAX_LIMIT = 200


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What the caller asked for: at most `limit` items after `cursor`."""

    limit: int
    cursor: str | None

    def after_id(self, of: str) -> UUID | None:
        """The id that the cursor of a list `of` something stands at. Raises InvalidInput for others."""
        if self.cursor is None:
            return None
        text = _decode(self.cursor)
        kind, _, value = text.partition(":")
        try:
            if kind == of and len(value) == 32:
                return UUID(hex=value)
        except ValueError:
            pass
        raise _unusable(self.cursor)

    def after_number(self, of: str) -> int | None:
        """Like `after_id`, for lists that go by a number."""
        if self.cursor is None:
            return None
        kind, _, value = _decode(self.cursor).partition(":")
        if kind == of and value.isascii() and value.isdigit() and len(value) < 10:
            return int(value)
        raise _unusable(self.cursor)


async def page_request(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many items at most.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next_cursor` of the page before.")
    ] = None,
) -> PageRequest:
    """Reads `?limit=&cursor=`."""
    return PageRequest(limit, cursor)


Paging = Annotated[PageRequest, Depends(page_request)]


class Page(BodyModel, Generic[T]):
    """One page of a list; `next_cursor` is null on the last one."""

    model_config = ConfigDict(frozen=True)

    items: list[T]
    next_cursor: str | None = None


def encode_cursor(of: str, position: UUID | int) -> str:
    """An opaque cursor that stands at this item of a list `of` something."""
    text = f"{of}:{position.hex if isinstance(position, UUID) else position}"
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def cut(rows: Sequence[T], limit: int) -> tuple[Sequence[T], T | None]:
    """The page within `limit + 1` fetched rows, and the row the next page starts after, if there is one."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], rows[limit - 1]


def _decode(cursor: str) -> str:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (UnicodeError, binascii.Error):
        raise _unusable(cursor) from None


def _unusable(cursor: str) -> InvalidInput:
    return InvalidInput(
        f"The cursor {cursor[:80]!r} is not one of this list. Use next_cursor of an earlier page, or leave "
        "it out to begin at the start.",
        errors=[{"parameter": "cursor", "detail": "not a cursor of this list"}],
    )
