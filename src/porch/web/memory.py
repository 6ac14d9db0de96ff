"""How much memory this process has, and how much of it is taken: its own, and that of the cgroup around it.

What the system can take back at once counts as free: pages of files, which a cgroup charges to whoever read them.
Sources: proc(5); Linux' cgroup-v2.rst and cgroup-v1/memory.rst.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from porch.contract.errors import SetupError

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
# PostgreSQL below us has its own limits, and its shared memory would be counted once for every process of it.
APART = "postgres"
MOST_PROCESSES = 64
# New work is taken below this share: a process that is there while idle never takes any.
MOST_IDLE = 0.80
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Load:
    """How much of a limit is taken, in bytes, and whose limit it is."""

    whose: str
    used: int
    limit: int

    @property
    def share(self) -> float:
        """From 0 to 1, and beyond."""
        return self.used / self.limit


class Memory:
    """Reads loads. `limit` is what this process and its children may have; with 0, all of the machine's."""

    def __init__(self, limit: int = 0, *, proc: Path = PROC, cgroups: Path = CGROUPS) -> None:
        self._proc = proc
        self._set = limit
        self._machine = machine_bytes()
        self._limit = limit or self._machine
        self._groups = list(find_groups(proc, cgroups))

    def fullest(self) -> Load | None:
        """Of what bounds this process, that which is closest to its end. None where nothing can be read."""
        loads = [*self._own(), *self._of_groups()]
        return max(loads, key=lambda load: load.share, default=None)

    def check_room(self) -> None:
        """Raise SetupError where a limit that was set leaves no room for work beyond what is in use already."""
        used = process_bytes(self._proc) if self._set else None
        if used is not None and used >= self._set * MOST_IDLE:
            needed = int(used / MOST_IDLE) // MIB + 64
            raise SetupError(
                f"memory_limit is {self._set:,} bytes, and this process has {used:,} in use before any work. Set it to "
                f"at least {needed * MIB} ({needed} MiB), or to 0 for what the machine has."
            )

    def _own(self) -> Iterator[Load]:
        if self._limit is not None and (used := process_bytes(self._proc)) is not None:
            yield Load("this process", used, self._limit)

    def _of_groups(self) -> Iterator[Load]:
        for group in self._groups:
            load = group.read()
            # Where version 1 knows no limit it says a number beyond every machine.
            if load is not None and load.limit > 0 and (self._machine is None or load.limit < self._machine):
                yield load


@dataclass(frozen=True, slots=True)
class Group:
    """A cgroup's files, by their names in its version."""

    folder: Path
    current: str
    limit: str
    files: tuple[bytes, bytes]

    def read(self) -> Load | None:
        """What is taken of it; None where it has no limit."""
        try:
            limit = (self.folder / self.limit).read_bytes().strip()
            if not limit.isdigit():
                return None
            used = int((self.folder / self.current).read_bytes())
            for line in (self.folder / "memory.stat").read_bytes().splitlines():
                name, _, value = line.partition(b" ")
                if name in self.files:
                    used -= int(value)
        except (OSError, ValueError):
            return None
        return Load("the cgroup", max(0, used), int(limit))


def find_groups(proc: Path = PROC, root: Path = CGROUPS) -> Iterator[Group]:
    """The cgroups that may bound this process' memory, from its own up to the first."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and (root / "cgroup.controllers").exists():
            top, names = root, ("memory.current", "memory.max", (b"active_file", b"inactive_file"))
        elif "memory" in controllers.split(","):
            top = root / "memory"
            names = (
                "memory.usage_in_bytes",
                "memory.limit_in_bytes",
                (b"total_active_file", b"total_inactive_file"),
            )
        else:
            continue
        # In a container the path may be the host's, of which only the container's own part is there.
        own = top / path.lstrip("/")
        folder = own if own.is_dir() else top
        while True:
            if (folder / names[1]).exists():
                yield Group(folder, *names)
            if folder == top:
                break
            folder = folder.parent


def machine_bytes() -> int | None:
    """The machine's memory; None where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def process_bytes(proc: Path = PROC) -> int | None:
    """What this process and its children hold that only they can give back; None where nothing tells."""
    if not (proc / "self" / "statm").exists():
        return None if sys.platform == "win32" else _resident()
    own = str(os.getpid()) if proc == PROC else "self"
    waiting, seen, used = [own], 0, 0
    page = os.sysconf("SC_PAGE_SIZE")
    while waiting and seen < MOST_PROCESSES:
        process, seen = waiting.pop(), seen + 1
        try:
            if (proc / process / "comm").read_text().strip() == APART:
                continue
            resident, shared = (proc / process / "statm").read_bytes().split()[1:3]
            used += (int(resident) - int(shared)) * page
            for thread in (proc / process / "task").iterdir():
                waiting += (thread / "children").read_text().split()
        except (OSError, ValueError):  # it ended meanwhile, or its kernel lists no children
            continue
    return used


def _resident() -> int | None:
    try:
        told = subprocess.run(
            ["/bin/ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, timeout=2, check=True
        )
        return int(told.stdout) * 1024
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
