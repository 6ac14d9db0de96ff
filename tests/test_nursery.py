import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.nursery import COMMAND, SERVER, Fledgling, hatch


def run(*arguments: str, **env: str) -> tuple[int, str]:
    with tempfile.TemporaryFile() as said, Path(os.devnull).open("rb") as nothing:
        files = [nothing.fileno(), said.fileno(), said.fileno()]
        code = hatch(COMMAND, arguments, files=files, env=env).wait(30)
        said.seek(0)
        return code, said.read().decode()


def waiting() -> tuple[Fledgling, socket.socket]:
    """A server that waits for its settings, and the end to send them from."""
    ours, theirs = socket.socketpair()
    with theirs, Path(os.devnull).open("r+b") as nothing:
        return hatch(SERVER, [], files=[nothing.fileno()] * 3, pass_fd=theirs.fileno()), ours


def test_a_command_gets_its_own_words_and_environment_and_tells_its_code() -> None:
    assert run("version", "--json")[0] == 0
    code, said = run("frobnicate", PORCH_INVOKED_AS="./dev")
    assert code == 2
    assert "Try './dev --help'" in said
    assert "Try 'porch --help'" in run("frobnicate")[1]


def test_one_that_is_killed_tells_by_what_and_is_gone_once_that_is_known() -> None:
    process, line = waiting()
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    assert process.poll() == -signal.SIGKILL
    assert not Path(f"/proc/{process.pid}").exists()
    line.close()


def test_the_end_of_one_is_told_while_others_live() -> None:
    (first, one), (second, two) = waiting(), waiting()
    assert run("version")[0] == 0
    first.kill()
    assert first.wait(30) == -signal.SIGKILL
    assert second.poll() is None
    second.kill()
    assert second.wait(30) == -signal.SIGKILL
    one.close()
    two.close()
