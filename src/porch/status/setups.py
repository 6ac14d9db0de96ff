"""How the starts of this installation went: a few lines in its data folder, for its operator alone."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from porch.contract.errors import PorchError, SetupError
from porch.storage.datadir import MARK
from porch.storage.private_file import write_private

log = logging.getLogger(__name__)

FILE = "starts.jsonl"
KEPT = 200


class Setup(msgspec.Struct, frozen=True, omit_defaults=True):
    """One start: how long it took, or by which code it failed."""

    at: datetime
    seconds: float | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Setups:
    """All that are known; `first` is the one that worked first."""

    first: Setup | None
    last: Setup | None
    worked: int
    failures: dict[str, int]


class Attempt:
    """One start under way; without a folder nothing is noted."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._over = False

    def ready(self, seconds: float) -> None:
        """The server takes requests."""
        self._note(Setup(datetime.now(UTC), round(seconds, 3)))

    def failed(self, code: str) -> None:
        """The server does not come up."""
        self._note(Setup(datetime.now(UTC), code=code))

    def _note(self, setup: Setup) -> None:
        if self._folder is not None and not self._over:
            _append(self._folder, setup)
        self._over = True


@contextmanager
def attempt(folder: Path, *, noted: bool) -> Generator[Attempt]:
    """A start, `noted` or not; an error of ours that comes out of it before it is ready is how it failed."""
    one = Attempt(folder if noted else None)
    try:
        yield one
    except PorchError as error:
        one.failed(error.code)
        raise


def read_setups(folder: Path) -> Setups:
    """What the folder tells; nothing where there is none."""
    found = _read(folder / FILE)
    worked = [setup for setup in found if setup.seconds is not None]
    failures: dict[str, int] = {}
    for setup in found:
        if setup.code is not None:
            failures[setup.code] = failures.get(setup.code, 0) + 1
    ends = (worked[0], worked[-1]) if worked else (None, None)
    return Setups(*ends, len(worked), failures)


def _append(folder: Path, setup: Setup) -> None:
    """The first start that worked stays; of the others the last ones do. That it cannot be written stops nothing."""
    # Without the mark it is somebody else's folder.
    if not (folder / MARK).is_file():
        return
    file = folder / FILE
    found = [*_read(file), setup]
    if len(found) > KEPT:
        first = next((one for one in found if one.seconds is not None), found[0])
        found = [first, *(one for one in found[-KEPT + 1 :] if one is not first)]
    try:
        write_private(file, b"".join(msgspec.json.encode(one) + b"\n" for one in found))
    except SetupError as error:
        log.info("How this start went could not be noted: %s", error.message)


def _read(file: Path) -> list[Setup]:
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        return []
    found: list[Setup] = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=Setup))
        except msgspec.DecodeError:
            continue
    return found
