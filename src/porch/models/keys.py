"""Providers' keys that were given on a page or over the API: a file beside the database, over the environment.

Nothing here ever gives a key back but to the provider it is for; a key is known afterwards by its last four
characters alone.
"""

import logging
import os
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path

import msgspec

from porch.contract.errors import InvalidInput, NotFound, SetupError
from porch.storage.private_file import write_private

FILE = "model-keys.json"
VARIABLES = {"openai": "OPENAI_API_KEY"}
# Beside a key in the file: the provider did not take it when it was last tested.
REFUSED = ":refused"
SHORTEST, LONGEST = 8, 512
# Of a shorter key, four characters would tell too much.
TELLING = 16
log = logging.getLogger(__name__)


class ModelKeys:
    """The keys in a data folder's `model-keys.json`, read once and written at each change.

    Raises SetupError for a file that is not what Porch wrote.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        kept = _read(self._path)
        self._variables = {VARIABLES[name]: key for name, key in kept.items() if name in VARIABLES}
        self._refused = {name for name in VARIABLES if name in kept and name + REFUSED in kept}

    def over(self, environ: Mapping[str, str]) -> Mapping[str, str]:
        """The environment with these keys in place of its own, as they change."""
        return ChainMap(self._variables, dict(environ))

    def ending(self, provider: str) -> str | None:
        """The last four characters of a kept key ("" of a short one), None where none is kept."""
        key = self._variables.get(VARIABLES.get(provider, ""))
        if key is None:
            return None
        return key[-4:] if len(key) >= TELLING else ""

    def is_refused(self, provider: str) -> bool:
        """Whether the provider refused its kept key when that was last tested."""
        return provider in self._refused

    def note_test(self, provider: str, key: str, *, refused: bool) -> None:
        """Remember what came of a test of `key`, if that is the one that is kept. Raises SetupError."""
        variable = VARIABLES.get(provider, "")
        if self._variables.get(variable) != key or refused == self.is_refused(provider):
            return
        self._write(self._variables, self._refused | {provider} if refused else self._refused - {provider})

    def put(self, provider: str, key: str) -> None:
        """Keep a key in place of the one before. Raises InvalidInput, SetupError when it cannot be written."""
        variable = _variable(provider)
        self._write({**self._variables, variable: check_key(key)}, self._refused - {provider})

    def remove(self, provider: str) -> None:
        """Forget a kept key. Raises NotFound where there is none."""
        variable = _variable(provider)
        if variable not in self._variables:
            raise NotFound(
                f"No key of {provider!r} is kept here. One that comes from {variable} goes with that variable."
            )
        others = {name: key for name, key in self._variables.items() if name != variable}
        self._write(others, self._refused - {provider})

    def _write(self, variables: dict[str, str], refused: set[str]) -> None:
        names = {variable: provider for provider, variable in VARIABLES.items()}
        kept = {names[variable]: key for variable, key in variables.items()}
        kept |= {provider + REFUSED: "yes" for provider in refused}
        write_private(self._path, msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
        # In place and the new ones first: another thread may be looking for a key just now.
        self._variables.update(variables)
        for gone in self._variables.keys() - variables.keys():
            del self._variables[gone]
        self._refused = refused


def check_key(key: str) -> str:
    """A key as it is kept, without spaces around it. Raises InvalidInput, which never holds the key."""
    key = key.strip()
    if not SHORTEST <= len(key) <= LONGEST:
        raise InvalidInput(
            f"That is no key: keys have {SHORTEST} to {LONGEST} characters. Copy the whole key from your provider."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidInput(
            "That is no key: it holds a space, a line break or letters that no key has. Copy the key alone."
        )
    return key


def _variable(provider: str) -> str:
    if provider not in VARIABLES:
        known = ", ".join(map(repr, VARIABLES))
        raise NotFound(f"No key can be kept for {provider[:40]!r}. Providers that take one here: {known}.")
    return VARIABLES[provider]


def _read(path: Path) -> dict[str, str]:
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            log.warning("%s could be read by others; it is closed now. Consider new keys.", path)
            path.chmod(0o600)
        kept = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        return {name: check_key(word) if name in VARIABLES else word for name, word in kept.items()}
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, InvalidInput):
        # The reader's own words might quote what is in the file.
        raise SetupError(
            f"{str(path)!r}, which holds models' keys, cannot be read. Mend it, or remove it and add the keys anew."
        ) from None
