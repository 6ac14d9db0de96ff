"""A message as it comes in over HTTP: text, pictures and files, checked before anything is kept of them."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from porch.contract.attachments import (
    MAX_ATTACHED_BYTES,
    MIB,
    check_attached,
    check_count,
    file_part,
    image_part,
)
from porch.contract.definition import Definition
from porch.contract.errors import InvalidInput
from porch.contract.messages import ImagePart, Part, TextPart
from porch.contract.text import check_text
from porch.http.routing import DirectRoute
from porch.models.catalogue import find_card

MAX_MESSAGE_BYTES = 512 * 1024
# As base64, in JSON, beside text in which every character may be escaped.
MAX_BODY_BYTES = MAX_ATTACHED_BYTES // 3 * 4 + 4 * MIB


class MessageRoute(DirectRoute):
    """The route that takes messages, and with them pictures and files."""

    max_body_bytes: ClassVar[int] = MAX_BODY_BYTES


def read_parts(given: str | Sequence[Mapping[str, str | None]]) -> list[Part]:
    """A message's parts, checked, from its text or from parts as the API takes them.

    Raises InvalidInput that points at what is wrong.
    """
    if isinstance(given, str):
        parts: list[Part] = [_text(given, "/input")]
    else:
        check_count(len(given), "/input")  # before thousands of them are looked at
        parts = [_part(part, f"/input/{at}") for at, part in enumerate(given)]
    check_attached(parts, "/input")
    words = [part.text for part in parts if isinstance(part, TextPart)]
    if len(words) == len(parts) and not any(text.strip() for text in words):
        raise InvalidInput(
            "The message is empty; write something.", errors=[{"pointer": "/input", "detail": "empty"}]
        )
    if sum(len(text.encode()) for text in words) > MAX_MESSAGE_BYTES:
        raise InvalidInput(
            f"The message is over {MAX_MESSAGE_BYTES // 1024} KiB. Shorten it, or send it in several messages.",
            errors=[{"pointer": "/input", "detail": "too long"}],
        )
    return parts


def check_vision(parts: Sequence[Part], definition: Definition) -> None:
    """Raise InvalidInput for a picture that none of the agent's models can look at."""
    at = next((at for at, part in enumerate(parts) if isinstance(part, ImagePart)), None)
    if at is None or any(find_card(*_named(name)).may_see for name in definition.models):
        return
    names = ", ".join(repr(name) for name in definition.models)
    sentence = (
        f"This agent's model cannot look at pictures ({names}). Send the message without them, or give the agent "
        "a model that sees."
    )
    raise InvalidInput(sentence, errors=[{"pointer": f"/input/{at}", "detail": "the model sees no pictures"}])


def _named(model: str) -> tuple[str, str]:
    provider, _, name = model.partition(":")
    return provider, name


def _part(part: Mapping[str, str | None], pointer: str) -> Part:
    match part["type"]:
        case "text":
            return _text(part["text"] or "", f"{pointer}/text")
        case "image":
            make = image_part
        case _:
            make = file_part
    return make(part["media_type"] or "", part["data"] or "", pointer=pointer, name=part["name"])


def _text(text: str, pointer: str) -> TextPart:
    try:
        return TextPart(text=check_text(text, "The message", MAX_MESSAGE_BYTES))
    except InvalidInput as error:
        error.errors = [{"pointer": pointer, "detail": error.message}]
        raise
