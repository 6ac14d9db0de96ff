import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import pytest

from porch.contract.errors import SetupError
from porch.storage.datadir import LOCK, MARK, DataDir, check_room, write_private

Unprivileged = Callable[[], AbstractContextManager[None]]

HOLDER = """
import sys
from porch.storage.datadir import DataDir
hold = DataDir(sys.argv[1]).hold()
hold.announce("http://localhost:4321")
print("held", flush=True)
sys.stdin.read()
"""


def start_holder(path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_new_folder_is_closed_to_others_and_keeps_its_instance_id(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "a" / "b")
    data_dir.prepare()
    assert data_dir.path.stat().st_mode & 0o777 == 0o700
    first = data_dir.instance
    data_dir.prepare()
    assert len(first) == 16
    assert data_dir.instance == first


def test_a_second_process_is_told_who_holds_the_folder_and_where_it_serves(tmp_path: Path) -> None:
    process = start_holder(tmp_path)
    try:
        data_dir = DataDir(tmp_path)
        with pytest.raises(SetupError) as caught:
            data_dir.hold()
        assert f"held by process {process.pid} since 20" in caught.value.message
        assert "serving http://localhost:4321: use that one (porch chat …)" in caught.value.message
        holder = data_dir.read_holder()
        assert holder is not None
        assert (holder.pid, holder.url) == (process.pid, "http://localhost:4321")
    finally:
        process.kill()
        process.wait()


def test_the_lock_vanishes_with_a_killed_process_and_its_text_misleads_nobody(tmp_path: Path) -> None:
    process = start_holder(tmp_path)
    process.kill()
    process.wait()
    data_dir = DataDir(tmp_path)
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == process.pid
    assert data_dir.read_holder() is None
    with data_dir.hold() as hold:
        assert hold.holder.pid == os.getpid()


def test_holding_again_after_release_works_and_a_second_hold_in_one_process_does_not(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    with data_dir.hold(), pytest.raises(SetupError, match=f"held by process {os.getpid()}"):
        data_dir.hold()
    assert data_dir.read_holder() is None
    data_dir.hold().release()


def test_nobody_holds_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert DataDir(tmp_path / "none").read_holder() is None
    assert not (tmp_path / "none").exists()


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("…")
    with pytest.raises(SetupError, match=r"not Porch's \('thesis\.tex'\)\. Choose an empty or new folder"):
        DataDir(tmp_path).hold()
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_with_only_a_configuration_is_taken(tmp_path: Path) -> None:
    (tmp_path / "porch.toml").write_text("")
    DataDir(tmp_path).prepare()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="is a file"):
        DataDir(tmp_path / "file").prepare()


def test_a_folder_of_another_user_is_refused(place: Path, unprivileged: Unprivileged) -> None:
    foreign = place if os.geteuid() == 0 else Path("/usr")
    with unprivileged(), pytest.raises(SetupError, match="belongs to the user 'root'"):
        DataDir(foreign).prepare()


def test_a_folder_that_may_not_be_written_is_refused(place: Path, unprivileged: Unprivileged) -> None:
    place.chmod(0o777)
    with unprivileged():
        closed = place / "closed"
        closed.mkdir(mode=0o500)
        with pytest.raises(SetupError, match=r"may not be written by this user\. Mend that"):
            DataDir(closed / "data").prepare()
        DataDir(place / "data").prepare()
        (place / "data").chmod(0o500)
        with pytest.raises(SetupError, match="may not be written by this user"):
            DataDir(place / "data").hold()
        (place / "data").chmod(0o700)


def test_a_read_only_filesystem_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SetupError, match="lies on a read-only filesystem"):
        DataDir(tmp_path / "data").prepare()


def test_a_folder_of_a_newer_porch_is_refused(tmp_path: Path) -> None:
    (tmp_path / "porch.json").write_text('{"format": 2, "instance": "x"}')
    with pytest.raises(SetupError, match="made by a newer Porch"):
        DataDir(tmp_path).prepare()


def test_a_secret_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    data_dir.prepare()
    data_dir.write_secret("credentials.json", b"{}")
    data_dir.write_secret("credentials.json", b"[]")
    assert (tmp_path / "credentials.json").read_bytes() == b"[]"
    assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.half"))


def test_too_little_room_for_a_database_is_told_in_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_room(tmp_path)

    def little(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=12_000_000)

    monkeypatch.setattr("shutil.disk_usage", little)
    with pytest.raises(SetupError) as caught:
        check_room(tmp_path)
    assert caught.value.message == (
        f"0.0 GB free in {str(tmp_path)!r}; PostgreSQL needs 0.2 GB: make room or choose another --data-dir."
    )


def test_of_two_that_make_one_folder_the_first_mark_stays(tmp_path: Path) -> None:
    (tmp_path / f".{MARK}.77.half").touch()
    DataDir(tmp_path).prepare()
    first = (tmp_path / MARK).read_bytes()
    write_private(tmp_path / MARK, b"{}", replace=False)
    assert (tmp_path / MARK).read_bytes() == first
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f".{MARK}.77.half", MARK]
