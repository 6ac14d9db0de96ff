"""Figures of `porch bench` in a file, and later ones beside them."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from porch import __version__
from porch.contract.errors import SetupError

FORMAT = 1


class Machine(msgspec.Struct, frozen=True):
    """What figures depend on besides Porch."""

    system: str
    processor: str
    cores: int
    memory_gb: float
    python: str

    @property
    def sentence(self) -> str:
        """In a line."""
        return f"{self.cores} cores of {self.processor}, {self.memory_gb:g} GB, {self.system}, Python {self.python}"


class Figures(msgspec.Struct, frozen=True):
    """One model's, over its rounds; seconds."""

    model: str
    rounds: int
    first_token_p50: float
    first_token_worst: float
    end_to_end_p50: float
    tokens_per_second_p50: float | None = None


class Baseline(msgspec.Struct, frozen=True):
    """What was measured once, where, and with which version."""

    items: list[Figures]
    machine: Machine
    version: str = __version__
    at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    format: int = FORMAT


class Comparison(msgspec.Struct, frozen=True):
    """One model's figures and those of before, as ratios: 2 is twice as long, or twice as fast for tokens a second."""

    model: str
    first_token: float
    end_to_end: float
    tokens_per_second: float | None


def this_machine() -> Machine:
    """The one that this runs on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=round(memory, 1),
        python=platform.python_version(),
    )


def write_baseline(file: Path, baseline: Baseline) -> None:
    """Put it into a file that people may read. Raises SetupError."""
    text = msgspec.json.format(msgspec.json.encode(baseline), indent=2)
    try:
        file.write_bytes(text + b"\n")
    except OSError as error:
        raise SetupError(
            f"{str(file)!r} cannot be written: {error.strerror}. Choose another file."
        ) from error


def read_baseline(file: Path) -> Baseline:
    """What `write_baseline` wrote. Raises SetupError."""
    try:
        baseline = msgspec.json.decode(file.read_bytes(), type=Baseline)
    except OSError as error:
        raise SetupError(
            f"{str(file)!r} cannot be read: {error.strerror}. Make one with: porch bench --save {file}"
        ) from error
    except msgspec.DecodeError as error:
        raise SetupError(
            f"{str(file)!r} holds no figures of porch bench: {error}. Choose another file."
        ) from error
    if baseline.format != FORMAT:
        raise SetupError(f"{str(file)!r} was written by another version of Porch. Make one anew with --save.")
    return baseline


def compare(before: Baseline, now: Sequence[Figures]) -> list[Comparison]:
    """The models that both have measured."""
    known = {figures.model: figures for figures in before.items}
    return [_compare(known[figures.model], figures) for figures in now if figures.model in known]


def _compare(before: Figures, now: Figures) -> Comparison:
    tokens = None
    if before.tokens_per_second_p50 and now.tokens_per_second_p50:
        tokens = now.tokens_per_second_p50 / before.tokens_per_second_p50
    return Comparison(
        now.model,
        now.first_token_p50 / max(before.first_token_p50, 1e-6),
        now.end_to_end_p50 / max(before.end_to_end_p50, 1e-6),
        tokens,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(named, "") or platform.processor() or platform.machine()
