"""What an authenticator says of a passkey, checked: Web Authentication, Level 3 (https://www.w3.org/TR/webauthn-3/).

Section 7.1 for a new one, 7.2 for a signature. No maker of devices is asked for or trusted: of an attestation the key
alone counts.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from porch.contract.errors import Conflict, InvalidInput
from porch.identity import cbor

Act = Literal["webauthn.create", "webauthn.get"]

ES256, EDDSA, RS256 = -7, -8, -257
ALGORITHMS = (ES256, EDDSA, RS256)
MAX_CREDENTIAL_BYTES = 1023
HASH_BYTES = 32
# Bits of the byte of flags: present, verified, may be backed up, is backed up, has a key, has extensions.
UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
RSA_BITS = range(2048, 8193)
# COSE: what the labels of a key stand for (RFC 9053, section 7; RFC 8230).
KTY, ALG, CRV, X, Y, RSA_N, RSA_E = 1, 3, -1, -2, -3, -1, -2
P256, ED25519 = 1, 6


class WrongPasskey(InvalidInput):
    """Raised when what an authenticator says does not hold; the sentence says which part."""

    code = "wrong_passkey"


class NoPasskeys(Conflict):
    """Raised where this server has no address that browsers make passkeys for."""

    code = "passkeys_unavailable"


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Whom passkeys are made for: the host `id`, on pages of `origin`."""

    id: str
    origin: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A passkey as its authenticator made it."""

    credential: bytes
    public_key: bytes
    count: int


def party_of(url: str | None) -> RelyingParty:
    """Whom passkeys are made for at this public address. Raises NoPasskeys."""
    found = urlsplit(url or "")
    host = (found.hostname or "").lower()
    named = host != "" and ":" not in host and not host.replace(".", "").isdigit()
    local = host == "localhost" or host.endswith(".localhost")
    if not named or not (found.scheme == "https" or (found.scheme == "http" and local)):
        raise NoPasskeys(
            "Browsers make passkeys for a name with https, or for localhost, and this server's address is neither. "
            "Whoever runs it can set public_url (PORCH_PUBLIC_URL) to one."
        )
    default = {"https": 443, "http": 80}[found.scheme]
    port = f":{found.port}" if found.port not in (None, default) else ""
    return RelyingParty(host, f"{found.scheme}://{host}{port}")


def challenge_of(client_data: bytes) -> bytes:
    """The challenge that this answers, as text in base64url, before anything of it is checked. Raises WrongPasskey."""
    return _read_client_data(client_data).challenge.encode()


def check_registration(party: RelyingParty, client_data: bytes, attestation: bytes) -> NewKey:
    """A new passkey, of whose client data the challenge is known to be ours. Raises WrongPasskey."""
    _check_client_data(party, client_data, "webauthn.create")
    stated = _read_cbor(attestation)
    if not isinstance(stated, dict) or not isinstance(data := stated.get("authData"), bytes):
        raise WrongPasskey("The attestation cannot be read. Try again, or use another authenticator.")
    count, rest = _check_authenticator(party, data, with_key=True)
    size = int.from_bytes(rest[16:18], "big")
    credential, rest = rest[18 : 18 + size], rest[18 + size :]
    if not 1 <= size <= MAX_CREDENTIAL_BYTES or len(credential) != size:
        raise WrongPasskey("The passkey's id is too long, or cut off. Use another authenticator.")
    try:
        _, behind = cbor.decode_first(rest)
    except cbor.NotCbor:
        raise WrongPasskey("The passkey's public key cannot be read. Use another authenticator.") from None
    key = rest[: len(rest) - len(behind)]
    _check_extensions(data, behind)
    read_key(key)
    _check_statement(stated, key, data + hashlib.sha256(client_data).digest())
    return NewKey(credential, key, count)


def check_assertion(
    party: RelyingParty, key: bytes, client_data: bytes, authenticator_data: bytes, signature: bytes
) -> int:
    """The counter in a signature by this key, of whose client data the challenge is known to be ours.

    Raises WrongPasskey.
    """
    _check_client_data(party, client_data, "webauthn.get")
    count, rest = _check_authenticator(party, authenticator_data, with_key=False)
    _check_extensions(authenticator_data, rest)
    if not read_key(key).verifies(signature, authenticator_data + hashlib.sha256(client_data).digest()):
        raise WrongPasskey("The passkey's signature does not fit. Try again, or use another passkey.")
    return count


# ---------------------------------------------------------------- parts of a message


class _ClientData(msgspec.Struct):
    type: str
    challenge: str
    origin: str
    crossOrigin: bool = False  # noqa: N815  # as browsers spell it


def _read_client_data(client_data: bytes) -> _ClientData:
    try:
        return msgspec.json.decode(client_data, type=_ClientData)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise WrongPasskey(
            "The browser's part of the passkey cannot be read. Reload the page and try again."
        ) from None


def _check_client_data(party: RelyingParty, client_data: bytes, act: Act) -> None:
    found = _read_client_data(client_data)
    if found.type != act:
        raise WrongPasskey("The passkey was asked for something else. Reload the page and try again.")
    if found.origin != party.origin or found.crossOrigin:
        raise WrongPasskey(
            f"The passkey was used on another site than {party.origin}. Open that address, and try again there."
        )


def _check_authenticator(party: RelyingParty, data: bytes, *, with_key: bool) -> tuple[int, bytes]:
    """The counter, and what stands behind it."""
    if len(data) < HASH_BYTES + 5:
        raise WrongPasskey("The authenticator's part of the passkey is cut off. Try again.")
    if not hmac.compare_digest(data[:HASH_BYTES], hashlib.sha256(party.id.encode()).digest()):
        raise WrongPasskey(f"The passkey is not one for {party.id}. Use another one.")
    flags = data[HASH_BYTES]
    if not flags & UP or not flags & UV:
        raise WrongPasskey(
            "The authenticator did not check that it is you, by a PIN, a finger or a face. Set that up, and try again."
        )
    if (flags & BS and not flags & BE) or bool(flags & AT) != with_key:
        raise WrongPasskey(
            "The authenticator's part of the passkey contradicts itself. Use another authenticator."
        )
    return int.from_bytes(data[HASH_BYTES + 1 : HASH_BYTES + 5], "big"), data[HASH_BYTES + 5 :]


def _check_extensions(data: bytes, rest: bytes) -> None:
    """Nothing may stand behind it all but the map of extensions that the flags announce."""
    announced = bool(data[HASH_BYTES] & ED)
    if announced != bool(rest) or (announced and not isinstance(_read_cbor(rest), dict)):
        raise WrongPasskey("There is something behind the authenticator's part of the passkey. Try again.")


def _check_statement(stated: dict[int | str, cbor.Value], key: bytes, signed: bytes) -> None:
    """ "none", or what browsers leave as it is: a statement by the passkey's own key, which names no device."""
    form, statement = stated.get("fmt"), stated.get("attStmt")
    if form == "none" and statement == {}:
        return
    if form == "packed" and isinstance(statement, dict) and "x5c" not in statement:
        found, signature = read_key(key), statement.get("sig")
        if statement.get("alg") == found.algorithm and isinstance(signature, bytes):
            if found.verifies(signature, signed):
                return
            raise WrongPasskey("The new passkey's signature does not fit. Try again.")
    raise WrongPasskey(
        "The authenticator names its maker, which is not asked for here. Use another browser for it."
    )


def _read_cbor(data: bytes) -> cbor.Value:
    try:
        return cbor.decode(data)
    except cbor.NotCbor:
        raise WrongPasskey("The authenticator's part of the passkey cannot be read. Try again.") from None


# ---------------------------------------------------------------- keys


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key and the one algorithm that it is for."""

    algorithm: int
    key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        """Whether this is a signature by it."""
        try:
            match self.key:
                case ec.EllipticCurvePublicKey():
                    self.key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
                case ed25519.Ed25519PublicKey():
                    self.key.verify(signature, signed)
                case _:
                    self.key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


def read_key(data: bytes) -> PublicKey:
    """The public key of a COSE_Key. Raises WrongPasskey."""
    found = _read_cbor(data)
    if isinstance(found, dict):
        try:
            if key := _key_of(found):
                return key
        except (ValueError, UnsupportedAlgorithm):
            pass
    raise WrongPasskey(
        "The passkey's key is of a kind that is not read here: ES256, EdDSA and RS256 are. Use another authenticator."
    )


def _key_of(found: dict[int | str, cbor.Value]) -> PublicKey | None:
    match found.get(KTY), found.get(ALG):
        case (2, -7) if found.get(CRV) == P256:
            x, y = _bytes(found, X, 32), _bytes(found, Y, 32)
            return PublicKey(
                ES256, ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
            )
        case (1, -8) if found.get(CRV) == ED25519:
            return PublicKey(EDDSA, ed25519.Ed25519PublicKey.from_public_bytes(_bytes(found, X, 32)))
        case (3, -257):
            n, e = (int.from_bytes(_bytes(found, label), "big") for label in (RSA_N, RSA_E))
            if n.bit_length() in RSA_BITS and e.bit_length() <= 32:
                return PublicKey(RS256, rsa.RSAPublicNumbers(e, n).public_key())
        case _:
            pass
    return None


def _bytes(found: dict[int | str, cbor.Value], label: int, size: int | None = None) -> bytes:
    value = found.get(label)
    if not isinstance(value, bytes) or (size is not None and len(value) != size):
        raise ValueError(label)
    return value
