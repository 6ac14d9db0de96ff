"""Builds sdist and wheel, compares the wheel with the source folder, and runs it where nothing else of ours is.

Usage: wheel.py UV FOLDER
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXPECTED = (
    "porch/py.typed",
    "porch/models/catalogue.toml",
    "porch/agents/gallery/assistant.toml",
    "porch/http/templates/layout.html",
    "porch/storage/migrations/0001_foundation.sql",
    "porch/web/static/css/tokens.css",
    "porch/web/static/js/frame.js",
)


def sources() -> set[str]:
    """Every file of the package, as a wheel names it."""
    files = (path for path in (ROOT / "src").rglob("*") if path.is_file())
    return {
        path.relative_to(ROOT / "src").as_posix()
        for path in files
        if "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def main(uv: str, folder: Path) -> None:
    """Fail with the names of what is missing."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"UV_LOCKED", "VIRTUAL_ENV"}
    }
    subprocess.run([uv, "build", "--out-dir", folder, ROOT], check=True, env=environment)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    if missing := sorted((sources() | set(EXPECTED)) - held):
        sys.exit(f"The wheel lacks {', '.join(missing)}.")
    if not any(name.endswith("licenses/LICENSE") for name in held):
        sys.exit("The wheel lacks the LICENSE.")
    sizes = f"{wheel.stat().st_size:,} bytes, {len(held)} files; {sdist.name}: {sdist.stat().st_size:,} bytes"
    sys.stdout.write(f"{wheel.name}: {sizes}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as elsewhere:
        # As root the database's own account must get through, or its data would lie elsewhere and stay.
        Path(elsewhere).chmod(0o755)
        run = [uv, "run", "--isolated", "--no-project", "--with", wheel, "porch"]
        asked = [
            "hello",
            "--model",
            "scripted:demo",
            "--data-dir",
            f"{elsewhere}/data",
            "--once",
            "[[say It runs.]]",
        ]
        subprocess.run([*run, "version"], check=True, env=environment, cwd=elsewhere)
        answer = subprocess.run(
            [*run, *asked], check=True, env=environment, cwd=elsewhere, stdout=subprocess.PIPE
        )
        if answer.stdout.decode().strip() != "It runs.":
            sys.exit(f"The installed wheel answered {answer.stdout!r}.")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
