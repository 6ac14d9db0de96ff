"""What was tried, and what came of it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["ok", "breach", "skipped"]
# In the order in which they are told.
KINDS = (
    "API",
    "streams",
    "files",
    "OpenAI",
    "AG-UI, AI SDK",
    "pages",
    "links",
    "ownership in bodies",
    "the owner's own",
    "nothing changed",
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One caller at one door. `why` is a sentence where it is a breach, and the reason where it was skipped."""

    kind: str
    caller: str
    method: str
    path: str
    verdict: Verdict = "ok"
    why: str = ""


@dataclass
class Report:
    """All cells, and what was left on the server."""

    cells: list[Cell] = field(default_factory=list[Cell])
    left: list[str] = field(default_factory=list[str])
    unchecked: list[str] = field(default_factory=list[str])

    @property
    def breaches(self) -> list[Cell]:
        """The cells that are one."""
        return [cell for cell in self.cells if cell.verdict == "breach"]

    def add(self, kind: str, caller: str, door: tuple[str, str], whys: list[str] | None = None) -> None:
        """A cell that is ok, or a breach for each of these reasons."""
        method, path = door
        for why in whys or [""]:
            self.cells.append(Cell(kind, caller, method, path, "breach" if why else "ok", why))

    def skip(self, kind: str, caller: str, door: tuple[str, str], why: str) -> None:
        """A cell that could not be tried."""
        self.cells.append(Cell(kind, caller, *door, "skipped", why))

    def by_kind(self) -> list[tuple[str, Counter[str]]]:
        """How many cells of each kind ended how."""
        counted = {kind: Counter[str]() for kind in KINDS}
        for cell in self.cells:
            counted[cell.kind][cell.verdict] += 1
        return [(kind, found) for kind, found in counted.items() if found]
