"""What a client's message comes down to: checked parts, its place in the conversation, and the run that answers it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import msgspec
from starlette.requests import Request

from porch.agents.threads import Threads
from porch.contract.attachments import check_attached, file_part, image_part
from porch.contract.errors import InvalidInput, NotFound
from porch.contract.ids import parse_id
from porch.contract.messages import FilePart, ImagePart, Part, TextPart
from porch.contract.principal import Principal
from porch.contract.text import check_text
from porch.egress import Egress
from porch.faces.remote import Remote, is_remote
from porch.http.idempotency import claimed
from porch.http.state import database
from porch.runs.input import MAX_MESSAGE_BYTES
from porch.runs.ledger import counted
from porch.runs.service import Runs
from porch.runs.start import RunKey
from porch.runs.store import HEAD, Place
from porch.runs.stream import EventStream


def runs_of(request: Request) -> Runs:
    """The runs of this app."""
    return cast("Runs", request.app.state.runs)


def egress_of(request: Request) -> Egress:
    """The way out of this app."""
    return cast("Egress", request.app.state.egress)


def threads_of(request: Request) -> Threads:
    """The conversations of this app by their clients' names."""
    return Threads(database(request))


def refused(sentence: str, pointer: str) -> InvalidInput:
    """An InvalidInput that points at what is wrong."""
    return InvalidInput(sentence, errors=[{"pointer": pointer, "detail": sentence}])


def text_part(text: Any, pointer: str) -> TextPart:
    """Words. Raises InvalidInput."""
    if not isinstance(text, str):
        raise refused("A text is needed here.", pointer)
    return TextPart(text=check_text(text, "The message", MAX_MESSAGE_BYTES))


def attached_part(media_type: Any, data: Any, name: Any, pointer: str) -> ImagePart | FilePart:
    """A picture or file from base64, by its type. Raises InvalidInput."""
    if not isinstance(media_type, str) or not isinstance(data, str):
        raise refused("A file comes with its media type, and its bytes as base64.", pointer)
    named = name if isinstance(name, str) else None
    if media_type.startswith("image/"):
        return image_part(media_type, data, pointer=pointer, name=named)
    return file_part(media_type, data, pointer=pointer, name=named)


def linked_part(url: Any, media_type: Any, name: Any, pointer: str) -> Part | Remote:
    """A picture or file from its URL: a data: URL, or one at which it is. Raises InvalidInput."""
    named = name if isinstance(name, str) else None
    said = media_type if isinstance(media_type, str) else ""
    if is_remote(url):
        return Remote(url, pointer, picture=said.startswith("image/"), name=named)
    head, comma, data = str(url).partition(",")
    if not head.startswith("data:") or not head.endswith(";base64") or not comma:
        raise refused("Files are taken as data: URLs in base64, or at http(s):// URLs.", pointer)
    exact = said and not said.endswith("/*")
    return attached_part(said if exact else head[5:-7].partition(";")[0], data, named, pointer)


def check_message(parts: Sequence[Part], pointer: str) -> None:
    """Raise InvalidInput for a message that says nothing, or too much."""
    check_attached(parts, pointer)
    words = [part.text for part in parts if isinstance(part, TextPart)]
    if len(words) == len(parts) and not any(text.strip() for text in words):
        raise refused("The message is empty; write something.", pointer)
    if sum(len(text.encode()) for text in words) > MAX_MESSAGE_BYTES:
        raise refused(
            f"The message is over {MAX_MESSAGE_BYTES // 1024} KiB. Shorten it, or send it in several messages.",
            pointer,
        )


async def find_message(
    runs: Runs, principal: Principal, conversation: UUID, named: str, *, question: bool = False
) -> UUID | None:
    """The message of ours that a client's id names: `msg_…`, or `run_…` and whatever was put behind it.

    A run stands for its answer, or with `question` for what it answered. None for an id of the client's own.
    Raises NotFound for one of ours that is not in this conversation.
    """
    if named.startswith("msg_"):
        return parse_id("msg", named)
    if not named.startswith("run_"):
        return None
    record = await runs.get(principal, parse_id("run", named.partition(".")[0]))
    if record.conversation != conversation:
        raise NotFound(f"There is no {named[:80]!r} in this conversation.")
    return record.input_message if question else record.output_message or record.input_message


async def find_place(
    runs: Runs, principal: Principal, conversation: UUID, earlier: Iterable[str], *, otherwise: Place = HEAD
) -> Place:
    """Behind the last of these messages that is ours, which may begin a branch."""
    for named in reversed(list(earlier)):
        if message := await find_message(runs, principal, conversation, named):
            return Place("after", message)
    return otherwise


async def begin(
    request: Request, principal: Principal, start: Callable[[RunKey | None], Awaitable[Any]]
) -> EventStream:
    """The stream of a run, begun once under the request's Idempotency-Key; the same run again for the same key."""
    runs = runs_of(request)
    with counted(runs.ledger, principal.workspace):
        runs.places.check_stream(principal)
    async with claimed(request, principal, fenced=True) as claim:
        if claim is not None and claim.stored is not None:
            run = parse_id("run", msgspec.json.decode(claim.stored.body)["run"])
            stream = await runs.follow(principal, run)
            assert stream is not None  # from the start there is always something
            stream.headers["Idempotency-Replayed"] = "true"
            return stream
        started = await start(RunKey(claim.route, claim.key) if claim else None)
    return runs.follow_new(principal, started)


def as_object(value: Any, pointer: str) -> Mapping[str, Any]:
    """A JSON object. Raises InvalidInput."""
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    raise refused("An object is needed here.", pointer)
