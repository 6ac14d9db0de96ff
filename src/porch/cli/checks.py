"""What `porch doctor` looks at. Nothing here changes anything."""

import contextlib
import os
import platform
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from porch.cli.attach import Credentials, log_file
from porch.cli.invocation import Invocation, program
from porch.contract.errors import PorchError, SetupError
from porch.settings import Resolved, Settings
from porch.storage.datadir import MARK, ROOM, DataDir, Holder

State = Literal["ok", "warning", "wrong"]
ANOTHER_FOLDER = "porch doctor --data-dir ~/another-folder"
LITTLE = 1_000_000_000
HELD_BACK = ("database_url", "migration_url", "oidc_client_secret")  # for no eyes but the server's


@dataclass(frozen=True)
class Check:
    """One thing looked at, what was found, and the command or the step that mends it."""

    name: str
    state: State
    found: str
    mend: str = ""


async def examine(invocation: Invocation) -> AsyncIterator[Check]:
    """Every check, in the order in which a start would fail."""
    yield check_python()
    try:
        resolved = invocation.resolve()
        check_shared(resolved.settings)
    except SetupError as error:
        yield Check(
            "Settings", "wrong", error.message, "correct it; docs/configuration.md lists all settings"
        )
        return
    yield check_settings(resolved)
    settings = resolved.settings
    folder = check_folder(settings.data_dir)
    yield folder
    if folder.state == "wrong":
        return
    yield check_disk(settings.data_dir)
    holder = DataDir(settings.data_dir).read_holder()
    if holder:
        yield await check_server(settings, holder)
    else:
        yield check_port(settings)
    yield await check_database(settings, running=bool(holder and holder.url))
    async for check in check_models(settings):
        yield check


def check_python() -> Check:
    """The interpreter (an older one installs no Porch), and the parts that come as compiled wheels."""
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    missing = [name for name in ("asyncpg", "httptools", "msgspec", "uvicorn") if find_spec(name) is None]
    if missing:
        return Check(
            "Python", "wrong", f"{found}; missing: {', '.join(missing)}", "uv sync (or pip install porch)"
        )
    return Check("Python", "ok", found)


def check_settings(resolved: Resolved) -> Check:
    """Which file is read, and what is not at its default."""
    given = ", ".join(f"{name} ({origin})" for name, origin in resolved.origins.items())
    file = str(resolved.file) if resolved.file else ""
    if file and any(getattr(resolved.settings, name) for name in HELD_BACK):
        with contextlib.suppress(OSError):
            if resolved.file and resolved.file.stat().st_mode & 0o077:
                found = f"{file} holds a password or secret and can be read by others"
                return Check("Settings", "warning", found, f"chmod 600 {file}")
    return Check("Settings", "ok", given or "all at their defaults")


def check_shared(settings: Settings) -> None:
    """Raise SetupError for a provider that is to be shared and that there is not."""
    from porch.models.sharing import read_shared

    read_shared(settings.shared_providers)


def check_folder(path: Path) -> Check:
    """Whether the data folder can be used, without making it."""
    name = "Data folder"
    if not path.exists():
        parent = next(folder for folder in path.parents if folder.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            found = f"{path} cannot be made: {parent} may not be written by this user"
            return Check(name, "wrong", found, ANOTHER_FOLDER)
        return Check(name, "ok", f"{path} will be made by the first start")
    try:
        if not path.is_dir() or (path / MARK).exists() or any(path.iterdir()):
            DataDir(path).prepare()
    except PorchError as error:
        return Check(name, "wrong", error.message, ANOTHER_FOLDER)
    except OSError as error:
        return Check(name, "wrong", f"{path}: {error.strerror}", ANOTHER_FOLDER)
    return Check(name, "ok", str(path))


def check_disk(path: Path) -> Check:
    """Room for the database."""
    place = path if path.exists() else next(folder for folder in path.parents if folder.exists())
    free = shutil.disk_usage(place).free
    found = f"{free / 1e9:.1f} GB free"
    if free < ROOM:
        return Check(
            "Disk", "wrong", f"{found}; PostgreSQL needs 0.2 GB", f"make room on the disk of {place}"
        )
    state: State = "warning" if free < LITTLE else "ok"
    return Check("Disk", state, found, f"make room on the disk of {place}" if state == "warning" else "")


async def check_server(settings: Settings, holder: Holder) -> Check:
    """The running server: that it answers, is ready, and takes our token."""
    from porch.client import AsyncPorch

    name, stop = "Server", f"stop it (kill {holder.pid}) and start it again: {program()} up"
    if not holder.url:
        return Check(
            name,
            "warning",
            f"process {holder.pid} is starting or stopping just now",
            "look again in a moment",
        )
    try:
        token = Credentials.read(settings.data_dir).token
        async with AsyncPorch(holder.url, token) as porch:
            ready = await porch.readiness()
            await porch.me()
    except (PorchError, OSError, ValueError) as error:
        return Check(name, "wrong", f"{holder.url} (process {holder.pid}): {error}", stop)
    if not ready["ready"]:
        found = f"{holder.url} is not ready: database {ready['database']}, runs {ready['runs']}"
        return Check(name, "wrong", found, f"see its log ({log_file(settings.data_dir)}), or {stop}")
    found = f"{holder.url}, process {holder.pid}, since {holder.since}"
    if (replicas := ready.get("replicas", 1)) > 1:
        found += f"; one of {replicas} servers on its database"
    if ready.get("valkey") == "down":
        found += "; Valkey (live_url) is away, so readers of other servers' answers follow by the journal"
        return Check(name, "warning", found, "start Valkey, or correct live_url and its password")
    return Check(name, "ok", found)


def check_port(settings: Settings) -> Check:
    """Whether a server could listen; nobody holds the folder."""
    name = "Server"
    if settings.port:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with contextlib.suppress(OSError), socket.socket(family) as probe:
                probe.settimeout(0.3)
                if probe.connect_ex((address, settings.port)) == 0:
                    found = f"not running, and something else listens on port {settings.port}"
                    return Check(
                        name, "warning", found, f"{program()} up --port 0   (or any port that is free)"
                    )
    return Check(name, "ok", f"not running; {program()} up starts it on port {settings.port or '(any)'}")


async def check_database(settings: Settings, *, running: bool) -> Check:
    """The external server with its roles, or the programs and the data of the embedded one."""
    name = "Database"
    try:
        if settings.database_url:
            from porch.storage.external import check_external

            external = await check_external(settings.database_url, settings.migration_url)
            return Check(
                name, "ok", f"PostgreSQL {external.major}, {external.database} as {external.app_role}"
            )
        return _check_embedded(settings, running=running)
    except PorchError as error:
        return Check(name, "wrong", error.message, "mend what it says, then look again")


def _check_embedded(settings: Settings, *, running: bool) -> Check:
    import msgspec

    from porch.storage.account import choose_account
    from porch.storage.binaries import locate_binaries
    from porch.storage.cluster import RECORD, Record

    binaries, account = locate_binaries(), choose_account()
    who = f" as {account.name}" if account.drops else ""
    found = f"PostgreSQL {binaries.major}, Porch's own{who}" + (", running" if running else "")
    try:
        record = msgspec.json.decode((settings.data_dir / RECORD).read_bytes(), type=Record)
    except FileNotFoundError:
        if running:
            found = "the running server uses another database than these settings name"
            return Check(
                "Database", "warning", found, "give its PORCH_DATABASE_URL here too, then look again"
            )
        return Check("Database", "ok", f"{found}; the first start makes it")
    except (OSError, msgspec.MsgspecError) as error:
        return Check(
            "Database", "wrong", f"{RECORD} cannot be read: {error}", "put it back from a backup of that file"
        )
    if record.major < binaries.major:
        found = f"the data is of PostgreSQL {record.major}, and this Porch runs {binaries.major}"
        return Check("Database", "wrong", found, f"{program()} upgrade-data")
    home = settings.data_dir / record.home
    if not home.exists():
        return Check(
            "Database", "wrong", f"{home} is gone", f"{program()} restore FILE --data-dir NEW-FOLDER"
        )
    outside = f", in {home}" if Path(record.home).is_absolute() else ""
    return Check("Database", "ok", found + outside)


async def check_models(settings: Settings) -> AsyncIterator[Check]:
    """The bundled model and every provider that has a key or an address."""
    from porch.cli.models import look_around
    from porch.egress import EgressSettings
    from porch.models.local import weights

    if not settings.local_model:
        yield Check("Demo model", "ok", "switched off")
    elif find_spec("xllamacpp") is None:
        yield Check(
            "Demo model", "warning", "xllamacpp is not installed", "uv sync (or pip install xllamacpp)"
        )
    else:
        try:
            weights.find(settings.data_dir)
            yield Check("Demo model", "ok", "SmolLM2 135M, installed")
        except SetupError as error:
            yield Check("Demo model", "warning", error.message, f"{program()} model install")
    ready: list[str] = []
    bounds = EgressSettings.read(settings)
    for item in await look_around(data_dir=settings.data_dir, bounds=bounds):
        if item.provider in ("local", "scripted"):
            continue
        if item.ready:
            ready.append(item.label)
            yield Check(item.label, "warning" if item.unreached else "ok", item.note)
        elif item.key or item.refused or item.unreached:
            yield Check(item.label, "warning", item.note, f"{program()} models")
    if not ready:
        found = "no key and no Ollama: only the demo model can answer"
        yield Check("Models", "ok", f"{found}; {program()} models says what unlocks more")
