"""One request to a provider, with its retries: all of them before the first event of an answer."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from porch.contract.errors import Category, ModelError
from porch.egress import Egress, EgressError, Reply
from porch.providers.failures import Asked, egress_failure, http_failure

MAX_ERROR_BYTES = 64 * 1024
# For the whole of an error's body, however it drips; most are there with the head.
ERROR_SECONDS = 5.0
_RETRIED_STATUS = frozenset({408, 409, 425, 429, 498, 500, 502, 503, 504, 529})
_RETRIED_CAUSE = frozenset({"refused", "reset", "cut", "dns"})
# Of what a 2xx body may hold in place of an answer.
_RETRIED_KIND: frozenset[Category] = frozenset({"rate_limit", "overloaded", "cut"})
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is made again, and how long one waits; seconds.

    A provider that asks for more patience than `longest_wait` gets no retry: the error says when.
    """

    attempts: int = 3
    first_wait: float = 0.5
    longest_wait: float = 5.0

    def wait(self, attempt: int, hint: float | None) -> float:
        """Seconds before the attempt after this one: doubling, and never less than the provider's hint.

        Both with jitter: many are told the same hint at the same time.
        """
        # Spreads retries out; nothing secret hangs on it.
        own = random.uniform(0.5, 1.0) * self.first_wait * 2**attempt  # noqa: S311
        return max(own, (hint or 0.0) * random.uniform(1.0, 1.25))  # noqa: S311

    def too_long(self, hint: float | None) -> bool:
        """Whether the provider asks for more patience than there is."""
        return hint is not None and hint > self.longest_wait


class NothingYet(Exception):
    """Raised by who reads an answer that failed before anything of it was there; `error` says how."""

    def __init__(self, error: ModelError) -> None:
        super().__init__()
        self.error = error


async def open_stream(
    egress: Egress,
    asked: Asked,
    *,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    retries: Retries,
    begin: Callable[[Reply, bytes], Awaitable[T]],
) -> T:
    """POST `body` to `path` below the endpoint, and answer what `begin` makes of a 2xx reply and its first bytes.

    Raises ModelError. Where `begin` raises NothingYet another attempt may follow.
    """
    url = asked.endpoint.base_url.rstrip("/") + path
    attempt = 0
    while True:
        try:
            return await _attempt(egress, asked, url, headers, body, begin)
        except _Failed as failed:
            attempt += 1
            hint = failed.error.retry_after
            if not failed.again or attempt >= retries.attempts or retries.too_long(hint):
                raise failed.error from None
        await pause(retries.wait(attempt - 1, hint))


async def pause(seconds: float) -> None:
    """Wait before the next attempt."""
    await asyncio.sleep(seconds)


class _Failed(Exception):  # carries the error and whether one may try again; never leaves here
    def __init__(self, error: ModelError, again: bool) -> None:
        super().__init__()
        self.error = error
        self.again = again


async def _attempt(
    egress: Egress,
    asked: Asked,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    begin: Callable[[Reply, bytes], Awaitable[T]],
) -> T:
    try:
        reply = await egress.post(url, headers=headers, body=body, reach=asked.endpoint.reach)
    except EgressError as error:
        raise _Failed(egress_failure(asked, error), error.cause in _RETRIED_CAUSE) from error
    try:
        await _check_status(asked, reply)
        reply.expect_silence(egress.settings.first_byte_seconds)
        first = await _read_first(reply)
        reply.expect_silence(egress.settings.idle_seconds)
        return await begin(reply, first)
    except NothingYet as early:
        reply.close()
        raise _Failed(early.error, early.error.kind in _RETRIED_KIND) from early
    except EgressError as error:
        reply.close()
        raise _Failed(egress_failure(asked, error), error.cause in _RETRIED_CAUSE) from error
    except BaseException:
        reply.close()
        raise


async def _read_first(reply: Reply) -> bytes:
    data = await reply.read()
    if not data:
        raise EgressError("The answer is empty.", "cut")
    return data


async def _check_status(asked: Asked, reply: Reply) -> None:
    if 200 <= reply.status < 300:
        return
    body = await reply.read_all(MAX_ERROR_BYTES, seconds=ERROR_SECONDS)
    error = http_failure(asked, reply.status, reply.headers, body)
    # OpenAI and Anthropic say with it that another attempt is of no use.
    asked_not_to = reply.headers.get("x-should-retry", "").strip().lower() == "false"
    again = reply.status in _RETRIED_STATUS and error.retryable and not asked_not_to
    raise _Failed(error, again)
