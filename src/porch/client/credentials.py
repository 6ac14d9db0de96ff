"""Where the server is and what to show it: from arguments, the environment, or a server of this machine."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from porch.contract.errors import SetupError

URL, TOKEN, DATA_DIR = "PORCH_URL", "PORCH_TOKEN", "PORCH_DATA_DIR"
FILE = "credentials.json"
_VISIBLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Access:
    """A server's address, and a token for it that no `repr` shows."""

    url: str
    token: str = field(repr=False)


class _File(msgspec.Struct, frozen=True):
    url: str
    token: str


def find_access(
    url: str | None = None, token: str | None = None, *, environ: Mapping[str, str] = os.environ
) -> Access:
    """Both as given, else by PORCH_URL and PORCH_TOKEN, else from the `credentials.json` of the data folder.

    The token of that file goes to the address of that file and to no other. Raises SetupError with what to give.
    """
    url, token = url or environ.get(URL), token or environ.get(TOKEN)
    if url is not None:
        url = _check_url(url)
    if url is None or token is None:
        path = Path(environ.get(DATA_DIR) or "~/.porch").expanduser() / FILE
        found = _read(path)
        if url is None:
            if found is None:
                raise SetupError(
                    f"No server is known: there is no {str(path)!r}. Start one with porch up, or give url and "
                    f"token, or set {URL} and {TOKEN}."
                )
            url = _check_url(found.url)
        if token is None:
            if found is None or found.url.rstrip("/") != url:
                raise SetupError(
                    f"There is no token for {url}. Give a token (token=, or --token for a command), or set {TOKEN}."
                )
            token = found.token
    if not _VISIBLE.fullmatch(token):
        raise SetupError("The token holds spaces or signs that no token has. Copy it once more.")
    return Access(url, token)


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        whole = False
        parts = urlsplit("")
    if not whole or parts.query or parts.fragment or "@" in parts.netloc or not _VISIBLE.fullmatch(url):
        raise SetupError(
            f"{re.sub('//[^/]*@', '//***@', url)[:100]!r} is no server's address; write it as http://localhost:8642."
        )
    return url.rstrip("/")


def _read(path: Path) -> _File | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SetupError(f"{str(path)!r} cannot be read: {error.strerror}. Give url and token.") from error
    except msgspec.MsgspecError as error:
        raise SetupError(f"{str(path)!r} is broken. Start the server anew: it writes the file.") from error
