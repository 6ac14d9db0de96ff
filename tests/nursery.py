"""Servers and commands in processes that begin with everything imported, where most of a start's time goes.

A session starts some hundred servers and commands that are there for something else than their start. One process for
each worker has imported Porch, and forks itself for every one of them: it gets its own arguments, environment, files
and session, and runs the same `main()`. What is about a start, a terminal or an installation starts Python anew.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

SERVER, COMMAND = "porch.cli.child", "porch.cli.main"
LONGEST = 1 << 20
MOST_FILES = 8
BURY = b"b"
# How long the nursery may take for what is asked of it; the first time it imports everything.
SERVED_SECONDS = 60.0


class Fledgling:
    """A process of the nursery's, as `subprocess.Popen` would show it."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._line = line

    def poll(self) -> int | None:
        """The exit code, once it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            # Not zero, which would be no waiting at all, but an error in place of an end that is there already.
            self._line.settimeout(timeout if timeout is None else max(timeout, 0.001))
            try:
                told = self._line.recv(100)
            except TimeoutError:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0) from None
            self.returncode = int(told) if told else -signal.SIGKILL
            self._line.settimeout(SERVED_SECONDS)
            # As with Popen, its number stays taken until somebody knows of its end, and no longer.
            with contextlib.suppress(ConnectionError):
                self._line.sendall(BURY)
                self._line.recv(1)
            self._line.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal unless it is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it by force."""
        self.send_signal(signal.SIGKILL)


def hatch(
    module: str,
    arguments: Sequence[str],
    *,
    files: Sequence[int],
    pass_fd: int | None = None,
    env: Mapping[str, str] | None = None,
) -> Fledgling:
    """Run a module's `main()` with these as stdin, stdout and stderr, in a session of its own.

    `pass_fd` is there besides; its number is the last argument.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        asked = {
            "module": module,
            "arguments": list(arguments),
            "env": dict(os.environ if env is None else env),
        }
        passed = [theirs.fileno(), *files, *([] if pass_fd is None else [pass_fd])]
        socket.send_fds(_nursery(), [json.dumps(asked).encode()], passed)
    ours.settimeout(SERVED_SECONDS)
    pid = ours.recv(100)
    if not pid:
        raise RuntimeError("The nursery is gone.")
    return Fledgling(int(pid), ours)


@functools.cache
def _nursery() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    atexit.register(lambda: (ours.close(), process.wait(10)))
    return ours


class Nursery:
    """The process that forks."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._lines: dict[int, socket.socket] = {}
        self._ended: set[int] = set()

    def serve(self) -> Callable[[], NoReturn] | None:
        """Fork for whoever asks, until nobody can; in a new process, answer what that is to run."""
        bell, ringer = socket.socketpair()
        for end in (bell, ringer):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, _wake)
        signal.set_wakeup_fd(ringer.fileno())
        with selectors.DefaultSelector() as selector:
            selector.register(self._requests, selectors.EVENT_READ, None)
            selector.register(bell, selectors.EVENT_READ, 0)
            while True:
                for key, _ in selector.select():
                    if key.data is None:
                        request, files, _, _ = socket.recv_fds(self._requests, LONGEST, MOST_FILES)
                        if not request:
                            return None
                        pid = os.fork()
                        if pid == 0:
                            for line in self._lines.values():
                                line.close()
                            return functools.partial(_become, json.loads(request), files)
                        self._note(pid, files, selector)
                    elif key.data == 0:
                        bell.recv(1000)
                        self._tell_ends()
                    else:
                        self._bury(key.data, selector)

    def _note(self, pid: int, files: list[int], selector: selectors.BaseSelector) -> None:
        line = self._lines[pid] = socket.socket(fileno=files[0])
        for file in files[1:]:
            os.close(file)
        line.sendall(str(pid).encode())
        selector.register(line, selectors.EVENT_READ, pid)
        self._tell_ends()  # it may have ended before its line was noted

    def _tell_ends(self) -> None:
        for pid in self._lines.keys() - self._ended:
            if found := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                self._ended.add(pid)
                code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
                with contextlib.suppress(OSError):
                    self._lines[pid].sendall(str(code).encode())

    def _bury(self, pid: int, selector: selectors.BaseSelector) -> None:
        line = self._lines[pid]
        if pid in self._ended:
            os.waitpid(pid, 0)
            self._ended.remove(pid)
            del self._lines[pid]
        selector.unregister(line)
        if pid not in self._lines:
            with contextlib.suppress(OSError):
                line.sendall(BURY)
            line.close()


def _wake(_number: int, _frame: object) -> None:
    """Rings the bell."""


def _become(asked: dict[str, Any], files: list[int]) -> NoReturn:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.close(files[0])
    for number, file in enumerate(files[1:4]):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # for as long as it lives
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # for as long as it lives
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = [asked["module"], *asked["arguments"], *map(str, files[4:])]
    sys.exit(importlib.import_module(asked["module"]).main())


def _import_everything() -> None:
    from porch.cli.root import COMMANDS

    for module, _ in COMMANDS.values():
        importlib.import_module(f"porch.cli.{module}")
    for name in (
        "porch.cli.child",
        "porch.cli.reply",
        "porch.cli.story",
        "porch.client",
        "porch.web.listener",
    ):
        importlib.import_module(name)
    importlib.import_module("porch.web.server")
    gc.freeze()


def _main() -> None:
    requests = socket.socket(fileno=int(sys.argv[1]))
    gc.disable()
    _import_everything()
    gc.enable()
    run = Nursery(requests).serve()
    if run:
        requests.close()
        run()


if __name__ == "__main__":
    _main()
