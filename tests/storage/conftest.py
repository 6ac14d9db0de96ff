import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest


@pytest.fixture
def place() -> Iterator[Path]:
    """A short folder that PostgreSQL's account can enter, also when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="porch-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def unprivileged() -> Callable[[], AbstractContextManager[None]]:
    """A block in which this process is not root, so that permissions count."""

    @contextmanager
    def block() -> Generator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
        try:
            yield
        finally:
            os.seteuid(0)

    return block
