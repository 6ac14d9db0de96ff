"""Endpoints out of the variables that people already have set."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from porch.contract.errors import InvalidInput

OLLAMA_PORT = 11434
# What stands at the end of the examples in providers' documentation, from where addresses are copied.
PATHS = ("/chat/completions", "/responses", "/messages")


class ModelNotConfigured(InvalidInput):
    """Raised when a model's provider has no key, address or weights here; the message says what to set."""

    code = "model_not_configured"
    category = "auth"


def read_key(environ: Mapping[str, str], name: str) -> str | None:
    """A key as set, without spaces around it. Raises ModelNotConfigured for one that no header can carry."""
    key = environ.get(name, "").strip()
    if not key:
        return None
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ModelNotConfigured(
            f"{name} holds characters that no key has, such as a space or a line break; set it again."
        )
    return key


def read_url(environ: Mapping[str, str], name: str, default: str | None) -> str | None:
    """A base URL as set, else the default. Raises ModelNotConfigured for one that is no http(s) URL."""
    url = environ.get(name, "").strip().strip("'\"").rstrip("/")
    if not url:
        return default
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        whole = False
    if whole and ("?" in url or "#" in url):
        raise ModelNotConfigured(
            f"{name} has a ? or a # in it, behind which nothing can be asked; leave off what begins there."
        )
    if whole and (path := next((path for path in PATHS if url.endswith(path)), None)):
        raise ModelNotConfigured(f"{name} ends in {path}, which Porch adds itself; leave that off.")
    if not whole or not url.isprintable() or " " in url:
        raise ModelNotConfigured(
            f"{name} is not an http:// or https:// URL; write it like http://localhost:8000/v1."
        )
    return url


def ollama_url(environ: Mapping[str, str]) -> str:
    """Ollama's address from OLLAMA_HOST as Ollama itself reads it, its default where that is unset or odd.

    `host`, `host:port`, `:port`, `[::1]:port`, `http(s)://host:port/path`; 0.0.0.0 and :: mean this machine.
    """
    text = environ.get("OLLAMA_HOST", "").strip().strip("'\"")
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "http", text
        port = OLLAMA_PORT
    else:
        port = 443 if scheme == "https" else 80
    authority, _, path = rest.partition("/")
    host, port = _host_and_port(authority, port)
    path = "/" + path.strip("/") if path.strip("/") else ""
    return f"{'https' if scheme == 'https' else 'http'}://{host}:{port}{path}"


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[0-9a-fA-F:.%]+\]|[^:\[\]\s@]*)(?::(\d*))?", authority)
    if match:
        host, digits = match[1], match[2]
    elif re.fullmatch(r"[0-9a-fA-F:.]+", authority):
        host, digits = f"[{authority}]", None
    else:
        host, digits = "", None
    port = int(digits) if digits and len(digits) < 6 and 0 < int(digits) < 65536 else default
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host), port  # noqa: S104
