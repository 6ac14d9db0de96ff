import base64
from pathlib import Path

import pytest

from porch.client import attach
from porch.client.message import encode_input
from porch.contract.errors import InvalidInput
from porch.contract.messages import FilePart, ImagePart, TextPart

PNG = b"\x89PNG\r\n\x1a\nrest"


def test_text_is_sent_as_it_is() -> None:
    assert encode_input("Hello") == "Hello"


def test_text_parts_and_dicts_make_one_message() -> None:
    link = {"type": "image", "media_type": "image/png", "data": "AA=="}
    assert encode_input(["Look:", TextPart(text="here"), link]) == [
        {"type": "text", "text": "Look:"},
        {"type": "text", "text": "here"},
        link,
    ]


def test_one_part_alone_is_a_message() -> None:
    assert encode_input(TextPart(text="Hi")) == [{"type": "text", "text": "Hi"}]
    assert encode_input({"type": "text", "text": "Hi"}) == [{"type": "text", "text": "Hi"}]


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"GIF89a...", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)
def test_a_picture_is_known_by_its_bytes_whatever_it_is_called(
    tmp_path: Path, content: bytes, media_type: str
) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(content)
    part = attach(path)
    assert isinstance(part, ImagePart)
    assert part.media_type == media_type
    assert base64.b64decode(part.data) == content
    assert encode_input([part]) == [
        {"type": "image", "media_type": media_type, "data": part.data, "name": "letter.txt"}
    ]


def test_a_document_has_its_name_and_the_type_that_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF-1.7")
    assert attach(str(path)) == FilePart(
        media_type="application/pdf", data=base64.b64encode(b"%PDF-1.7").decode(), name="report.pdf"
    )
    assert attach(b"a,b", name="t.csv", media_type="text/csv; header=present") == FilePart(
        media_type="text/csv; header=present", data="YSxi", name="t.csv"
    )
    assert attach(b"a: 1", name="a.unheard") == FilePart(
        media_type="text/plain", data="YTogMQ==", name="a.unheard"
    )
    assert attach(b"\xff") == FilePart(media_type="application/octet-stream", data="/w==")


def test_what_cannot_be_sent_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        attach(tmp_path / "none.png")
    with pytest.raises(InvalidInput, match="empty"):
        attach(b"", name="x.txt")
    with pytest.raises(InvalidInput, match="message is empty"):
        encode_input([])
    with pytest.raises(InvalidInput, match=r"not of \w+Path"):
        encode_input([tmp_path])  # pyright: ignore[reportArgumentType]  # what a person may try
