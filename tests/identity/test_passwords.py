"""Which passwords are refused, and how they are kept."""

import pytest

from porch.contract.errors import InvalidInput
from porch.identity.passwords import (
    MAX_LENGTH,
    MIN_LENGTH,
    check_password,
    hash_password,
    is_outdated,
    matches,
)


@pytest.mark.parametrize(
    "text",
    [
        "password12",
        "Passw0rd!!",
        "P@ssword123",
        "12345678901",
        "1111111111",
        "abababababab",
        "qwertyuiop",
        "poiuytrewq",
        "letmein1234",
        "iloveyou2026!",
        "dragondragon",
        "adaadaadaada",
        "ada2026!!!!",
        "abcdefghijkl",
    ],
)
def test_what_would_be_tried_first_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="first that would be tried"):
        check_password(text, ["ada"])


@pytest.mark.parametrize(
    "text",
    [
        "three blue kettles",
        "correct horse battery",
        "xkT93mmq-z",
        "ünüsual wörds",
        "密码密码长长的密码一二三",
    ],
)
def test_length_is_enough(text: str) -> None:
    assert check_password(text, ["ada"])


@pytest.mark.parametrize("text", ["", "short one"[: MIN_LENGTH - 1], "wordy " * MAX_LENGTH])
def test_too_short_and_too_long_say_what_the_limit_is(text: str) -> None:
    with pytest.raises(
        InvalidInput, match=rf"{MIN_LENGTH} are the least|{MAX_LENGTH} are the most|too long|bytes"
    ):
        check_password(text)


def test_a_nul_is_refused() -> None:
    with pytest.raises(InvalidInput):
        check_password("three blue\0kettles")


async def test_a_password_is_known_again_however_it_is_typed() -> None:
    kept = await hash_password("caf\u00e9 au lait, please")
    assert await matches("cafe\u0301 au lait, please", kept)
    assert not await matches("cafe au lait, please", kept)
    assert not is_outdated(kept)
    assert is_outdated(kept.replace("t=2", "t=1"))


async def test_nobody_s_password_matches_nothing() -> None:
    assert not await matches("three blue kettles", None)
    assert not await matches("", None)
    assert not await matches("x" * 100_000, await hash_password("x" * MIN_LENGTH))


@pytest.mark.parametrize(
    "password", ["ada-8f1116a8e906", "Ada-8f1116a8e906!", "xx-ada-8f1116a8e906", "ada1906ada1906"]
)
def test_a_name_that_ends_in_digits_is_no_password_either(password: str) -> None:
    with pytest.raises(InvalidInput):
        check_password(password, ("ada-8f1116a8e906", "ada1906"))
