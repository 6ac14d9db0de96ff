"""Folders as the system makes them for cgroups, with figures that a test sets."""

from pathlib import Path

from porch.web.memory import Memory

MIB = 1 << 20
GIB = 1 << 30


class CgroupV2:
    """A process in a cgroup of version 2, one below the first. It reads `proc` and `root` for /proc and /sys."""

    controllers = "0::/inner/own\n"
    names = ("memory.max", "memory.current")
    prefix = ""

    def __init__(self, place: Path, *, limit: int | None) -> None:
        self.proc, self.root = place / "proc", place / "cgroup"
        self.folder = self._folder()
        (self.proc / "self").mkdir(parents=True)
        self.folder.mkdir(parents=True)
        (self.proc / "self" / "cgroup").write_text(self.controllers)
        (self.folder / self.names[0]).write_text(f"{limit or 'max'}\n")
        self.set(current=0)

    def _folder(self) -> Path:
        self.root.mkdir()
        (self.root / "cgroup.controllers").write_text("cpu memory\n")
        return self.root / "inner" / "own"

    def set(self, *, current: int, active_file: int = 0, inactive_file: int = 0) -> None:
        """So much is taken, and so much of it are pages of files."""
        (self.folder / self.names[1]).write_text(f"{current}\n")
        (self.folder / "memory.stat").write_text(
            f"anon {current}\n{self.prefix}active_file {active_file}\n{self.prefix}inactive_file {inactive_file}\n"
        )

    def memory(self) -> Memory:
        """What is read there. The process itself is nowhere near its own limit."""
        return Memory(1 << 50, proc=self.proc, cgroups=self.root)


class CgroupV1(CgroupV2):
    """The same of version 1."""

    controllers = "9:name=systemd:/\n4:cpu,memory:/own\n0::/\n"
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    prefix = "total_"

    def _folder(self) -> Path:
        return self.root / "memory" / "own"
