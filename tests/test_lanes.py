"""How tests are dealt out, and what their processes inherit."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lanes import BROWSER, FIRST, TOGETHER, lane, rank, workers

ROOT = Path(__file__).parents[1]
IGNORES = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"


@pytest.mark.parametrize("name", FIRST)
def test_what_begins_first_is_there(name: str) -> None:
    assert (ROOT / name).is_dir() if name.endswith("/") else (ROOT / name).is_file()


@pytest.mark.parametrize("folder", TOGETHER)
def test_the_files_of_some_folders_are_one_workers(folder: str) -> None:
    assert {lane(f"{folder}test_{name}.py::test_it[1::2]") for name in "ab"} == {folder}


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
    assert [workers(cores) for cores in (1, 2, 4, 8)] == [1, 3, 6, 12]


def test_processes_of_tests_hear_ctrl_c_even_where_the_tests_run_in_a_background() -> None:
    told = subprocess.run([sys.executable, "-c", IGNORES], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
