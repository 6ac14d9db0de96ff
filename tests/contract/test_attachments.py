"""Pictures and files that come with a message: what is taken, and what each refusal says."""

import base64
from typing import Any

import pytest

from porch.contract.attachments import (
    MAX_ATTACHED_BYTES,
    MAX_FILE_BYTES,
    MAX_IMAGE_BYTES,
    check_attached,
    file_part,
    image_part,
)
from porch.contract.errors import InvalidInput
from porch.contract.messages import FilePart, ImagePart, Part, TextPart
from tests.pictures import coded, gif, jpeg, png, png_header, riff, segment, tiff, webp


@pytest.mark.parametrize(
    ("media_type", "data"),
    [("image/png", png()), ("image/jpeg", jpeg()), ("image/gif", gif()), ("image/webp", webp())],
)
def test_a_picture_that_is_what_it_says_is_taken_and_measured(media_type: str, data: bytes) -> None:
    part = image_part(media_type, coded(data), name="C:\\pictures\\porch.png")
    assert part == ImagePart(
        media_type=media_type,  # pyright: ignore[reportArgumentType]  # one of the four
        data=coded(data),
        name="porch.png",
        width=4,
        height=3,
        size=len(data),
    )


REFUSED_PICTURES: dict[str, tuple[str, str, str, str]] = {
    "lies": ("image/png", coded(jpeg()), "/media_type", "said to be image/png, but its bytes are image/jpeg"),
    "svg": ("image/svg+xml", coded(b"<svg/>"), "/media_type", "no type of a picture"),
    "no picture": ("image/png", coded(b"MZ\x90\x00"), "/data", "none of a PNG, JPEG, GIF or WebP"),
    "empty": ("image/png", "", "/data", "empty"),
    "no base64": ("image/png", "not base64!", "/data", "base64"),
    "base64 with breaks": ("image/png", coded(png())[:8] + "\n" + coded(png())[8:], "/data", "base64"),
    "beyond ASCII": ("image/png", "ä" * 8, "/data", "base64"),
    "too wide": ("image/png", coded(png_header(8001, 1)), "/data", "8,001 by 1 pixels"),
    "too many pixels": ("image/png", coded(png_header(7500, 7500)), "/data", "50 million"),
    "too large": ("image/png", coded(png(size=MAX_IMAGE_BYTES + 1)), "/data", "the limit is 5"),
}


@pytest.mark.parametrize("case", REFUSED_PICTURES)
def test_a_picture_is_refused_with_the_place_and_a_sentence(case: str) -> None:
    media_type, data, pointer, words = REFUSED_PICTURES[case]
    with pytest.raises(InvalidInput, match=words) as caught:
        image_part(media_type, data, pointer="/input/1")
    assert [error["pointer"] for error in caught.value.errors] == [f"/input/1{pointer}"]


def test_a_picture_of_just_the_limits_is_taken() -> None:
    whole = png(size=MAX_IMAGE_BYTES)
    whole = png_header(8000, 6250) + whole[33:]
    assert image_part("image/png", coded(whole)).size == MAX_IMAGE_BYTES


def test_a_picture_is_kept_without_its_cameras_notes_and_measured_as_it_is_seen() -> None:
    notes = segment(0xE1, b"Exif\x00\x00" + tiff(6))
    part = image_part("image/jpeg", coded(jpeg(640, 480, notes)))
    assert (part.width, part.height) == (480, 640)
    kept = base64.b64decode(part.data)
    assert part.size == len(kept)
    assert b"ACME" not in kept
    assert image_part("image/jpeg", part.data) == part


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("image/png", png()[:-1]),
        ("image/jpeg", jpeg()[:-2]),
        ("image/webp", webp(after=riff(b"ALPH", b"x"))[:-2]),
    ],
)
def test_a_picture_that_is_cut_off_is_refused_by_its_name(media_type: str, data: bytes) -> None:
    with pytest.raises(
        InvalidInput, match="The picture 'porch' cannot be read: it is cut off before its end"
    ):
        image_part(media_type, coded(data), name="porch")


@pytest.mark.parametrize(
    ("media_type", "data", "kept"),
    [
        ("application/pdf", b"%PDF-1.7\n%\xe2\xe3", "application/pdf"),
        ("application/json", b'{"a": 1}', "application/json"),
        ("text/plain", "Grüße".encode(), "text/plain"),
        ("Text/Markdown; charset=utf-8", b"# Hello", "text/markdown"),
    ],
)
def test_a_document_is_taken_under_its_plain_type(media_type: str, data: bytes, kept: str) -> None:
    part = file_part(media_type, coded(data), name="notes")
    assert part == FilePart(media_type=kept, data=coded(data), name="notes", size=len(data))


REFUSED_FILES: dict[str, tuple[str, bytes, str, str]] = {
    "a program": ("application/octet-stream", b"MZ", "/media_type", "are not taken. Pictures may be PNG"),
    "a picture": ("image/png", png(), "/media_type", "a part of the type 'image'"),
    "a lying picture": (
        "image/png",
        b"<html>",
        "/data",
        "is said to be image/png, but its bytes are none of a PNG",
    ),
    "no PDF": ("application/pdf", b" %PDF-1.7", "/data", "%PDF-"),
    "not UTF-8": ("text/plain", b"Gr\xfc\xdfe", "/data", "byte 2 is 0xfc"),
    "binary": ("text/plain", b"a\x00b", "/data", "NUL"),
    "too large": ("text/plain", b"x" * (MAX_FILE_BYTES + 1), "/data", "10"),
    "odd type": ("text/x\r\nevil: 1", b"x", "/media_type", "are not taken"),
}


@pytest.mark.parametrize("case", REFUSED_FILES)
def test_a_file_is_refused_with_the_place_and_a_sentence(case: str) -> None:
    media_type, data, pointer, words = REFUSED_FILES[case]
    with pytest.raises(InvalidInput, match=words) as caught:
        file_part(media_type, coded(data), pointer="/input/0")
    assert [error["pointer"] for error in caught.value.errors] == [f"/input/0{pointer}"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("a\u202egnp.exe", "a gnp.exe"),
        ("two\r\nlines\x00.txt", "two lines .txt"),
        ("folder/", None),
        ("..", None),
        ("a/..", None),
        (".hidden", ".hidden"),
        ("Übersicht 2.pdf", "Übersicht 2.pdf"),
    ],
)
def test_a_files_name_loses_folders_and_what_cannot_be_seen(name: str, kept: str | None) -> None:
    assert file_part("text/plain", coded(b"x"), name=name).name == kept


def test_a_name_without_end_is_refused() -> None:
    with pytest.raises(InvalidInput, match="120 characters"):
        image_part("image/png", coded(png()), name="x" * 121)


def test_a_message_holds_twenty_parts_and_twenty_mebibytes() -> None:
    words: list[Part] = [TextPart(text="x")]
    check_attached(words * 20)
    with pytest.raises(InvalidInput, match="21 parts"):
        check_attached(words * 21)
    half: Any = FilePart(media_type="text/plain", data="", size=MAX_ATTACHED_BYTES // 2)
    check_attached([half, half])
    with pytest.raises(InvalidInput, match=r"20\.0 MiB together") as caught:
        check_attached([half, half, FilePart(media_type="text/plain", data="", size=1)], "/input")
    assert caught.value.errors[0]["pointer"] == "/input"
