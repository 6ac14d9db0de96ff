"""Files that hold secrets."""

import os
import stat
from pathlib import Path

import pytest

from porch.contract.errors import SetupError
from porch.storage.private_file import write_private


def test_a_private_file_is_closed_to_others_whatever_stood_there_and_whatever_the_umask(
    tmp_path: Path,
) -> None:
    path = tmp_path / "secret.json"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        write_private(path, b"new")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret.json"]


def test_a_file_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "secret.json"
    path.mkdir()
    with pytest.raises(SetupError, match="cannot be written"):
        write_private(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret.json"]
    with pytest.raises(SetupError, match="--data-dir"):
        write_private(tmp_path / "nowhere" / "secret.json", b"new")
