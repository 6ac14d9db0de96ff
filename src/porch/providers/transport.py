"""One request to a provider, with its retries: all of them before the first byte of a 2xx body."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from porch.contract.errors import ModelError
from porch.egress import Egress, EgressError, Reply
from porch.providers.failures import Asked, egress_failure, http_failure

MAX_ERROR_BYTES = 64 * 1024
_RETRIED_STATUS = frozenset({408, 409, 425, 429, 498, 500, 502, 503, 504, 529})
_RETRIED_CAUSE = frozenset({"refused", "reset", "cut", "dns"})


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is made again, and how long one waits; seconds.

    A provider that asks for more patience than `longest_wait` gets no retry: the error says when.
    """

    attempts: int = 3
    first_wait: float = 0.5
    longest_wait: float = 5.0

    def wait(self, attempt: int, hint: float | None) -> float:
        """Seconds before the attempt after this one: the provider's hint, or doubling with full jitter."""
        if hint is not None:
            return hint
        # Spreads retries out; nothing secret hangs on it.
        return random.uniform(0.5, 1.0) * self.first_wait * 2**attempt  # noqa: S311


class Opened(NamedTuple):
    """A 2xx answer and the first bytes of its body (b"" when it has none)."""

    reply: Reply
    first: bytes


async def open_stream(
    egress: Egress,
    asked: Asked,
    *,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    retries: Retries,
) -> Opened:
    """POST `body` to `path` below the endpoint, and answer with the first bytes. Raises ModelError."""
    url = asked.endpoint.base_url.rstrip("/") + path
    attempt = 0
    while True:
        try:
            return await _attempt(egress, asked, url, headers, body)
        except _Failed as failed:
            attempt += 1
            wait = retries.wait(attempt - 1, failed.error.retry_after)
            if not failed.again or attempt >= retries.attempts or wait > retries.longest_wait:
                raise failed.error from None
        await asyncio.sleep(wait)


class _Failed(Exception):  # carries the error and whether one may try again; never leaves here
    def __init__(self, error: ModelError, again: bool) -> None:
        super().__init__()
        self.error = error
        self.again = again


async def _attempt(egress: Egress, asked: Asked, url: str, headers: Mapping[str, str], body: bytes) -> Opened:
    try:
        reply = await egress.post(url, headers=headers, body=body)
    except EgressError as error:
        raise _Failed(egress_failure(asked, error), error.cause in _RETRIED_CAUSE) from error
    try:
        await _check_status(asked, reply)
        reply.expect_silence(egress.settings.first_byte_seconds)
        first = await _read_first(reply)
        reply.expect_silence(egress.settings.idle_seconds)
    except EgressError as error:
        reply.close()
        raise _Failed(egress_failure(asked, error), error.cause in _RETRIED_CAUSE) from error
    except BaseException:
        reply.close()
        raise
    return Opened(reply, first)


async def _read_first(reply: Reply) -> bytes:
    data = await reply.read()
    if not data:
        raise EgressError("The answer is empty.", "cut")
    return data


async def _check_status(asked: Asked, reply: Reply) -> None:
    if 200 <= reply.status < 300:
        return
    reply.expect_silence(5.0)
    body = await reply.read_all(MAX_ERROR_BYTES)
    error = http_failure(asked, reply.status, reply.headers, body)
    again = reply.status in _RETRIED_STATUS and error.retryable
    raise _Failed(error, again)
