"""The first answer with the network off: nothing is fetched after the installation, and nobody is asked."""

import os
import subprocess
import sys

import pytest

from tests.cli.places import PORCH, data_folder, environment, wait_until_gone

# A machine that is off the network still reaches itself.
LOOPBACK_UP = (
    "import fcntl, os, socket, struct, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
    "fcntl.ioctl(s, 0x8914, struct.pack('16sH14s', b'lo', 0x41, b'')); os.execv(sys.argv[1], sys.argv[1:])"
)
ALONE = ["unshare", "--net", sys.executable, "-c", LOOPBACK_UP]


def alone(*command: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end on a machine that has no network."""
    return subprocess.run(
        [*ALONE, *command],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_first_answer_comes_with_the_network_off() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may take the network away without taking its own name, too")
    reach = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"
    outside = alone(sys.executable, "-c", reach)
    if "Operation not permitted" in outside.stderr:
        pytest.skip("this machine lets nobody take the network away")
    assert "Network is unreachable" in outside.stderr
    with data_folder() as folder:
        question = ("hello", "--once", "What is a porch?", "--model", "local:smollm2")
        done = alone(*PORCH, *question, "--data-dir", str(folder))
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.split()) > 5
        assert wait_until_gone(folder) == []
