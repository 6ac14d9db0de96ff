"""docs/limits.md says what the code has: every row's figure, its constant or setting, and its codes."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from porch.agents.service import read_definition
from porch.contract.errors import InvalidInput
from porch.settings import NAMES, Settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "porch").rglob("*.py"))
# Words in backticks that are no codes.
OTHERS = {"limit", "overflow"}
EVENTS = re.compile(r"[a-z_]+\.[a-z_]+")
# Named here for another reason than a limit of its own.
ASIDE = {"KIB", "MIB", "FULL_ANSWER_BYTES"}


class Row(NamedTuple):
    what: str
    limit: str
    beyond: str
    where: str


def found_rows() -> Iterator[Row]:
    text = PAGE[PAGE.index("<!-- limits:") : PAGE.index("<!-- end -->")]
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0] not in ("what", "---"):
            yield Row(*cells)


ROWS = list(found_rows())


def value_of(where: str) -> Any:
    """The figure that a row's last cell names: a setting's default, or a module's constant."""
    found = re.fullmatch(r"`(?:([a-z_/]+)\.py )?([A-Za-z_]+)`", where)
    assert found, where
    module, name = found.groups()
    if module is None:
        assert name in NAMES, name
        return getattr(Settings(), name)
    return getattr(importlib.import_module("porch." + module.replace("/", ".")), name)


def spellings(value: float) -> set[str]:
    """How a figure may be written."""
    written = {f"{value:,g}", f"{value:g}", f"{value:,}"}
    for unit, size in (("KiB", 1 << 10), ("MiB", 1 << 20)):
        written |= {f"{value / size:g} {unit}", f"{value / size:.1f} {unit}"}
    return written


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_a_limit_is_what_the_code_has(row: Row) -> None:
    assert row.limit in spellings(value_of(row.where))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_what_is_told_beyond_it_is_said_in_the_code(row: Row) -> None:
    for word in re.findall(r"`([^`]+)`", row.beyond):
        if word not in OTHERS and not EVENTS.fullmatch(word):
            assert f'"{word}"' in SOURCES, word


@pytest.mark.parametrize("path", ["runs/limits", "runs/places", "runs/backlog", "http/pressure"])
def test_every_limit_of_these_modules_is_on_the_page(path: str) -> None:
    named = {row.where for row in ROWS}
    for name, value in vars(importlib.import_module("porch." + path.replace("/", "."))).items():
        if name.isupper() and isinstance(value, int) and name not in ASIDE:
            assert f"`{path}.py {name}`" in named, name


def test_a_definition_over_its_limit_is_refused_as_the_page_says() -> None:
    tools = [f"t{number}" + "x" * 1000 for number in range(300)]
    with pytest.raises(InvalidInput, match="262,144") as refused:
        read_definition({"name": "a", "instructions": "Act.", "model": "scripted:test", "tools": tools})
    row = next(row for row in ROWS if row.where.endswith("MAX_DEFINITION_BYTES`"))
    assert row.beyond == f"{refused.value.status} `{refused.value.code}`"
