import socket
from pathlib import Path

import pytest

from porch.cli import up
from porch.cli.root import cli
from porch.contract.errors import SetupError
from porch.storage.datadir import DataDir


class Loading(Exception):
    """The server would be loaded now."""


@pytest.fixture(autouse=True)
def never_serving(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(serving: object) -> None:
        raise Loading

    monkeypatch.setattr(up, "run_server", load)


def run_up(folder: Path) -> None:
    cli.main(["up", "--data-dir", str(folder)], standalone_mode=False)


def test_a_folder_whose_server_answers_is_refused_before_another_one_is_loaded(tmp_path: Path) -> None:
    with DataDir(tmp_path / "data").hold() as hold, socket.create_server(("127.0.0.1", 0)) as listening:
        hold.announce(f"http://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(SetupError, match=r"held by process \d+ since .* serving http://127"):
            run_up(tmp_path / "data")


def test_a_server_that_takes_no_more_requests_may_be_about_to_free_its_folder(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with DataDir(tmp_path / "data").hold() as hold:
        hold.announce(url)
        with pytest.raises(Loading):
            run_up(tmp_path / "data")


def test_a_server_of_one_command_is_about_to_free_its_folder(tmp_path: Path) -> None:
    with DataDir(tmp_path / "data").hold() as hold, socket.create_server(("127.0.0.1", 0)) as listening:
        hold.announce(f"http://127.0.0.1:{listening.getsockname()[1]}", lasting=False)
        with pytest.raises(Loading):
            run_up(tmp_path / "data")


def test_a_folder_that_nobody_holds_is_served(tmp_path: Path) -> None:
    with pytest.raises(Loading):
        run_up(tmp_path / "data")
