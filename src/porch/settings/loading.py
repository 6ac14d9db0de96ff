"""Where settings come from: flags, variables, the file, defaults."""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from porch.contract.errors import SetupError
from porch.settings.checks import check_together, convert, read_words
from porch.settings.model import NAMES, Settings

FILE = "porch.toml"
PREFIX = "PORCH_"
# Read elsewhere, so no mistake: the settings' place, how people call us, which PostgreSQL runs and as whom.
OTHERS = frozenset(
    {
        "PORCH_CONFIG",
        "PORCH_INVOKED_AS",
        "PORCH_POSTGRES_BIN",
        "PORCH_POSTGRES_USER",
        "PORCH_RECORDINGS",
        "PORCH_TOKEN",
        "PORCH_URL",
    }
)
TESTS = "PORCH_TEST_"


class Resolved(NamedTuple):
    """Settings, where each that is no default came from, and the file that was read, if any."""

    settings: Settings
    origins: dict[str, str]
    file: Path | None


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    config: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Settings:
    """The settings that hold: `flags` (None values count as not given), then variables, then the file.

    The file is `config`, else PORCH_CONFIG, else porch.toml in `cwd`, else porch.toml in the data folder.
    Raises SetupError naming what is unknown or cannot be used, and what to write instead.
    """
    return resolve_settings(flags, config=config, environ=environ, cwd=cwd).settings


def resolve_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    config: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Resolved:
    """As `load_settings`, with where each value came from."""
    cwd = cwd or Path.cwd()
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    variables = _read_variables(environ)
    folder = given.get("data_dir") or variables.get("data_dir") or Settings().data_dir
    file = _find_file(config or environ.get("PORCH_CONFIG"), cwd, _place(folder, cwd))
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, raw in (_read_file(file) if file else {}).items():
        origins[name] = f"{str(file)!r}"
        values[name] = convert(name, raw, f"{name!r} in {str(file)!r}")
        if name == "data_dir" and file:
            values[name] = _place(values[name], file.parent)
    for name, raw in variables.items():
        origins[name] = PREFIX + name.upper()
        values[name] = convert(name, read_words(name, raw), origins[name])
    for name, raw in given.items():
        origins[name] = "--" + name.replace("_", "-")
        values[name] = convert(name, raw, origins[name])
    values["data_dir"] = _place(values.get("data_dir", Settings().data_dir), cwd)
    settings = Settings(**values)
    check_together(settings)
    return Resolved(settings, origins, file)


def _place(folder: Any, base: Path) -> Path:
    return base / Path(folder).expanduser()


def _find_file(named: str | Path | None, cwd: Path, data_dir: Path) -> Path | None:
    if named:
        file = _place(named, cwd)
        if not file.is_file():
            raise SetupError(
                f"The settings file {str(file)!r} does not exist. Correct --config or PORCH_CONFIG."
            )
        return file
    for file in (cwd / FILE, data_dir / FILE):
        try:
            if file.is_file():
                return file
        except OSError:
            continue
    return None


def _read_file(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(f"The settings file {str(file)!r} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"The settings file {str(file)!r} is not valid TOML: {error}.") from error
    for name in values:
        if name not in NAMES:
            raise SetupError(f"Unknown key {name!r} in {str(file)!r}. {_suggest(name, NAMES)}")
    return values


def _read_variables(environ: Mapping[str, str]) -> dict[str, str]:
    known = {PREFIX + name.upper(): name for name in NAMES}
    found: dict[str, str] = {}
    for variable, value in environ.items():
        if variable in known:
            if value:
                found[known[variable]] = value
        elif variable.startswith(PREFIX) and variable not in OTHERS and not variable.startswith(TESTS):
            raise SetupError(
                f"Unknown variable {variable!r}. {_suggest(variable, [*known, *sorted(OTHERS)])}"
            )
    return found


def _suggest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(close)}? Correct or remove it."
    return f"Remove it, or use one of: {', '.join(known)}."
