"""The text of tokens."""

import zlib

import pytest

from porch.identity.tokens import ALPHABET, HEAD, LENGTH, digest, is_well_formed, mint


def test_a_minted_token_is_well_formed_and_of_fixed_width() -> None:
    for _ in range(50):
        minted = mint()
        assert is_well_formed(minted.text)
        assert len(minted.text) == LENGTH == 59
        assert minted.text.startswith(HEAD)
        assert set(minted.text.removeprefix(HEAD)) <= set(ALPHABET)


def test_small_random_numbers_keep_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.urandom", lambda count: b"\x00" * count)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]  # any count
    zeros = mint()
    assert len(zeros.text) == LENGTH
    assert is_well_formed(zeros.text)


def test_the_largest_random_number_fits_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.urandom", lambda count: b"\xff" * count)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]  # any count
    largest = mint()
    value = 0
    for digit in largest.text[len(HEAD) : -6]:
        value = value * 62 + ALPHABET.index(digit)
    assert value == 2**256 - 1


def test_the_checksum_is_the_crc32_of_all_before_it() -> None:
    text = mint().text
    value = 0
    for digit in text[-6:]:
        value = value * 62 + ALPHABET.index(digit)
    assert value == zlib.crc32(text[:-6].encode())


def test_every_single_typo_is_refused() -> None:
    text = mint().text
    for position in range(len(text)):
        other = "A" if text[position] != "A" else "B"
        assert not is_well_formed(text[:position] + other + text[position + 1 :])


@pytest.mark.parametrize(
    "text", ["", "porch_pat_", "x" * LENGTH, HEAD + "é" * 49, HEAD + "\x00" * 49, "porch_ses_" + "0" * 49]
)
def test_what_is_no_token_is_refused(text: str) -> None:
    assert not is_well_formed(text)


def test_the_prefix_shows_six_characters_of_the_secret_and_repr_shows_none() -> None:
    minted = mint()
    assert minted.prefix == minted.text[:16]
    assert minted.text[16:] not in repr(minted)


def test_two_tokens_differ_and_so_do_their_digests() -> None:
    one, other = mint(), mint()
    assert one.text != other.text
    assert len(one.digest) == 32
    assert one.digest != other.digest
    assert one.digest == digest(one.text)
