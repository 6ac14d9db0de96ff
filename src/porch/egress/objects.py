"""Objects in an S3-compatible store: written, read and removed by name.

The library signs and sends by itself, beside this room's own client: the place is the operator's, named in the
settings like the database, and no URL of a workspace ever comes here.
"""

import asyncio
import logging
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlsplit

from porch.contract.errors import SetupError
from porch.egress.failures import EgressError

log = logging.getLogger(__name__)

CONNECT_SECONDS, WHOLE_SECONDS = 5, 60
MISSING = "Archives in S3 need a package that is not installed here. Install it beside Porch: pip install 'porch[s3]'."


class ObjectStore:
    """A bucket, or the part of it behind a prefix. Errors name neither keys nor addresses."""

    def __init__(self, library: Any, store: Any) -> None:
        self._library = library
        self._store = store

    @classmethod
    def open(cls, url: str, proxy: str | None = None) -> Self:
        """The place of `s3://bucket/prefix`; keys, region and endpoint are the AWS_* variables'. Raises SetupError."""
        try:
            import obstore  # a compiled extra: the default installation is without it
            from obstore.store import S3Store
        except ImportError as error:
            raise SetupError(MISSING) from error
        parts = urlsplit(url)
        client: dict[str, Any] = {
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=WHOLE_SECONDS),
            # An endpoint of one's own network may speak plain HTTP, when its URL says so.
            "allow_http": True,
        }
        if proxy:
            client["proxy_url"] = proxy
        retry: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
        prefix = parts.path.strip("/") or None
        try:
            store = S3Store(parts.netloc, prefix=prefix, client_options=client, retry_config=retry)  # pyright: ignore[reportArgumentType] - its types want literals
        except Exception as error:  # its own errors repeat the configuration
            raise SetupError(
                f"The archive {url!r} cannot be used with these AWS_* variables ({type(error).__name__}). "
                "Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, or AWS_ENDPOINT_URL for another server."
            ) from None
        return cls(obstore, store)

    async def put(self, name: str, data: bytes) -> None:
        """Write an object, in the place of one that is there. Raises EgressError."""
        await self._ask(self._library.put_async(self._store, name, data))

    async def get(self, name: str) -> bytes | None:
        """An object's bytes; None where there is none. Raises EgressError."""
        try:
            found = await self._ask(self._library.get_async(self._store, name))
            return bytes(await self._ask(found.bytes_async()))
        except FileNotFoundError:
            return None

    async def delete(self, name: str) -> None:
        """Remove an object, if there is one. Raises EgressError."""
        try:
            await self._ask(self._library.delete_async(self._store, name))
        except FileNotFoundError:
            return

    async def _ask(self, call: Any) -> Any:
        try:
            return await call
        except (FileNotFoundError, asyncio.CancelledError):
            raise
        except Exception as error:
            # What the library says may hold the request; its kind is enough to look further.
            log.debug("The object store failed: %s", type(error).__name__)
            refused = isinstance(error, PermissionError) or "Denied" in type(error).__name__
            cause = "forbidden" if refused else "protocol"
            why = "it refused the key" if refused else type(error).__name__
            raise EgressError(f"The archive did not do what it was asked ({why}).", cause) from None
