"""An OpenID Connect provider as this server knows it: where it is asked what, and by which keys it signs.

Sources: OpenID Connect Discovery 1.0; RFC 6749, 7636 (PKCE), 8414 and 9207.
"""

import asyncio
import base64
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from porch.contract.errors import PorchError
from porch.identity.oidc_tokens import Expected, Identity, KeyUnknown, OidcRefused, read_token

KEPT_SECONDS = 3600.0
# What is asked again for a key that is not known: not more often, whoever sends such tokens.
AGAIN_SECONDS = 30.0
MOST_BYTES = 256 * 1024
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Fetch(Protocol):
    """One request to the provider, whole and in bounded time."""

    async def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, bytes]:
        """Status and body. Raises PorchError when nobody answers."""
        ...


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says of itself."""

    authorization: str
    token: str
    keys: str
    basic: bool
    names_itself: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What one sign-in is told by, all of it from a secret that its browser alone keeps."""

    state: str
    nonce: str
    verifier: str = field(repr=False)

    @property
    def challenge(self) -> str:
        """What goes along of the verifier (S256)."""
        return _base64(hashlib.sha256(self.verifier.encode()).digest())


class Provider:
    """The provider of the settings. What it says of itself is kept for an hour."""

    def __init__(
        self, fetch: Fetch, issuer: str, client_id: str, secret: str | None, name: str | None
    ) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self.name = name or urlsplit(issuer).hostname or issuer
        self._fetch = fetch
        self._secret = secret
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, list[Any]] | None = None
        self._lock = asyncio.Lock()

    async def way(self, asked: Asked, redirect_uri: str) -> str:
        """Where the browser goes to sign in. Raises OidcRefused."""
        told = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid profile",
            "state": asked.state,
            "nonce": asked.nonce,
            "code_challenge": asked.challenge,
            "code_challenge_method": "S256",
        }
        place = (await self._known()).authorization
        return f"{place}{'&' if urlsplit(place).query else '?'}{urlencode(told)}"

    async def check_issuer(self, named: str | None) -> None:
        """Raise OidcRefused where the answer is another provider's (RFC 9207)."""
        known = await self._known()
        if (named is None and known.names_itself) or named not in (None, self.issuer):
            raise OidcRefused("The answer is not from the provider that was asked. Begin again.")

    async def identify(self, code: str, asked: Asked, redirect_uri: str) -> Identity:
        """Who has signed in there, for the code that it gave. Raises OidcRefused."""
        known = await self._known()
        told = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": asked.verifier,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._secret is None:
            told["client_id"] = self.client_id
        elif known.basic:
            pair = f"{quote(self.client_id, safe='')}:{quote(self._secret, safe='')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            told |= {"client_id": self.client_id, "client_secret": self._secret}
        found = await self._ask(
            "POST", known.token, headers, urlencode(told).encode(), "its word for the code"
        )
        token = found.get("id_token")
        if not isinstance(token, str):
            raise OidcRefused("The provider did not say who you are. Begin again.")
        expected = Expected(self.issuer, self.client_id, asked.nonce)
        try:
            return read_token(token, await self._signers(), expected, time.time())
        except KeyUnknown:
            return read_token(token, await self._signers(again=True), expected, time.time())

    async def _known(self) -> Metadata:
        async with self._lock:
            if self._metadata is None or self._metadata[0] < time.monotonic():
                place = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
                found = await self._ask(
                    "GET", place, {"Accept": "application/json"}, b"", "what it says of itself"
                )
                self._metadata = time.monotonic() + KEPT_SECONDS, self._read(found)
            return self._metadata[1]

    def _read(self, found: Mapping[str, Any]) -> Metadata:
        if found.get("issuer") != self.issuer:
            raise OidcRefused(
                f"The provider calls itself {str(found.get('issuer'))[:200]!r}. Whoever runs this Porch sets "
                "oidc_issuer to just that."
            )
        places = [found.get(f"{name}") for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        if not all(_is_safe(place) for place in places):
            raise OidcRefused(
                "The provider does not say where it is asked, or not by https. Tell whoever runs it."
            )
        ways = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        authorization, token, keys = cast("list[str]", places)
        names_itself = found.get("authorization_response_iss_parameter_supported") is True
        return Metadata(authorization, token, keys, "client_secret_basic" in ways, names_itself)

    async def _signers(self, *, again: bool = False) -> list[Any]:
        known = await self._known()
        async with self._lock:
            moment = time.monotonic()
            old = self._keys is None or self._keys[0] + KEPT_SECONDS < moment
            if old or (again and self._keys and self._keys[0] + AGAIN_SECONDS < moment) or self._keys is None:
                found = await self._ask("GET", known.keys, {"Accept": "application/json"}, b"", "its keys")
                keys = found.get("keys")
                self._keys = moment, cast("list[Any]", keys) if isinstance(keys, list) else []
            return self._keys[1]

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, what: str
    ) -> Mapping[str, Any]:
        try:
            status, content = await self._fetch(method, url, headers, body)
        except PorchError as error:
            raise OidcRefused(f"{self.name} could not be asked for {what}. Try again in a moment.") from error
        try:
            found = msgspec.json.decode(content) if len(content) <= MOST_BYTES else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = None
        if status != 200 or not isinstance(found, dict):
            raise OidcRefused(f"{self.name} did not give {what} (it answered {status}). Begin again.")
        return cast("Mapping[str, Any]", found)


def _is_safe(place: Any) -> bool:
    if not isinstance(place, str) or len(place) > 2000:
        return False
    try:
        parts = urlsplit(place)
    except ValueError:
        return False
    plain = parts.scheme == "http" and parts.hostname in LOOPBACK
    return bool(parts.hostname) and (parts.scheme == "https" or plain) and not parts.fragment


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
