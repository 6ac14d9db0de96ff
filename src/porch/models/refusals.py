"""Which keys their providers refused when they were last used: a file beside the kept keys, for every process.

Of a key it holds a few digits of a hash, enough to know it again and no use for anything else.
"""

import hashlib
from pathlib import Path

import msgspec

from porch.storage.private_file import write_private

FILE = "refused-keys.json"
DIGITS = 8


class Refusals:
    """Refused keys by the provider that they are for; without a file this process alone knows them."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._seen = (0, 0)
        self._refused: dict[str, str] = {}

    def has(self, provider: str, key: str) -> bool:
        """Whether this key was refused when it was last used, here or in another process."""
        self._refresh()
        return self._refused.get(provider) == _mark(key)

    def note(self, provider: str, key: str, *, refused: bool) -> None:
        """Remember what became of a key; of a provider the last one. Raises SetupError when that cannot be written."""
        if refused == self.has(provider, key):
            return
        others = {name: mark for name, mark in self._refused.items() if name != provider}
        self._refused = others | ({provider: _mark(key)} if refused else {})
        # Before the first start there is no data folder, and what only asks makes none.
        if self._path is not None and self._path.parent.is_dir():
            write_private(self._path, msgspec.json.encode(self._refused) + b"\n")
            self._seen = _version(self._path)

    def _refresh(self) -> None:
        if self._path is None or (version := _version(self._path)) == self._seen:
            return
        self._seen = version
        try:
            self._refused = msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            # A note that is lost comes back with the next use of the key.
            self._refused = {}


def _mark(key: str) -> str:
    return hashlib.sha256(key.strip().encode(errors="replace")).hexdigest()[:DIGITS]


def _version(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_ino, found.st_mtime_ns
