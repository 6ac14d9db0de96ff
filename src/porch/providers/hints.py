"""When a provider says to come back: seconds out of the headers in which each of them says it."""

import datetime
import email.utils
import re
import time
from collections.abc import Mapping

LONGEST = 7 * 86400.0
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,15})?", re.ASCII)
# "6m0s", "1.5s", "120ms", "1h2m3s", as Go prints durations
_DURATION = re.compile(
    r"(?=\d)(?:(\d{1,4})h)?(?:(\d{1,4})m(?!s))?(?:(\d{1,6}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?",
    re.ASCII,
)
_RESET = re.compile(r"(?:x-|anthropic-)?ratelimit-(?:[a-z-]+-)?reset(?:-[a-z-]+)?", re.ASCII)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The provider's hint in seconds, from `retry-after-ms` or `Retry-After` (RFC 9110, 10.2.3)."""
    for name, unit in (("retry-after-ms", 0.001), ("Retry-After", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
            return float(value) * unit
        if value and unit == 1.0:
            try:
                return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
            except (ValueError, TypeError, OverflowError):
                return None
    return None


def limit_resets(headers: Mapping[str, str]) -> float | None:
    """The seconds until every limit that is used up holds anew, from `x-ratelimit-reset-…` and its like.

    As OpenAI and Groq (durations), Cerebras (seconds), OpenRouter (milliseconds since 1970) and Anthropic (dates)
    write it. A limit with something remaining is not what stopped the request.
    """
    told = {name.lower(): value.strip() for name, value in headers.items()}
    waits = [
        wait
        for name, value in told.items()
        if _RESET.fullmatch(name)
        and _is_used_up(told.get(name.replace("reset", "remaining")))
        and (wait := _seconds(value)) is not None
    ]
    return max(waits, default=None)


def _is_used_up(remaining: str | None) -> bool:
    return remaining is None or (_NUMBER.fullmatch(remaining) is not None and float(remaining) == 0)


def _seconds(value: str) -> float | None:
    seconds = _read(value)
    return max(0.0, seconds) if seconds is not None and seconds <= LONGEST else None


def _read(value: str) -> float | None:
    if _NUMBER.fullmatch(value):
        number = float(value)
        if number < 1e9:
            return number
        return (number / 1000 if number >= 1e12 else number) - time.time()
    if match := _DURATION.fullmatch(value):
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    try:
        date = datetime.datetime.fromisoformat(value)
        return date.timestamp() - time.time() if date.tzinfo else None
    except (ValueError, OverflowError):
        return None
