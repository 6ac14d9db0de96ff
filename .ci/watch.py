"""Runs a command, sums up the memory of all it starts, and ends what it leaves behind.

Orphans come back here, since this process is their "subreaper" (prctl(2)); so a server that was meant to outlive
its parent is still part of the tree. Linux only; elsewhere the figure is missing and nothing is adopted.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 20


def parents() -> dict[int, int]:
    """Every living process with its parent."""
    found: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            found[int(entry.parent.name)] = int(fields[1])
    return found


def below(root: int) -> set[int]:
    """All descendants of a process."""
    family, tree = parents(), {root}
    while more := {child for child, parent in family.items() if parent in tree} - tree:
        tree |= more
    return tree - {root}


def proportional_kib(pid: int) -> int:
    """A process' share of memory: what it alone holds, and its part of what it shares (PSS); 0 if unreadable."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def sample(report: Path) -> None:
    """Write down the highest sum seen, for as long as this process lives."""
    peak = 0
    while True:
        tree = below(os.getpid())
        total = sum(proportional_kib(pid) for pid in tree)
        if total > peak:
            peak = total
            new = report.with_suffix(".new")
            new.write_text(
                f"{peak / 1024:,.0f} MiB (PSS of the whole process tree, {len(tree)} processes, "
                f"sampled every {EVERY_SECONDS} s)"
            )
            new.replace(report)
        time.sleep(EVERY_SECONDS)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[:150]
    except OSError:
        return "?"


def left(watcher: int) -> int:
    """Wait until the watcher has no descendants but this process' own line; name those that stay."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        family, mine = parents(), {os.getpid()}
        for _ in range(8):
            mine |= {family[pid] for pid in mine if pid in family and family[pid] != watcher}
        others = [pid for pid in below(watcher) if pid not in mine and not is_plumbing(pid, mine)]
        if not others or time.monotonic() > deadline:
            break
        time.sleep(0.25)
    for pid in others:
        sys.stdout.write(f"still running: {pid} {command_of(pid)}\n")
    return 1 if others else 0


def is_plumbing(pid: int, mine: set[int]) -> bool:
    """The `tee` beside us."""
    return parents().get(pid) in mine and command_of(pid).startswith("tee ")


def watch(command: list[str]) -> int:
    """Run the command to its end and answer its exit code."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    place = Path(tempfile.mkdtemp(prefix="porch-ci-"))
    (place / "peak").write_text("not measured here")
    child = subprocess.Popen(
        command, env={**os.environ, "CI_WATCH": str(place), "CI_WATCHER": str(os.getpid())}
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: child.terminate())
    threading.Thread(target=sample, args=(place / "peak",), daemon=True).start()
    try:
        while True:
            pid, status = os.wait()
            if pid == child.pid:
                return os.waitstatus_to_exitcode(status)
    finally:
        while remaining := below(os.getpid()):
            for pid in remaining:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1] == "--left":
        sys.exit(left(int(os.environ["CI_WATCHER"])))
    sys.exit(watch(sys.argv[1:]) & 0xFF)
