"""One id for each request: the caller's or our own, answered, logged, and named in every problem."""

import logging
import re
from contextvars import ContextVar

from porch.contract.ids import new_id

HEADER = b"x-request-id"
_ACCEPTED = re.compile(rb"[A-Za-z0-9._:-]{1,64}")

current_request_id: ContextVar[str] = ContextVar("porch_request_id", default="")


def choose_request_id(sent: bytes | None) -> str:
    """The caller's own id where it is plain, else a fresh one."""
    if sent is not None and _ACCEPTED.fullmatch(sent):
        return sent.decode("ascii")
    return new_id("req")


class RequestIdFilter(logging.Filter):
    """Gives every log record a `request_id`, empty outside of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current_request_id.get()
        return True
