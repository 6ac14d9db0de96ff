"""What pictures and files come to before a model: how much room they take, and when words stand for them."""

from typing import Any

import pytest

from porch.contract.attachments import MAX_ATTACHED_BYTES, MIB
from porch.contract.definition import Definition
from porch.contract.errors import InvalidInput
from porch.contract.messages import FilePart, ImagePart, Part, TextPart
from porch.models.catalogue import find_card
from porch.providers.request import Takes
from porch.runs.context import EVERYTHING, Context, StoredMessage, assemble
from porch.runs.input import check_vision, read_parts
from tests.pictures import coded, png


def asked(*parts: Part) -> StoredMessage:
    return StoredMessage("user", list(parts))


def picture(width: int | None = 1000, height: int | None = 1000, size: int = 3 * MIB) -> ImagePart:
    """A picture whose base64 is long, whatever its sides are."""
    return ImagePart(media_type="image/png", data="A" * 400_000, width=width, height=height, size=size)


def fitted(history: list[StoredMessage], budget: int, takes: Takes = EVERYTHING) -> Context:
    return assemble(history, [], more=False, instructions="", tools=[], budget=budget, takes=takes)


def kept(history: list[StoredMessage], budget: int, **options: Any) -> int:
    return len(fitted(history, budget, **options).messages)


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        (picture(10, 10), 85),
        (picture(600, 1000), 800),
        (picture(8000, 6000), 1600),
        (picture(None, None), 1600),
        (FilePart(media_type="text/plain", data="A" * 9_333, size=7_000), 2_000),
        (FilePart(media_type="application/pdf", data="A" * 99, size=75_000), 1_500),
        (FilePart(media_type="application/pdf", data="A" * 99, size=9 * MIB), 60_000),
    ],
)
def test_a_file_takes_the_room_that_a_model_gives_it_not_that_of_its_base64(part: Part, tokens: int) -> None:
    newest, oldest = asked(TextPart(text="Now?")), asked(part)
    assert kept([newest, oldest], tokens + 40) == 2
    assert kept([newest, oldest], tokens) == 1


def test_old_pictures_stay_in_sight_as_long_as_one_request_carries_them() -> None:
    each = MAX_ATTACHED_BYTES // 4
    history = [asked(TextPart(text=f"{at}"), picture(size=each)) for at in range(6)]
    found = fitted(history, 100_000)
    messages = found.messages[::-1]
    assert found.unseen == 2
    assert [type(message.parts[1]) for message in messages] == [ImagePart] * 4 + [TextPart] * 2
    assert messages[5].parts[0] == TextPart(text="5")


def test_words_stand_for_pictures_before_a_model_that_sees_none_but_not_for_files() -> None:
    notes = FilePart(media_type="text/plain", data=coded(b"notes"), name="notes.txt", size=5)
    history = [asked(TextPart(text="And now?")), asked(picture(), notes, TextPart(text="Look."))]
    told = fitted(history, 4000, Takes(pictures=False)).messages[0].parts
    assert isinstance(told[0], TextPart)
    assert "cannot be shown" in told[0].text
    assert told[1:] == [notes, TextPart(text="Look.")]
    assert fitted(history, 4000).messages[0].parts[0] == picture()


def test_words_apart_from_the_persons_stand_for_papers_before_a_model_that_takes_none() -> None:
    paper = FilePart(media_type="application/pdf", data=coded(b"%PDF-"), name="a.pdf", size=9 * MIB)
    notes = FilePart(media_type="application/json", data=coded(b"{}"), name="a.json", size=2)
    found = fitted(
        [asked(TextPart(text="Read"), paper, TextPart(text="aloud."), notes)], 4000, Takes(papers=False)
    )
    words = "\n\n[A file was attached that this model cannot be shown: a.pdf]\n\n"
    assert found.messages[0].parts == [
        TextPart(text="Read"),
        TextPart(text=words),
        TextPart(text="aloud."),
        notes,
    ]
    assert found.unseen == 1


def test_what_is_not_shown_leaves_its_room_to_what_is() -> None:
    paper = FilePart(media_type="application/pdf", data=coded(b"%PDF-"), name="a.pdf", size=10 * MIB)
    history = [asked(paper, paper, TextPart(text="?")), asked(picture(), TextPart(text="Look."))]
    found = fitted(history, 100_000, Takes(papers=False))
    assert (found.unseen, found.messages[0].parts[0]) == (2, picture())


def test_a_picture_whose_bytes_are_not_there_is_told_and_not_sent() -> None:
    gone = ImagePart(media_type="image/png", url="/somewhere")
    assert isinstance(fitted([asked(gone)], 4000).messages[0].parts[0], TextPart)


def definition(*models: str) -> Definition:
    return Definition(name="actor", instructions="Act.", model=list(models))


@pytest.mark.parametrize(
    ("models", "refused"),
    [
        (["openai:gpt-4o"], False),
        (["openai:gpt-3.5-turbo"], True),
        (["openai:a-model-of-tomorrow"], False),
        (["ollama:a-model-of-tomorrow"], False),
        (["ollama:smollm2"], True),
        (["local:smollm2"], True),
        (["openai:gpt-3.5-turbo", "openai:gpt-4o"], False),
        (["openai:gpt-3.5-turbo", "local:smollm2"], True),
    ],
)
def test_a_picture_is_refused_where_every_model_is_known_to_be_blind(
    models: list[str], refused: bool
) -> None:
    parts: list[Part] = [TextPart(text="Look."), picture()]
    check_vision(parts[:1], definition(*models))
    if not refused:
        check_vision(parts, definition(*models))
        return
    with pytest.raises(InvalidInput, match="cannot look at pictures") as caught:
        check_vision(parts, definition(*models))
    assert caught.value.errors[0]["pointer"] == "/input/1"
    assert all(repr(name) in caught.value.message for name in models)


def test_a_model_that_shares_a_card_with_others_may_see() -> None:
    assert find_card("ollama", "unheard-of").may_see is True
    assert find_card("ollama", "qwen3-vl").may_see is True
    assert find_card("ollama", "qwen3").may_see is False


def test_the_parts_of_a_message_keep_their_order() -> None:
    sent: list[dict[str, str | None]] = [
        {"type": "text", "text": "Before"},
        {"type": "image", "media_type": "image/png", "data": coded(png()), "name": None},
        {"type": "text", "text": ""},
        {"type": "file", "media_type": "application/json", "data": coded(b"{}"), "name": "a.json"},
    ]
    parts = read_parts(sent)
    assert [type(part).__name__ for part in parts] == ["TextPart", "ImagePart", "TextPart", "FilePart"]


def test_a_message_of_thousands_of_parts_is_refused_before_they_are_looked_at() -> None:
    lie: dict[str, str | None] = {"type": "image", "media_type": "image/png", "data": "?", "name": None}
    with pytest.raises(InvalidInput, match="3,000 parts; the limit is 20"):
        read_parts([lie] * 3000)
