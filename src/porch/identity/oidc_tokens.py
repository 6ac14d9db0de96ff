"""ID tokens: who somebody is, in a provider's signed words, checked before any of it is believed.

Sources: OpenID Connect Core 1.0, section 3.1.3.7; RFC 7515, 7517, 7518 and 8037; RFC 8725.
"""

import base64
import binascii
import hmac
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from porch.contract.errors import PorchError

# What signs: no `none`, and no secret that both sides know (HS256), which makes whoever checks able to sign.
KINDS = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
MOST_BYTES = 32 * 1024
MOST_KEYS = 100
LONGEST_SUBJECT = 255
SKEW_SECONDS = 60.0
SMALLEST_RSA, LARGEST_RSA = 2048, 8192
_PART = re.compile(r"[A-Za-z0-9_-]+")


class OidcRefused(PorchError):
    """Raised when a provider, or what it says, cannot be trusted or understood; the sentence says what to do."""

    code = "oidc_refused"
    status = 502
    category = "network"


class KeyUnknown(OidcRefused):
    """Raised when none of the keys that are known signed a token: the provider may have new ones."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an ID token must say: by whom it is, for whom, and for which sign-in."""

    issuer: str
    client_id: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is at a provider, and what they may like to be called here."""

    issuer: str
    subject: str
    login: str
    name: str


def read_token(token: str, keys: Sequence[Any], expected: Expected, now: float) -> Identity:
    """Who a token says somebody is. Raises OidcRefused, and KeyUnknown where newer keys may help."""
    parts = token.split(".") if len(token) <= MOST_BYTES else []
    if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
        raise _wrong("it is not a signed token")
    header, claims = _object(parts[0]), _object(parts[1])
    algorithm = header.get("alg")
    if algorithm not in KINDS:
        raise _wrong("it is not signed with RS256, ES256 or EdDSA")
    if "crit" in header:
        raise _wrong("it asks for what is not known here (crit)")
    key = find_key(keys, algorithm, header.get("kid"))
    if not _signs(key, algorithm, f"{parts[0]}.{parts[1]}".encode("ascii"), _bytes(parts[2])):
        raise _wrong("its signature does not fit")
    _check_claims(claims, expected, now)
    return _identity(claims, expected.issuer)


def find_key(keys: Sequence[Any], algorithm: str, kid: Any) -> Mapping[str, Any]:
    """The key of a set that a token names; one that names none is signed by the only key that can have."""
    fit: list[Mapping[str, Any]] = []
    for each in keys[:MOST_KEYS]:
        if isinstance(each, dict):
            key = cast("Mapping[str, Any]", each)
            signs = key.get("kty") == KINDS[algorithm] and key.get("use") in (None, "sig")
            if signs and key.get("alg") in (None, algorithm) and (kid is None or key.get("kid") == kid):
                fit.append(key)
    if len(fit) != 1:
        raise KeyUnknown(_sentence("none of its keys is the one that signed"))
    return fit[0]


def _signs(key: Mapping[str, Any], algorithm: str, signed: bytes, signature: bytes) -> bool:
    try:
        if algorithm == "RS256":
            public = rsa.RSAPublicNumbers(_number(key, "e"), _number(key, "n")).public_key()
            if not SMALLEST_RSA <= public.key_size <= LARGEST_RSA:
                raise _wrong("its key is too short or too long")
            public.verify(signature, signed, padding.PKCS1v15(), SHA256())
        elif algorithm == "ES256":
            if key.get("crv") != "P-256" or len(signature) != 64:
                return False
            numbers = ec.EllipticCurvePublicNumbers(_number(key, "x"), _number(key, "y"), ec.SECP256R1())
            pair = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
            numbers.public_key().verify(encode_dss_signature(*pair), signed, ec.ECDSA(SHA256()))
        else:
            if key.get("crv") != "Ed25519":
                return False
            ed25519.Ed25519PublicKey.from_public_bytes(_bytes(key.get("x"))).verify(signature, signed)
    except InvalidSignature:
        return False
    except (ValueError, UnsupportedAlgorithm):
        raise _wrong("its key cannot be used") from None
    return True


def _check_claims(claims: Mapping[str, Any], expected: Expected, now: float) -> None:
    if claims.get("iss") != expected.issuer:
        raise _wrong("it is of another issuer")
    audience = claims.get("aud")
    several = cast("list[Any]", audience) if isinstance(audience, list) else [audience]
    if expected.client_id not in several:
        raise _wrong("it is for another client")
    authorized = claims.get("azp")
    if authorized != expected.client_id and (authorized is not None or len(several) > 1):
        raise _wrong("it was issued to another client")
    issued, expires = _moment(claims, "iat"), _moment(claims, "exp")
    if issued is None or expires is None:
        raise _wrong("it does not say when it was made and when it ends")
    before = _moment(claims, "nbf")
    if expires <= now - SKEW_SECONDS or issued > now + SKEW_SECONDS or (before or 0) > now + SKEW_SECONDS:
        raise _wrong("it has expired or is not valid yet; the clocks may differ by more than a minute")
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise _wrong("it belongs to another sign-in")


def _identity(claims: Mapping[str, Any], issuer: str) -> Identity:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        raise _wrong("it does not say who this is")
    login = _text(claims, "preferred_username") or _text(claims, "nickname") or _text(claims, "given_name")
    return Identity(issuer, subject, login, _text(claims, "name"))


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value[:500] if isinstance(value, str) else ""


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _number(key: Mapping[str, Any], name: str) -> int:
    return int.from_bytes(_bytes(key.get(name)))


def _object(part: str) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(_bytes(part))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _wrong("it is not a signed token")
    return cast("Mapping[str, Any]", found)


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str) or not _PART.fullmatch(text):
        raise _wrong("it or its key is not written as it should be")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise _wrong("it or its key is not written as it should be") from None


def _wrong(why: str) -> OidcRefused:
    return OidcRefused(_sentence(why))


def _sentence(why: str) -> str:
    return (
        f"The provider's word about who you are was not accepted: {why}. Sign in again; if this goes on, tell whoever "
        "runs this Porch."
    )
