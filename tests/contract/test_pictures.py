"""What a picture's header tells, and that no bytes confuse its reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.contract.pictures import MAX_BLOCKS, MAX_SEGMENTS, Picture, Unreadable, read_picture
from tests.pictures import gif, jpeg, png, png_header, webp

KINDS = {
    "png": ("image/png", png(640, 480)),
    "jpeg": ("image/jpeg", jpeg(640, 480)),
    "gif": ("image/gif", gif(640, 480)),
    "lossy webp": ("image/webp", webp(b"VP8 ", 640, 480)),
    "lossless webp": ("image/webp", webp(b"VP8L", 640, 480)),
    "extended webp": ("image/webp", webp(b"VP8X", 640, 480)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_tells_its_type_and_its_sides(kind: str) -> None:
    media_type, data = KINDS[kind]
    found = read_picture(data)
    assert (found.media_type, found.width, found.height) == (media_type, 640, 480)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_cut_within_its_header_cannot_be_read(kind: str) -> None:
    data = KINDS[kind][1]
    whole = next(end for end in range(len(data) + 1) if _readable(data[:end]))
    assert whole > 9
    assert not any(_readable(data[:end]) for end in range(whole))


def _readable(data: bytes) -> bool:
    try:
        return read_picture(data).width == 640
    except Unreadable:
        return False


@pytest.mark.parametrize(
    "segments",
    [b"", b"\xff\xff\xff\xe1\x00\x03x", b"\xff\x01", b"\xff\xc4\x00\x04hi" * 20],
    ids=["none", "fill bytes", "a bare marker", "many tables"],
)
def test_the_frame_header_of_a_jpeg_is_found_behind_other_segments(segments: bytes) -> None:
    assert read_picture(jpeg(7, 5, segments)) == Picture("image/jpeg", 7, 5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 40,
        png(4, 3)[:24] + b"\x08\x05" + png(4, 3)[26:],  # a colour type that does not exist, and a wrong sum
        png_header(0, 3),
        b"\xff\xd8\xff\xe0\xff\xff",
        b"\xff\xd8\xff\xda\x00\x04ok",
        b"\xff\xd8\xff\xc0\x00\x03x",
        jpeg(4, 0),
        gif(0, 0),
        b"RIFF\x00\x00\x00\x00WEBPVP9 \x00\x00\x00\x00" + b"\x00" * 20,
    ],
)
def test_what_is_no_picture_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(Unreadable, match=r"its|it begins"):
        read_picture(data)


def test_a_gif_is_as_large_as_the_frame_that_goes_beyond_its_screen() -> None:
    at = gif().index(b",")
    beyond = gif()[: at + 1] + b"\x01\x00\x02\x00\xff\xff\x05\x00" + gif()[at + 9 :]
    assert read_picture(beyond) == Picture("image/gif", 65_536, 7)
    comment = b"!\xfe\x02ok\x01!\x00"
    assert read_picture(beyond[:at] + comment + beyond[at:]) == Picture("image/gif", 65_536, 7)
    with pytest.raises(Unreadable, match="no frame"):
        read_picture(beyond[:at] + b"!\xfe" + b"\x01x" * MAX_BLOCKS + b"\x00" + beyond[at:])


def test_a_jpeg_of_endless_segments_is_given_up_early() -> None:
    data = jpeg(4, 3, b"\xff\xe0\x00\x02" * (MAX_SEGMENTS + 1))
    with pytest.raises(Unreadable):
        read_picture(data)


@given(st.sampled_from([data for _, data in KINDS.values()]), st.data())
def test_no_bytes_raise_anything_but_unreadable(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data)))
    spoiled = data[:at] + draw.draw(st.binary(max_size=40)) + data[at + draw.draw(st.integers(0, 8)) :]
    try:
        found = read_picture(spoiled)
    except Unreadable:
        return
    assert found.width > 0
    assert found.height > 0
