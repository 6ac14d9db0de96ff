"""The house as docs/architecture.md says: floors, and what a file may grow to."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "porch"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 50
NAMELESS = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_rooms_import_only_from_the_floors_below() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[done.stdout.find("Contracts: ") :] + done.stderr


def test_files_and_functions_stay_small_and_say_what_they_are_for() -> None:
    assert [complaint for path in FILES for complaint in complaints(path)] == []


def complaints(path: Path) -> list[str]:
    """What is too long in a file, or not introduced."""
    text = path.read_text(encoding="utf-8")
    tree, found = ast.parse(text), list[str]()
    if len(text.splitlines()) > MOST_LINES_OF_A_FILE:
        found.append(f"{name_of(path)} is over {MOST_LINES_OF_A_FILE} lines")
    if text.strip() and not ast.get_docstring(tree):
        found.append(f"{name_of(path)} does not say what it is for")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION:
                found.append(f"{name_of(path)}: {node.name} is over {MOST_LINES_OF_A_FUNCTION} lines")
    return found


def test_every_module_and_room_has_a_name_of_its_own() -> None:
    parts = {part for path in FILES for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert not parts & NAMELESS


def test_importing_the_contract_loads_nothing_that_could_reach_out() -> None:
    code = (
        "import sys, porch.contract.definition, porch.contract.frames, porch.contract.schema, porch.contract.sse\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & {'aiohttp', 'asyncio', 'asyncpg',"
        " 'fastapi', 'pydantic', 'starlette', 'uvicorn'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
