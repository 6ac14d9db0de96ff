"""An authenticator in a few lines, which also says what it should not."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from porch.contract.ids import new_uuid

ORIGIN, HOST = "http://localhost:8642", "localhost"


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def cbor(value: Any) -> bytes:
    """What the messages here are made of."""
    match value:
        case int():
            return head(0, value) if value >= 0 else head(1, -1 - value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(cbor(each) for each in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case _:
            return head(5, len(value)) + b"".join(cbor(key) + cbor(each) for key, each in value.items())


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    size = 0 if number < 1 << 8 else 1 if number < 1 << 16 else 2
    return bytes([major << 5 | 24 + size]) + number.to_bytes(1 << size, "big")


@dataclass
class Authenticator:
    """One passkey. Whatever is set here is what it says."""

    kind: str = "ES256"
    host: str = HOST
    origin: str = ORIGIN
    flags: int = 0x05
    count: int = 0
    cross: bool = False
    act: str = ""
    user: bytes = bytes(16)
    credential: bytes = field(default_factory=lambda: new_uuid().bytes)

    def __post_init__(self) -> None:
        if self.kind == "ES256":
            self.secret: Any = ec.generate_private_key(ec.SECP256R1())
        elif self.kind == "EdDSA":
            self.secret = ed25519.Ed25519PrivateKey.generate()
        else:
            self.secret = rsa.generate_private_key(65537, 2048)

    @property
    def key(self) -> bytes:
        public = self.secret.public_key()
        if self.kind == "ES256":
            point = public.public_numbers()
            return cbor(
                {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}
            )
        if self.kind == "EdDSA":
            return cbor({1: 1, 3: -8, -1: 6, -2: public.public_bytes_raw()})
        numbers = public.public_numbers()
        return cbor({1: 3, 3: -257, -1: numbers.n.to_bytes(256, "big"), -2: numbers.e.to_bytes(3, "big")})

    def client_data(self, act: str, challenge: str) -> bytes:
        said = {
            "type": self.act or act,
            "challenge": challenge,
            "origin": self.origin,
            "crossOrigin": self.cross,
        }
        return json.dumps(said).encode()

    def data(self, behind: bytes = b"", flags: int = 0) -> bytes:
        place = hashlib.sha256(self.host.encode()).digest()
        return place + bytes([self.flags | flags]) + self.count.to_bytes(4, "big") + behind

    def attested(self) -> bytes:
        """The data of a new passkey."""
        return self.data(
            bytes(16) + len(self.credential).to_bytes(2, "big") + self.credential + self.key, 0x40
        )

    def attestation(self, **changes: Any) -> bytes:
        return cbor({"fmt": "none", "attStmt": {}, "authData": self.attested(), **changes})

    def sign(self, signed: bytes) -> bytes:
        if self.kind == "ES256":
            return self.secret.sign(signed, ec.ECDSA(hashes.SHA256()))
        if self.kind == "EdDSA":
            return self.secret.sign(signed)
        return self.secret.sign(signed, padding.PKCS1v15(), hashes.SHA256())

    def make(self, options: Any, name: str = "My phone") -> dict[str, Any]:
        """The body that adds it."""
        self.user = base64.urlsafe_b64decode(options["user"]["id"] + "==")
        return {
            "name": name,
            "client_data": text(self.client_data("webauthn.create", options["challenge"])),
            "attestation": text(self.attestation()),
            "transports": ["internal"],
        }

    def answer(self, options: Any, **changes: Any) -> dict[str, Any]:
        """The body that signs in; the counter goes on unless it is 0."""
        self.count += 1 if self.count else 0
        said, data = self.client_data("webauthn.get", options["challenge"]), self.data()
        return {
            "credential": text(self.credential),
            "client_data": text(said),
            "authenticator_data": text(data),
            "signature": text(self.sign(data + hashlib.sha256(said).digest())),
            "user_handle": text(self.user),
            **changes,
        }
