"""How many connections a server may have."""

import subprocess
import sys

import pytest

CODE = """
import resource
from porch.web.sockets import allow_connections
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, min(hard, 4096)))
allow_connections()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_server_takes_all_the_open_files_that_it_may_have_without_asking() -> None:
    told = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    soft, hard = map(int, told.stdout.split())
    assert soft == hard > 256
