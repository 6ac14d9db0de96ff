"""The demo model's child process: started when first needed, replaced when it dies, gone with its parent."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from porch.background import end
from porch.contract.errors import PorchError, SetupError, Unavailable
from porch.models.local import weights

START_SECONDS = 60.0
STOP_SECONDS = 2.0
FORGET_SECONDS = 60.0
MOST_CRASHES = 20
FIRST_PAUSE = 0.1

# The child gets these and no more: what lies in the server's environment includes people's keys.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the child listens: an OpenAI-compatible base URL and the bearer key it insists on."""

    base_url: str
    api_key: str = field(repr=False)


class LocalModel:
    """The bundled model as one lazily started child process.

    All methods belong to one event loop and never block it. `data_dir` holds `models/` and `logs/`.
    """

    def __init__(self, data_dir: Path, *, command: Sequence[str] | None = None) -> None:
        """`command` stands in for the child (it gets the weights' path and the log's path appended)."""
        self._data_dir = data_dir
        self._command = command or (sys.executable, "-P", "-m", "porch.models.local.serve")
        self._child: _Child | None = None
        self._launching: asyncio.Task[None] | None = None
        self._crashes: deque[float] = deque()
        self._trouble: PorchError | None = None

    @property
    def log(self) -> Path:
        """The file that holds what the child's native code printed since it started."""
        return self._data_dir / "logs" / "local-model.log"

    @property
    def state(self) -> str:
        """`absent` (no weights), `idle`, `starting`, `ready`, or `failed: ` and a sentence."""
        if self._launching is not None:
            return "starting"
        self._bury()
        if self._child is not None:
            return "ready"
        try:
            weights.find(self._data_dir)
        except SetupError:
            return "absent"
        return f"failed: {self._trouble.message}" if self._trouble else "idle"

    @property
    def pid(self) -> int | None:
        """The child's process id while it is ready."""
        self._bury()
        return self._child.process.pid if self._child else None

    @property
    def load_seconds(self) -> float | None:
        """How long the child that is ready took to load the weights."""
        return self._child.load_seconds if self._child else None

    async def start(self) -> None:
        """Have the child ready; callers at the same time share one start.

        Raises SetupError when the weights are missing, Unavailable when the child does not come up.
        """
        self._bury()
        if self._child is not None:
            return
        if self._launching is None:
            self._launching = asyncio.create_task(self._launch(), name="local-model-start")
            self._launching.add_done_callback(self._launched)
        launching = self._launching
        try:
            # A caller that goes away must not take the others' start with it.
            await asyncio.shield(launching)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if launching.cancelled() and not (caller and caller.cancelling()):
                raise Unavailable("The bundled model was stopped while it started.") from None
            raise

    async def endpoint(self) -> Endpoint:
        """Answer where the model is, starting or replacing the child where needed. Raises like `start`."""
        await self.start()
        if self._child is None:
            raise Unavailable("The bundled model was stopped while it started.")
        return self._child.endpoint

    async def warm(self, instructions: str) -> None:
        """Let the model read a system prompt ahead, so that a first answer under it comes sooner."""
        await self.start()
        if self._child is not None:
            await asyncio.to_thread(self._child.say, instructions)

    async def stop(self) -> None:
        """End the child and wait until it is gone. A later `start` begins anew."""
        if self._launching is not None:
            await end(self._launching)
        child, self._child = self._child, None
        if child is not None:
            ending = asyncio.create_task(asyncio.to_thread(child.end), name="local-model-end")
            if not (await asyncio.wait([ending], timeout=STOP_SECONDS * 2))[0]:
                child.process.kill()  # it reads nothing any more, and what is being said to it is waited for
                await end(ending, grace=STOP_SECONDS)

    async def _launch(self) -> None:
        file = weights.find(self._data_dir)
        await asyncio.sleep(self._pause())
        try:
            child = _Child([*self._command, str(file), str(self.log)])
        except OSError as error:
            raise Unavailable(f"The bundled model could not be started: {error.strerror}.") from error
        try:
            async with asyncio.timeout(START_SECONDS):
                await asyncio.to_thread(child.listen)
        except asyncio.CancelledError:
            await asyncio.to_thread(child.end, patience=0)
            raise
        except (TimeoutError, _StartError) as error:
            await asyncio.to_thread(child.end, patience=0)
            self._crashes.append(time.monotonic())
            reason = str(error) or f"no sign of life for {START_SECONDS:.0f} s"
            raise Unavailable(
                f"The bundled model did not start: {reason}. {self._log_hint()} "
                "`porch doctor` checks the rest."
            ) from error
        self._child = child

    def _launched(self, task: asyncio.Task[None]) -> None:
        self._launching = None
        error = None if task.cancelled() else task.exception()
        self._trouble = error if isinstance(error, PorchError) else None

    def _bury(self) -> None:
        """Notice a child that has died since."""
        if self._child is None or self._child.process.poll() is None:
            return
        code = self._child.process.returncode
        self._crashes.append(time.monotonic())
        self._trouble = Unavailable(
            f"The bundled model {_manner_of_death(code)}. It comes back with the next message. "
            f"{self._log_hint()}"
        )
        self._child.end()
        self._child = None

    def _pause(self) -> float:
        """Seconds to wait before another start, longer with each recent crash."""
        now = time.monotonic()
        while self._crashes and self._crashes[0] < now - FORGET_SECONDS:
            self._crashes.popleft()
        if len(self._crashes) >= MOST_CRASHES:
            wait = self._crashes[0] + FORGET_SECONDS - now
            raise Unavailable(
                f"The bundled model stopped {len(self._crashes)} times within a minute and rests for "
                f"{wait:.0f} s. {self._log_hint()} Until then choose another model for this agent."
            )
        return FIRST_PAUSE * 2 ** (min(len(self._crashes), 5) - 1) if self._crashes else 0

    def _log_hint(self) -> str:
        return f"Its log is {str(self.log)!r}."


def _manner_of_death(code: int) -> str:
    if code == -9:
        return "was killed (signal 9; by hand, or because the machine ran out of memory)"
    return f"was ended by signal {-code}" if code < 0 else f"ended by itself with exit code {code}"


class _StartError(Exception):
    """Raised when the child ended, or reported an error, before it was ready."""


class _Child:
    """One child process and the two pipes to it. `listen`, `say` and `end` block."""

    endpoint: Endpoint
    load_seconds: float

    def __init__(self, command: Sequence[str]) -> None:
        # A session of its own: Ctrl-C in the terminal reaches the server alone, which then ends this one.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ}
            | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self._said = cast("IO[bytes]", self.process.stdin)
        self._heard = cast("IO[bytes]", self.process.stdout)

    def listen(self) -> None:
        """Wait for the one line that says where the child is. Raises _StartError."""
        line = self._heard.readline()
        if not line:
            raise _StartError(f"it {_manner_of_death(self.process.wait())}")
        report: dict[str, Any] = json.loads(line)
        if "error" in report:
            raise _StartError(str(report["error"]).rstrip("."))
        self.endpoint = Endpoint(f"{report['url']}/v1", report["api_key"])
        self.load_seconds = report["load_seconds"]

    def say(self, instructions: str) -> None:
        """Send a system prompt to be read ahead; a child that just died is left for others to notice."""
        line = json.dumps(instructions).encode() + b"\n"
        # Into a file that `end` has closed, in another thread, nothing is written: that is the ValueError.
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._said.write(line)
            self._said.flush()

    def end(self, patience: float = STOP_SECONDS) -> None:
        """Close the child's input, which ends it; kill it when it takes longer than `patience` seconds."""
        with contextlib.suppress(BrokenPipeError):
            self._said.close()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._heard.close()
