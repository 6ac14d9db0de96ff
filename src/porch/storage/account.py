"""The account PostgreSQL runs as: our own, or an unprivileged one when Porch runs as root."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from porch.contract.errors import SetupError

CANDIDATES = ("porch", "postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """A user PostgreSQL may run as. `drops` says that Porch is root and must change to it."""

    name: str
    uid: int
    gid: int
    drops: bool

    def of(self, path: Path) -> "Account":
        """The account that `path` belongs to, which an earlier start may have chosen differently."""
        status = path.stat()
        if status.st_uid in (0, self.uid):
            return self
        try:
            name = pwd.getpwuid(status.st_uid).pw_name
        except KeyError:
            name = str(status.st_uid)
        return Account(name, status.st_uid, status.st_gid, self.drops)

    def can_enter(self, folder: Path) -> bool:
        """Whether every folder down to and including `folder` lets this account in, judged by mode bits."""
        if not self.drops:
            return True
        resolved = folder.resolve()
        return all(self._may(part, 0o1) for part in (resolved, *resolved.parents) if part.exists())

    def can_read(self, folder: Path) -> bool:
        """Whether this account can enter `folder` and list it."""
        return self.can_enter(folder) and (not self.drops or self._may(folder.resolve(), 0o5))

    def _may(self, path: Path, bits: int) -> bool:
        status = path.stat()
        if status.st_uid == self.uid:
            return status.st_mode >> 6 & bits == bits
        if status.st_gid == self.gid:
            return status.st_mode >> 3 & bits == bits
        return status.st_mode & bits == bits

    def take(self, path: Path, mode: int) -> None:
        """Makes `path` this account's, with `mode`."""
        if self.drops:
            os.chown(path, self.uid, self.gid)
        path.chmod(mode)

    def admit(self, path: Path) -> None:
        """Lets this account pass through `path`, a folder of ours, and nobody else."""
        if self.drops:
            os.chown(path, os.geteuid(), self.gid)
        path.chmod(0o710 if self.drops else 0o700)


def choose_account(name: str | None = None) -> Account:
    """The account to run PostgreSQL as: ourselves, or as root the first there is of porch, postgres, nobody.

    PostgreSQL refuses to run as root. `name` (setting: PORCH_POSTGRES_USER) picks another account; a system
    account named `porch` keeps the database apart from everything else on the machine. Raises SetupError.
    """
    if os.geteuid() != 0:
        return Account(_own_name(), os.geteuid(), os.getegid(), drops=False)
    wanted = name or os.environ.get("PORCH_POSTGRES_USER")
    for candidate in (wanted,) if wanted else CANDIDATES:
        try:
            entry = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(candidate, entry.pw_uid, entry.pw_gid, drops=True)
    if wanted:
        raise SetupError(
            f"There is no unprivileged account {wanted!r} to run PostgreSQL as. "
            "Create it (useradd --system porch) or unset PORCH_POSTGRES_USER."
        )
    raise SetupError(
        "Porch runs as root, PostgreSQL refuses to, and this machine has none of the accounts "
        f"{', '.join(CANDIDATES)}. Create one (useradd --system porch), or run Porch as a normal user."
    )


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as error:
        raise SetupError(
            f"The user id {os.geteuid()} has no name on this machine, and PostgreSQL's initdb needs one. "
            "Add it to /etc/passwd, run Porch as a user that has a name, or use --database-url."
        ) from error
