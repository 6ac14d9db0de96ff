"""What a process's runs are like just now, as figures that are read when they are asked for."""

from typing import TYPE_CHECKING

from porch.telemetry import names

if TYPE_CHECKING:
    from porch.runs.service import Runs


def show_state(runs: "Runs") -> None:
    """Have a process's telemetry show what it carries, and whom it is with."""
    watch = runs.telemetry.watch
    watch(names.RUNS_STARTED, "Runs that this process began.", lambda: runs.started, "counter")
    watch(names.RUNS_TAKEN_OVER, "Runs that it took over.", lambda: runs.taken_over, "counter")
    watch(names.RUNS_ACTIVE, "Runs that it carries.", lambda: runs.active)
    watch(names.STREAMS_OPEN, "Readers that follow a run here.", lambda: len(runs.readers))
    watch(names.TAILS, "Runs of other processes that are followed here.", lambda: len(runs.tails))
    watch(names.REPLICAS, "Other processes that take runs.", lambda: runs.replicas.others)
    watch(names.BUS_UP, "Whether it hears other processes.", lambda: int(runs.bus.up))
    pressure = runs.pressure
    watch(names.MEMORY_USED, "Taken of what bounds it most closely.", lambda: pressure.used, unit="By")
    watch(names.MEMORY_LIMIT, "That bound.", lambda: pressure.limit, unit="By")
    watch(names.MEMORY_SHORT, "1 while new work is refused.", lambda: float(pressure.shedding))
    watch(names.WORK_REFUSED, "Refused for want of room.", lambda: pressure.refused, "counter")
    watch(names.READERS_WAITING, "What waits for slow readers.", lambda: runs.backlog.bytes, unit="By")
    watch(names.JOURNAL_WAITING, "Produced but not committed.", lambda: runs.waiting_bytes, unit="By")
