"""How tests are dealt out, and what their processes inherit."""

import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.lanes import BROWSER, FIRST, TOGETHER, Lanes, lane, rank, workers

ROOT = Path(__file__).parents[1]
IGNORES = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"


@pytest.mark.parametrize("name", FIRST)
def test_what_begins_first_is_there(name: str) -> None:
    assert (ROOT / name).is_dir() if name.endswith("/") else (ROOT / name).is_file()


@pytest.mark.parametrize("folder", TOGETHER)
def test_the_files_of_some_folders_are_one_workers(folder: str) -> None:
    begin = folder if folder.endswith("/") else ""
    files = [f"{folder}{'test' if begin else ''}_{name}.py" for name in "ab"]
    assert {lane(f"{file}::test_it[1::2]") for file in files} == {folder}


def test_every_other_file_stands_for_itself() -> None:
    assert lane("tests/cli/test_root.py::test_it[1::2]") == "tests/cli/test_root.py"


def test_what_takes_longest_is_dealt_out_first_and_the_rest_stays_in_order() -> None:
    given = [
        "tests/a/test_a.py::t",
        "tests/cli/test_root.py::t",
        "tests/b/test_b.py::t",
        f"{BROWSER}test_c.py::t",
    ]
    assert [given.index(name) for name in sorted(given, key=rank)] == [3, 1, 0, 2]


def test_there_are_more_workers_than_cores() -> None:
    assert [workers(cores) for cores in (1, 2, 4, 8)] == [2, 4, 8, 16]


def test_what_brought_its_process_down_is_not_run_again_and_the_rest_of_its_lane_is(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytestconfig.option, "tx", ["popen", "popen"], raising=False)
    lanes, other_worker, worker = Lanes(pytestconfig), Mock(shutting_down=False), Mock(shutting_down=False)
    names = [f"tests/test_{file}.py::{name}" for file in ("it", "other") for name in "abcd"]
    for node in (worker, other_worker):
        lanes.add_node(node)
        lanes.add_node_collection(node, names)
    lanes.schedule()
    worker.send_runtest_some.assert_called_once_with([0, 1, 2, 3])
    lanes.mark_test_complete(worker, 0)
    assert lanes.remove_node(worker) == names[1]
    for at in (4, 5):
        lanes.mark_test_complete(other_worker, at)
    assert [call.args for call in other_worker.send_runtest_some.mock_calls] == [([4, 5, 6, 7],), ([2, 3],)]
    for at in (6, 7, 2, 3):
        lanes.mark_test_complete(other_worker, at)
    assert lanes.remove_node(other_worker) is None


def test_processes_of_tests_hear_ctrl_c_even_where_the_tests_run_in_a_background() -> None:
    told = subprocess.run([sys.executable, "-c", IGNORES], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
