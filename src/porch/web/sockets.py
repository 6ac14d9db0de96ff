"""Where the server listens: sockets opened before anything else, so that a port in use is known at once."""

import contextlib
import errno
import socket

from porch.contract.errors import SetupError

LOOPBACK = ("127.0.0.1", "::1")
BACKLOG = 2048
OPEN_FILES = 65_536
# What the system keeps for a connection that does not take it: left alone it takes megabytes for each.
SEND_BUFFER_BYTES = 128 * 1024
TRIES = 20


def open_sockets(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for a host; `localhost` means 127.0.0.1 and ::1, on the same port.

    Port 0 takes any free one. Raises SetupError for a port in use or a host that is not here.
    """
    allow_connections()
    addresses = LOOPBACK if host == "localhost" else (host,)
    for attempt in range(TRIES):
        opened: list[socket.socket] = []
        try:
            for address in addresses:
                at = opened[0].getsockname()[1] if opened else port
                if found := _open(address, at, optional=bool(opened)):
                    opened.append(found)
            return opened
        except OSError as error:
            for sock in opened:
                sock.close()
            if port == 0 and error.errno == errno.EADDRINUSE and attempt + 1 < TRIES:
                continue  # free on 127.0.0.1 and taken on ::1: try another
            raise _explain(error, host, port) from error
    raise AssertionError("unreachable")


def allow_connections() -> None:
    """Let this process have as many files open as it may without asking: each stream and each upstream is one."""
    try:
        import resource
    except ImportError:
        return  # a system that counts them otherwise
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def url_of(sockets: list[socket.socket], host: str) -> str:
    """The URL that people are given: `http://localhost:8642` for all that is local."""
    name = "localhost" if host in ("localhost", "0.0.0.0", "::", *LOOPBACK) else host  # noqa: S104  # names, not binds
    return f"http://{f'[{name}]' if ':' in name else name}:{sockets[0].getsockname()[1]}"


def _open(address: str, port: int, *, optional: bool) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        if optional:
            return None  # a machine without IPv6
        raise
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # those accepted inherit it
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise
    sock.setblocking(False)
    return sock


def _explain(error: OSError, host: str, port: int) -> SetupError:
    if error.errno == errno.EADDRINUSE:
        return SetupError(
            f"Port {port} on {host} is in use by another program. Stop that one, or choose another port with "
            "--port (0 takes any free one)."
        )
    if error.errno == errno.EACCES:
        return SetupError(
            f"Port {port} needs more rights than this user has. Choose one above 1023 with --port."
        )
    return SetupError(
        f"The server cannot listen on {host!r}, port {port}: {error.strerror}. Correct --host or --port."
    )
