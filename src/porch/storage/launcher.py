"""A program of its own: drops to an account, ties its life to its parent's, and becomes the given command.

Run by path, never imported: `python -I -S launcher.py UID GID PARENT COMMAND…`. UID and GID -1 keep the
account; PARENT 0 lets the command outlive its parent. It exists because doing this between fork and exec in a
process with threads is not safe, and because changing the account clears the parent-death signal (prctl(2)).
"""

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def find_prctl() -> "Callable[[int, int], int] | None":
    """Linux's prctl; None elsewhere, where the next start stops what was left behind."""
    if sys.platform != "linux":
        return None
    try:
        import ctypes
    except ImportError:
        return None
    return ctypes.CDLL(None).prctl


def main() -> None:
    """Becomes the command; exits with 127 and a sentence on stderr when it cannot."""
    uid, gid, parent = (int(value) for value in sys.argv[1:4])
    command = sys.argv[4:]
    # Loaded while the interpreter's own folder can still be read.
    prctl = find_prctl() if parent else None
    try:
        if uid >= 0:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        os.umask(0o077)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if prctl:
            prctl(PR_SET_PDEATHSIG, signal.SIGINT)
            if os.getppid() != parent:
                sys.exit(0)
        os.execv(command[0], command)  # noqa: S606 - becoming that program is the purpose
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]} as uid {uid}: {error}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
