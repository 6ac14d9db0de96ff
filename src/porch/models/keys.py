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
from porch.models.places import PLACES
from porch.models.refusals import FILE as REFUSALS
from porch.models.refusals import Refusals
from porch.storage.private_file import write_private

FILE = "model-keys.json"
# Of every provider that takes a key and keeps it under its own name.
VARIABLES = {place.name: place.key for place in PLACES.values() if place.key and not place.keeper}
SHORTEST, LONGEST = 8, 512
# Of a shorter key, four characters would tell too much.
TELLING = 16
log = logging.getLogger(__name__)


class ModelKeys:
    """The keys in a data folder's `model-keys.json`, read once and written at each change.

    `refusals` says which keys, these and the environment's, were refused when they were last used.
    Raises SetupError for a file that is not what Porch wrote.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        kept = _read(self._path)
        self._variables = {VARIABLES[name]: key for name, key in kept.items() if name in VARIABLES}
        self.refusals = Refusals(data_dir / REFUSALS)

    def over(self, environ: Mapping[str, str]) -> Mapping[str, str]:
        """The environment with these keys in place of its own, as they change."""
        return ChainMap(self._variables, dict(environ))

    def ending(self, provider: str) -> str | None:
        """The last four characters of a kept key ("" of a short one), None where none is kept."""
        key = self._variables.get(VARIABLES.get(provider, ""))
        if key is None:
            return None
        return key[-4:] if len(key) >= TELLING else ""

    def put(self, provider: str, key: str) -> None:
        """Keep a key in place of the one before. Raises InvalidInput, SetupError when it cannot be written."""
        variable = _variable(provider)
        self._write({**self._variables, variable: check_key(key)})

    def remove(self, provider: str) -> None:
        """Forget a kept key. Raises NotFound where there is none."""
        variable = _variable(provider)
        if variable not in self._variables:
            raise NotFound(
                f"No key of {provider!r} is kept here. One that comes from {variable} goes with that variable."
            )
        self._write({name: key for name, key in self._variables.items() if name != variable})

    def _write(self, variables: dict[str, str]) -> None:
        names = {variable: provider for provider, variable in VARIABLES.items()}
        kept = {names[variable]: key for variable, key in variables.items()}
        write_private(self._path, msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
        # In place and the new ones first: another thread may be looking for a key just now.
        self._variables.update(variables)
        for gone in self._variables.keys() - variables.keys():
            del self._variables[gone]


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
