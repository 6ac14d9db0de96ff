"""What comes in: bodies within a limit, of a type we read, as JSON that can be stored."""

import json
import re
from collections.abc import Awaitable
from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from porch.contract.errors import InvalidInput, TooLarge
from porch.http.pressure import Pressure
from porch.http.problem import BadRequest, UnsupportedMediaType

MAX_BODY_BYTES = 1024 * 1024
_JSON_TYPE = re.compile(r"application/(?:json|[a-z0-9.!#$&^_-]+\+json)", re.IGNORECASE)


# Where a route that takes larger bodies than the others says so in the scope, before it reads.
BODY_LIMIT = "porch.body_limit"


class BodyLimit:
    """ASGI middleware: refuses bodies over `max_bytes`, announced or not, before they are held in memory.

    A route raises its own limit by `scope[BODY_LIMIT]`; none can lower what this server was set up to take.
    Large ones are refused, too, while the process is short of memory, or holds as much of others' as it may.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES, pressure: Pressure | None = None
    ) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.pressure = pressure or Pressure()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        pressure = self.pressure
        received = held = 0

        async def receive_counted() -> Message:
            nonlocal received, held
            most = max(self.max_bytes, scope.get(BODY_LIMIT, 0))
            if received == 0 and (announced := _announced(scope)):
                if announced > most:
                    raise _too_large(most)
                pressure.check_body(announced, announced)
            message = await receive()
            if message["type"] == "http.request" and (size := len(message.get("body", b""))):
                received += size
                if received > most:
                    raise _too_large(most)
                pressure.check_body(received, size)
                held += size
                pressure.bodies += size
            return message

        def send_counted(message: Message) -> Awaitable[None]:
            nonlocal held
            # What was sent is read by now; a stream that begins would count it for as long as it lasts.
            pressure.bodies -= held
            held = 0
            return send(message)

        try:
            await self.app(scope, receive_counted, send_counted)
        finally:
            pressure.bodies -= held


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"The body is over {most:,} bytes, the limit here. Shorten or split it.")


def check_uncompressed(headers: Headers) -> None:
    """Raise UnsupportedMediaType when the headers announce a compressed body."""
    coding = headers.get("content-encoding", "").strip()
    if coding.lower() not in ("", "identity"):
        raise UnsupportedMediaType(
            f"The body is said to be compressed ('Content-Encoding: {coding[:40]}'), which is not read here; send it "
            "as it is, without that header."
        )


def check_json_type(headers: Headers) -> None:
    """Raise UnsupportedMediaType unless the headers announce JSON in UTF-8, not compressed."""
    check_uncompressed(headers)
    essence, _, parameters = headers.get("content-type", "").partition(";")
    if not _JSON_TYPE.fullmatch(essence.strip()):
        sent = f"not {essence.strip()[:80]!r}" if essence.strip() else "and names none"
        raise UnsupportedMediaType(
            f"This route reads JSON, {sent}; send the header 'Content-Type: application/json'."
        )
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters, re.IGNORECASE)
    if charset and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaType(f"This route reads JSON in UTF-8, not in {charset[1][:40]!r}.")


def decode_json(body: bytes) -> Any:
    """The value of a JSON text. Raises BadRequest or InvalidInput that name the place of what is wrong."""
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise InvalidInput("The body is nested too deeply to be read; flatten it.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _diagnosis(body) from None


def _diagnosis(body: bytes) -> InvalidInput:
    """Why msgspec would not read it, from parsers that say more."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        return BadRequest(f"The body is not UTF-8: byte {error.start} is {body[error.start]:#04x}.")
    if text.startswith("\ufeff"):
        return BadRequest("The body begins with a byte order mark; send it without.")
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return BadRequest(
            f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        )
    except RecursionError:
        return InvalidInput("The body is nested too deeply to be read; flatten it.")
    except ValueError as error:
        return InvalidInput(f"The body holds a number that cannot be kept: {error}.")
    if re.search(r"\\u[dD][89a-fA-F]", text):
        return InvalidInput("The body holds half of a surrogate pair, which is no character; remove it.")
    return InvalidInput("The body holds a number that is too large.")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
