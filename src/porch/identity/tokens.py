"""The text of tokens: `porch_pat_`, 32 random bytes in base62, and a CRC-32 that tells a typo from a token.

An agent's token is the same behind `porch_agt_`, a session's secret behind `porch_ses_`, a guest's token behind
`porch_gst_`, that of an invitation behind `porch_inv_`. Only the SHA-256 is ever stored. Source of the format's idea:
GitHub's token format of 2021, whose fixed head and checksum let secret scanners find leaked ones.
"""

import hashlib
import os
import re
import zlib
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["pat", "agt", "ses", "gst", "inv"]

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
HEAD = "porch_pat_"
GUEST_HEAD = "porch_gst_"
HEADS: dict[Kind, str] = {
    "pat": HEAD,
    "agt": "porch_agt_",
    "ses": "porch_ses_",
    "gst": GUEST_HEAD,
    "inv": "porch_inv_",
}
RANDOM_BYTES = 32
# 62**43 > 2**256 and 62**6 > 2**32.
RANDOM_WIDTH = 43
CRC_WIDTH = 6
LENGTH = len(HEAD) + RANDOM_WIDTH + CRC_WIDTH
SHOWN = len(HEAD) + 6
# Within a URL that has to fit a terminal's line: 62**22 > 2**128.
LINK_BYTES, LINK_WIDTH = 16, 22
_LINK = re.compile(rf"[0-9A-Za-z]{{{LINK_WIDTH}}}")


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A fresh token. `text` is shown once; `prefix` names it in lists; `digest` is what is stored."""

    text: str = field(repr=False)

    @property
    def prefix(self) -> str:
        return self.text[:SHOWN]

    @property
    def digest(self) -> bytes:
        return digest(self.text)

    @property
    def narrow_digest(self) -> bytes:
        """What is stored of a token that is narrower than its scopes say: who does not know how finds nothing."""
        return hashlib.sha256(self.digest).digest()


def mint(kind: Kind = "pat") -> MintedToken:
    """A token nobody can guess."""
    body = HEADS[kind] + _base62(int.from_bytes(os.urandom(RANDOM_BYTES), "big"), RANDOM_WIDTH)
    return MintedToken(body + _checksum(body))


def is_well_formed(text: str, kind: Kind = "pat") -> bool:
    """Whether this can be a token at all: head, length and checksum. Costs no database call."""
    return (
        len(text) == LENGTH
        and text.startswith(HEADS[kind])
        and text.isascii()
        and text[-CRC_WIDTH:] == _checksum(text[:-CRC_WIDTH])
    )


def mint_link() -> str:
    """The secret of a sign-in link: 128 random bits, which live a quarter of an hour."""
    return _base62(int.from_bytes(os.urandom(LINK_BYTES), "big"), LINK_WIDTH)


def is_link(text: str) -> bool:
    """Whether this can be the secret of a sign-in link."""
    return _LINK.fullmatch(text) is not None


def digest(text: str) -> bytes:
    """SHA-256. A plain hash is enough for that many random bits."""
    return hashlib.sha256(text.encode()).digest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CRC_WIDTH)


def _base62(number: int, width: int) -> str:
    digits: list[str] = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
