"""The operator's way in: who they are, and `credentials.json`, which only they can read.

The token in it does not expire. Whoever can read the file can also read the data folder beside it, so that an
end date would protect nothing and lock the operator out; a token that is lost is replaced at the next start.
"""

import getpass
import os
import platform
import re
from pathlib import Path

import msgspec

from porch.contract.definition import check_handle
from porch.contract.errors import InvalidInput, Unauthenticated
from porch.contract.principal import Principal
from porch.identity import store
from porch.identity.authentication import authenticate
from porch.identity.model import Credentials, Operator
from porch.identity.policy import FULL
from porch.identity.tokens import mint
from porch.storage.database import Database
from porch.storage.private_file import write_private

FILE = "credentials.json"
# Accounts that name a machine's role and not a person.
IMPERSONAL = frozenset(
    {
        "",
        "root",
        "admin",
        "administrator",
        "app",
        "daemon",
        "docker",
        "guest",
        "nobody",
        "system",
        "ubuntu",
        "user",
    }
)


async def ensure_operator(database: Database, data_dir: Path, url: str) -> tuple[Credentials, Operator]:
    """Sees to it that the operator, their workspace and a working `credentials.json` are there, and answers both.

    A file whose token works is kept and gets this `url`; a missing or broken one is replaced by one with a
    fresh token, and the one before is revoked. Raises SetupError when the folder cannot be written.
    """
    name = operator_name()
    async with database.system() as connection:
        operator = await store.ensure_operator(connection, name, workspace_handle(name))
    path = data_dir / FILE
    kept = await _working(database, operator, read_credentials(path))
    if kept is None:
        kept = await _mint(database, operator, _token_name(data_dir))
    credentials = Credentials(url=url, token=kept, workspace=operator.handle)
    if read_credentials(path) != credentials or _is_open(path):
        write_credentials(path, credentials)
    return credentials, operator


def read_credentials(path: Path) -> Credentials | None:
    """What the file says, None when it is missing or broken."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write_credentials(path: Path, credentials: Credentials) -> None:
    """Puts the file in place whole, and at no moment readable by others. Raises SetupError."""
    write_private(path, msgspec.json.format(msgspec.json.encode(credentials), indent=2) + b"\n")


def operator_name() -> str:
    """The login name where it names a person, else `operator`."""
    try:
        login = getpass.getuser().strip()
    except (OSError, KeyError):
        return "operator"
    return "operator" if login.lower() in IMPERSONAL or not login.isprintable() else login[:40]


def workspace_handle(name: str) -> str:
    """A handle made from a person's name, else `home`."""
    handle = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-")
    try:
        return "home" if handle == "operator" else check_handle(handle, "a workspace's handle")
    except InvalidInput:
        return "home"


async def _working(database: Database, operator: Operator, found: Credentials | None) -> str | None:
    if found is None:
        return None
    try:
        principal = await authenticate(database, found.token)
    except Unauthenticated:
        return None
    return found.token if _is_operators(principal, operator) else None


def _is_operators(principal: Principal, operator: Operator) -> bool:
    return (principal.id, principal.workspace) == (operator.user_id, operator.workspace_id)


async def _mint(database: Database, operator: Operator, name: str) -> str:
    minted = mint()
    async with database.tenant(operator.workspace_id) as connection:
        await store.revoke_first_tokens(connection, operator.workspace_id, operator.user_id, name)
        await store.insert_token(
            connection,
            operator.workspace_id,
            minted,
            user=operator.user_id,
            parent=None,
            name=name,
            scopes=sorted(FULL),
            lifetime=None,
        )
    return minted.text


def _token_name(data_dir: Path) -> str:
    """Names the folder and its machine: servers that share a database keep a file each."""
    return f"{FILE} of {platform.node() or 'this machine'}:{data_dir.resolve()}"


def _is_open(path: Path) -> bool:
    return os.name == "posix" and bool(path.stat().st_mode & 0o077)
