"""How far a run has been shown: readers with a cursor that nobody can have are told so, not made to wait."""

from porch.contract.errors import Conflict
from porch.contract.frames import Cursor
from porch.runs.live import LiveRun
from porch.runs.replay import Page


def check_cursor(cursor: Cursor, epoch: int, live: LiveRun | None, page: Page | None) -> None:
    """Let pass what a reader may have been given. Raises Conflict for a cursor that certainly was never told.

    `epoch` is the run's own as the database has it, and `page` what lies behind the cursor, where it was read. Of a
    run that another process carries nobody here knows how far it has been shown: that cursor passes.
    """
    if cursor.epoch > max(epoch, 1) or (not epoch and cursor.seq):
        raise Conflict(f"The run has no event {cursor}: it is in epoch {epoch}. Read it from its start.")
    if page is not None and is_ahead(cursor, page) and not page.at_work:
        raise Conflict(f"The run stopped at {page.last}, before the cursor {cursor}. Read it from its start.")
    if live is not None and is_beyond(cursor, live):
        raise Conflict(
            f"The run has come to {live.shown_to} and told nobody the cursor {cursor}. Read it from its start."
        )


def is_beyond(cursor: Cursor, live: LiveRun) -> bool:
    """Whether its producer has shown nobody what stands at that cursor."""
    return cursor.epoch == live.epoch and cursor.seq > live.shown_to


def is_ahead(cursor: Cursor, page: Page) -> bool:
    """Whether the journal has yet to come to that cursor."""
    return page.newer is None and cursor.seq > page.last


def place_to_go_on(cursor: Cursor, page: Page, live: LiveRun | None, *, awaited: bool) -> Cursor | None:
    """Where a reader goes on whose cursor is ahead of the journal; None while it may still come true.

    It may not once it was `awaited`: what a producer has shown it commits within moments, or another process takes
    its run over. Of a run that stands still the last event is told again, since no stream goes without one.
    """
    if not page.at_work:
        return Cursor(page.epoch, max(page.last - 1, 0))
    if awaited or (live is not None and is_beyond(cursor, live)):
        return Cursor(page.epoch, page.last)
    return None
