"""Passwords: how long, which are refused, and how they are kept.

Length counts, composition does not (NIST SP 800-63B, section 5.1.1.2). Kept as Argon2id (RFC 9106) with the least cost
that OWASP's password storage cheat sheet names: 19 MiB, two passes, one lane.
"""

import asyncio
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from porch.contract.errors import InvalidInput, Overloaded
from porch.contract.text import check_text

T = TypeVar("T")

MIN_LENGTH, MAX_LENGTH = 10, 256
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
SALT_BYTES, HASH_BYTES = 16, 32
AT_ONCE = 2
MOST_WAITING = 100
CURRENT = f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$"
_WORDS = """
abc abcdef access admin administrator amanda andrew apple asdf asdfgh asdfghjkl ashley baseball basketball batman
berlin changeme charlie cheese chelsea chocolate computer daniel default demo dragon facebook football freedom friend
friends google guest hallo hello hunter iloveyou internet jennifer jessica jordan letmein liverpool login london love
loveme master michael michelle microsoft monkey mustang nicole ninja pass passphrase password passwort pokemon porch
princess qazwsx qwert qwerty qwertyuiop qwertz qwertzuiop samsung secret service shadow starwars summer sunshine
superman superuser temp temporary test tester testing thomas tigger trustno user welcome whatever winter zaqwsx zxcvbn
zxcvbnm
"""
# What people take when they are asked for something longer: these, and what is put before or behind them.
COMMON = frozenset(_WORDS.split())
FEW_LETTERS = 4
_ENDS = re.compile(r"^[^a-z]+|[^a-z]+$")
_AS_LETTERS = str.maketrans("013457@$!", "oieastasi")


def check_password(text: str, names: Iterable[str] = ()) -> str:
    """A password that may be set, in the one form in which it is hashed. Raises InvalidInput.

    `names` are what a stranger would try first: the login, the name, the workspace.
    """
    # Before it is brought into one form, which takes long for what is long.
    if len(text) > MAX_LENGTH:
        raise _refused(f"The password has {len(text):,} characters; {MAX_LENGTH} are the most.")
    password = normal(check_text(text, "The password", 4 * MAX_LENGTH))
    if len(password) < MIN_LENGTH:
        raise _refused(
            f"The password has {len(password)} characters; {MIN_LENGTH} are the least. Three or four words that "
            "only you put together are easy to keep in mind."
        )
    if is_common(password, names):
        raise _refused(
            "That password is one of the first that would be tried. Take three or four words that only you put "
            "together."
        )
    return password


def is_common(password: str, names: Iterable[str] = ()) -> bool:
    """Whether it is a common word, a name or a row of keys with little around it."""
    plain = password.casefold()
    if len(set(plain)) <= FEW_LETTERS or _is_row(plain):
        return True
    known = COMMON | {name.casefold() for name in names if len(name) > 2}
    for written in (plain, plain.translate(_AS_LETTERS)):
        # A name may itself end in digits.
        if any(_is_made_of(text, known) for text in {written, _ENDS.sub("", written)}):
            return True
    return False


def _is_made_of(text: str, known: Collection[str]) -> bool:
    if text in known or any(_repeats(text, word) for word in known):
        return True
    return any(len(word) > 3 and word in text and len(text.replace(word, "")) < FEW_LETTERS for word in known)


def _repeats(text: str, word: str) -> bool:
    return bool(text) and len(text) % len(word) == 0 and word * (len(text) // len(word)) == text


def _is_row(text: str) -> bool:
    """Whether it walks along the alphabet, the digits or a row of keys, either way."""
    rows = (
        "abcdefghijklmnopqrstuvwxyz" * 10,
        "1234567890" * 26,
        "qwertyuiopasdfghjklzxcvbnm",
        "qwertzuiopasdfghjklyxcvbnm",
    )
    return any(text in row or text in row[::-1] for row in rows)


def normal(text: str) -> str:
    """One form for what keyboards write in several (Unicode's NFKC, as RFC 8265 has it for passwords)."""
    return unicodedata.normalize("NFKC", text)


async def hash_password(password: str) -> str:
    """What is kept of it."""
    return await _room.do(lambda: _hash(normal(password)))


async def matches(password: str, kept: str | None) -> bool:
    """Whether this is the password; for somebody who has none it takes as long, and is not."""
    possible = len(password) <= MAX_LENGTH and not any("\ud800" <= char <= "\udfff" for char in password)
    tried = normal(password) if possible else ""
    right = await _room.do(lambda: _verify(tried, kept or _nobodys()))
    return right and possible and kept is not None


def is_outdated(kept: str) -> bool:
    """Whether it was hashed with other costs than those of today."""
    return not kept.startswith(CURRENT)


def _hash(password: str) -> str:
    kdf = Argon2id(
        salt=os.urandom(SALT_BYTES),
        length=HASH_BYTES,
        iterations=PASSES,
        lanes=LANES,
        memory_cost=MEMORY_KIB,
    )
    return kdf.derive_phc_encoded(password.encode())


def _verify(password: str, kept: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode(), kept)
    except InvalidKey:
        return False
    return True


@cache
def _nobodys() -> str:
    return _hash(os.urandom(SALT_BYTES).hex())


class _Room:
    """As many threads as may work at once: each takes 19 MiB and tens of milliseconds of a core."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")
        self.inside = 0

    async def do(self, work: Callable[[], T]) -> T:
        """Aside, so that nobody's stream waits for it. Raises Overloaded."""
        if self.inside >= MOST_WAITING:
            raise Overloaded("Too many people sign in just now. Try again in a few seconds.", retry_after=5)
        self.inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, work)
        finally:
            self.inside -= 1


_room = _Room()


def _refused(sentence: str) -> InvalidInput:
    return InvalidInput(sentence, errors=[{"pointer": "/password", "detail": "cannot be used"}])
