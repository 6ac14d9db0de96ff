"""What a camera wrote into a picture goes before the picture is kept; which way is up stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.contract.camera_notes import MAX_PIECES, strip_notes
from porch.contract.pictures import PictureType, Unreadable, read_picture
from tests.pictures import JFIF, chunk, gif, jpeg, png, riff, segment, tiff, webp

ICC = segment(0xE2, b"ICC_PROFILE\x00\x01\x01colours")
ADOBE = segment(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x01")
XMP = b"http://ns.adobe.com/xap/1.0/\x00<GPSLatitude>52.5</GPSLatitude>"
SECRETS = (b"ACME", b"52.5", b"GPS", b"my cellar", b"second picture")


def noted(media_type: PictureType, orientation: int = 1, order: str = ">") -> bytes:
    """A picture as a camera gives it away."""
    notes = tiff(orientation, order)
    match media_type:
        case "image/jpeg":
            told = [
                (0xE1, b"Exif\x00\x00" + notes),
                (0xE1, XMP),
                (0xED, b"my cellar"),
                (0xE2, b"MPF\x00my cellar"),
            ]
            segments = b"".join(segment(marker, body) for marker, body in told)
            return (
                jpeg(640, 480, JFIF + segments + ICC + ADOBE + segment(0xFE, b"my cellar"))
                + b"second picture"
            )
        case "image/png":
            told = (
                chunk(b"eXIf", notes) + chunk(b"tEXt", b"Comment\x00my cellar") + chunk(b"vpAg", b"my cellar")
            )
            return png(640, 480, before=chunk(b"gAMA", b"\x00\x00\xb1\x8f") + told) + b"second picture"
        case "image/webp":
            told = riff(b"EXIF", notes) + riff(b"XMP ", XMP) + riff(b"ODD ", b"my cellar")
            return webp(b"VP8X", 640, 480, riff(b"ALPH", b"odd") + told, flags=0x1C) + b"second picture"
        case "image/gif":
            return gif(640, 480)


CAMERAS: tuple[PictureType, ...] = ("image/jpeg", "image/png", "image/webp")


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("media_type", CAMERAS)
def test_nothing_of_place_device_or_person_is_left_and_which_way_is_up_stays(
    media_type: PictureType, order: str
) -> None:
    given_away = noted(media_type, 6, order)
    assert any(secret in given_away for secret in SECRETS)
    bare, turn = strip_notes(given_away, media_type)
    assert [secret for secret in SECRETS if secret in bare] == []
    assert turn == 6
    assert read_picture(bare) == read_picture(given_away)
    assert strip_notes(bare, media_type) == (bare, 6)


@pytest.mark.parametrize(
    ("media_type", "plain"),
    [
        ("image/jpeg", jpeg(640, 480, JFIF + ICC + ADOBE)),
        ("image/png", png(640, 480, before=chunk(b"gAMA", b"\x00\x00\xb1\x8f"))),
        ("image/webp", webp(b"VP8X", 640, 480, riff(b"ALPH", b"odd"), flags=0x10)),
    ],
)
def test_what_says_how_to_draw_it_is_left_to_the_byte(media_type: PictureType, plain: bytes) -> None:
    assert strip_notes(noted(media_type), media_type) == (plain, 1)
    assert strip_notes(plain, media_type) == (plain, 1)


@pytest.mark.parametrize("data", [webp(b"VP8 "), webp(b"VP8L")])
def test_a_plain_webp_stays_as_it_is(data: bytes) -> None:
    assert strip_notes(data, "image/webp") == (data, 1)


def test_a_gif_stays_as_it_is() -> None:
    assert strip_notes(gif(), "image/gif") == (gif(), 1)


@pytest.mark.parametrize("media_type", CAMERAS)
def test_a_picture_that_is_cut_off_says_so(media_type: PictureType) -> None:
    whole, _ = strip_notes(noted(media_type, 6), media_type)
    for end in range(40, len(whole)):
        with pytest.raises(Unreadable, match="cut off"):
            strip_notes(whole[:end], media_type)


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("image/jpeg", jpeg(4, 3, b"\xff\xe5\x00\x02" * (MAX_PIECES + 1))),
        ("image/png", png(before=chunk(b"tEXt", b"") * MAX_PIECES)),
        ("image/webp", webp(after=riff(b"ODD ", b"") * MAX_PIECES)),
    ],
)
def test_a_picture_in_endless_pieces_is_given_up(media_type: PictureType, data: bytes) -> None:
    with pytest.raises(Unreadable, match="more pieces"):
        strip_notes(data, media_type)


@pytest.mark.parametrize(
    "notes", [b"", b"MM", b"II*\x00\xff\xff\xff\xff", tiff(9), tiff(6)[:20], tiff(6)[:-20]]
)
def test_notes_that_say_nothing_of_the_turn_leave_it(notes: bytes) -> None:
    data = jpeg(4, 3, segment(0xE1, b"Exif\x00\x00" + notes))
    assert strip_notes(data, "image/jpeg") == (jpeg(4, 3, b""), 1)


@given(st.sampled_from(CAMERAS), st.data())
def test_no_bytes_raise_anything_but_unreadable(media_type: PictureType, draw: st.DataObject) -> None:
    data = noted(media_type, 6)
    at = draw.draw(st.integers(34, len(data)))
    spoiled = data[:at] + draw.draw(st.binary(max_size=40)) + data[at + draw.draw(st.integers(0, 8)) :]
    try:
        bare, turn = strip_notes(spoiled, media_type)
    except Unreadable:
        return
    assert 1 <= turn <= 8
    assert strip_notes(bare, media_type) == (bare, turn)
