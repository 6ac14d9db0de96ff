"""How starts went, as the data folder tells."""

from pathlib import Path

import pytest

from porch.contract.errors import SetupError
from porch.status import setups
from porch.status.setups import FILE, attempt, read_setups
from porch.storage.datadir import MARK


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / MARK).write_text("{}")
    return tmp_path


def start(folder: Path, seconds: float) -> None:
    with attempt(folder, noted=True) as one:
        one.ready(seconds)


def fail(folder: Path) -> None:
    with pytest.raises(SetupError), attempt(folder, noted=True):
        raise SetupError("No room.")


def test_starts_and_failures_are_told(folder: Path) -> None:
    fail(folder)
    start(folder, 3.5)
    start(folder, 1.25)
    found = read_setups(folder)
    assert found.first is not None
    assert found.last is not None
    assert (found.first.seconds, found.last.seconds, found.worked) == (3.5, 1.25, 2)
    assert found.failures == {"setup": 1}


def test_what_goes_wrong_later_is_no_failed_start(folder: Path) -> None:
    def run() -> None:
        with attempt(folder, noted=True) as one:
            one.ready(1.0)
            raise SetupError("The disk is gone.")

    with pytest.raises(SetupError):
        run()
    assert read_setups(folder).failures == {}


def test_a_folder_that_is_not_ours_stays_as_it_is(tmp_path: Path) -> None:
    start(tmp_path, 1.0)
    assert list(tmp_path.iterdir()) == []
    assert read_setups(tmp_path / "nowhere").worked == 0


def test_with_outcomes_off_nothing_is_noted(folder: Path) -> None:
    with attempt(folder, noted=False) as one:
        one.ready(1.0)
    assert not (folder / FILE).exists()


def test_the_file_stays_small_and_keeps_the_first_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setups, "KEPT", 5)
    start(folder, 9.0)
    for number in range(12):
        start(folder, number)
    found = read_setups(folder)
    assert found.first is not None
    assert found.last is not None
    assert (found.first.seconds, found.last.seconds, found.worked) == (9.0, 11.0, 5)


def test_a_line_that_cannot_be_read_spoils_no_other(folder: Path) -> None:
    start(folder, 2.0)
    with (folder / FILE).open("ab") as file:
        file.write(b"half a li\n")
    start(folder, 1.0)
    assert read_setups(folder).worked == 2
