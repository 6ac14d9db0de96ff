"""What this installation is told: flags over PORCH_* variables over porch.toml over defaults.

Provider keys and endpoints are no settings of Porch: they stay in the environment under their usual names
(OPENAI_API_KEY, OLLAMA_HOST, …).
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from porch.contract.errors import SetupError

FILE = "porch.toml"
PREFIX = "PORCH_"
# Read elsewhere, so no mistake: the settings' place, how people call us, which PostgreSQL runs and as whom.
OTHERS = frozenset(
    {
        "PORCH_CONFIG",
        "PORCH_INVOKED_AS",
        "PORCH_POSTGRES_BIN",
        "PORCH_POSTGRES_USER",
        "PORCH_RECORDINGS",
        "PORCH_TOKEN",
        "PORCH_URL",
    }
)
TESTS = "PORCH_TEST_"
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class Settings(Struct, frozen=True, kw_only=True):
    """Every setting's value, as `load_settings` found it; flags, file and variables share the names."""

    data_dir: Annotated[Path, Meta(description="The folder that holds everything: database, keys, logs.")] = (
        Path("~/.porch")
    )
    host: Annotated[str, Meta(description="Where to listen; `localhost` is 127.0.0.1 and ::1.")] = "localhost"
    port: Annotated[int, Meta(ge=0, le=65535, description="The port to listen on; 0 takes any free one.")] = (
        8642
    )
    database_url: Annotated[
        str | None, Meta(description="A PostgreSQL ≥ 16 to use; without it Porch runs its own.")
    ] = None
    migration_url: Annotated[
        str | None,
        Meta(description="The same database as its owner, to migrate; without it, `database_url`."),
    ] = None
    allowed_hosts: Annotated[
        tuple[str, ...], Meta(description="More names that this server is called by (the Host header).")
    ] = ()
    public_url: Annotated[
        str | None,
        Meta(description="The address people open when a proxy stands before it, `https://porch.example`."),
    ] = None
    multi_user: Annotated[bool, Meta(description="Let in other people than the operator.")] = False
    sign_up: Annotated[
        Literal["open", "invitation", "closed"],
        Meta(description="With `multi_user`, who may become one of them: anybody, who was invited, nobody."),
    ] = "invitation"
    pool_size: Annotated[int, Meta(ge=2, le=1000, description="Connections to the database.")] = 10
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least that is logged.")
    ] = "info"
    log_json: Annotated[bool, Meta(description="Log one JSON object a line.")] = False
    default_model: Annotated[
        str | None, Meta(description="The model of new agents; without it `local:smollm2`, the bundled one.")
    ] = None
    shared_providers: Annotated[
        tuple[str, ...],
        Meta(
            description="Providers whose keys and addresses serve every workspace, `openai,anthropic` or `*`; "
            "the others serve the first alone."
        ),
    ] = ()
    local_model: Annotated[bool, Meta(description="Run the bundled demo model.")] = True
    lease_seconds: Annotated[
        float,
        Meta(ge=1, le=600, description="How long a dead server's runs wait until another takes them over."),
    ] = 4.0
    live_url: Annotated[
        str | None,
        Meta(
            description="A Valkey or Redis that carries live frames between servers, `valkey://:password@host:6379`."
        ),
    ] = None
    drain_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="How long a server told to stop lets its answers end, where another one takes new ones.",
        ),
    ] = 10.0
    max_body_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=1 << 30,
            description="The largest request that is taken, in bytes; messages with files may have 30 MiB.",
        ),
    ] = 1 << 20
    memory_limit: Annotated[
        int,
        Meta(
            ge=0,
            le=1 << 50,
            description="What this process may have, in bytes; 0 is the machine's memory, or its container's.",
        ),
    ] = 0
    max_runs: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Answers that one process works on at once.")
    ] = 4000
    max_streams: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Streams that one process has open at once.")
    ] = 10_000
    max_streams_each: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Of these, how many one person's programs may have.")
    ] = 2000
    run_seconds: Annotated[
        float,
        Meta(
            gt=0, le=864_000, description="Seconds that a run may be at work in one go; a pause ends the go."
        ),
    ] = 3600.0
    provider_connect_timeout: Annotated[
        float,
        Meta(gt=0, le=3600, description="Seconds until a model's provider must have taken the connection."),
    ] = 10.0
    provider_first_byte_timeout: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds until it must have begun to answer.")
    ] = 120.0
    provider_idle_timeout: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds for which it may fall silent while it answers.")
    ] = 60.0
    provider_event_timeout: Annotated[
        float,
        Meta(
            gt=0, le=3600, description="Seconds for which it may send keep-alives and nothing of an answer."
        ),
    ] = 300.0
    figures_days: Annotated[
        int,
        Meta(ge=1, le=3650, description="Days for which figures of runs are kept, for `/status/latency`."),
    ] = 90
    outcomes: Annotated[
        bool,
        Meta(
            description="Count, for your own eyes, whether people are served; it never leaves this machine."
        ),
    ] = True
    otlp_endpoint: Annotated[
        str | None,
        Meta(
            description="A collector of OpenTelemetry to send figures and spans to, `http://localhost:4318`."
        ),
    ] = None
    egress_allow: Annotated[
        tuple[str, ...],
        Meta(description="Places in your own network, host:port, that every workspace may reach."),
    ] = ()
    archive_url: Annotated[
        str | None,
        Meta(description="Where old journals go: `file:///folder` or `s3://bucket/prefix`."),
    ] = None
    egress_proxy: Annotated[
        str | None, Meta(description="The HTTP proxy by which everything beyond this machine is asked.")
    ] = None

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The fields with no secret in them."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return [(name, redact_url(v) if name in SECRET and v else v) for name, v in values.items()]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


PUBLIC_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
ARCHIVE_URL = re.compile(r"file:///[^?#]*[^?#/]|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#@]*)?")
URLS = {
    "live_url": ("(valkey|redis)s?", "valkey://:password@host:6379"),
    "egress_proxy": ("https?", "http://proxy.example:3128"),
    "otlp_endpoint": ("https?", "http://collector.example:4318"),
}
DATABASES = frozenset({"database_url", "migration_url"})
SECRET = DATABASES | {"egress_proxy", "otlp_endpoint", "live_url"}
PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]?#*,]+):([0-9]{1,5})")
NAMES = Settings.__struct_fields__


class Resolved(NamedTuple):
    """Settings, where each that is no default came from, and the file that was read, if any."""

    settings: Settings
    origins: dict[str, str]
    file: Path | None


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    config: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Settings:
    """The settings that hold: `flags` (None values count as not given), then variables, then the file.

    The file is `config`, else PORCH_CONFIG, else porch.toml in `cwd`, else porch.toml in the data folder.
    Raises SetupError naming what is unknown or cannot be used, and what to write instead.
    """
    return resolve_settings(flags, config=config, environ=environ, cwd=cwd).settings


def resolve_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    config: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Resolved:
    """As `load_settings`, with where each value came from."""
    cwd = cwd or Path.cwd()
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    variables = _read_variables(environ)
    folder = given.get("data_dir") or variables.get("data_dir") or Settings().data_dir
    file = _find_file(config or environ.get("PORCH_CONFIG"), cwd, _place(folder, cwd))
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, raw in (_read_file(file) if file else {}).items():
        origins[name] = f"{str(file)!r}"
        values[name] = _convert(name, raw, f"{name!r} in {str(file)!r}")
        if name == "data_dir" and file:
            values[name] = _place(values[name], file.parent)
    for name, raw in variables.items():
        origins[name] = PREFIX + name.upper()
        values[name] = _convert(name, _read_words(name, raw), origins[name])
    for name, raw in given.items():
        origins[name] = "--" + name.replace("_", "-")
        values[name] = _convert(name, raw, origins[name])
    values["data_dir"] = _place(values.get("data_dir", Settings().data_dir), cwd)
    return Resolved(Settings(**values), origins, file)


def redact_url(url: str) -> str:
    """A URL with its password as ***."""
    url = re.sub(r"^([^:/@]+://[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)((?:^|[?&])(?:ssl)?password=)[^&]*", r"\1***", url)


def _place(folder: Any, base: Path) -> Path:
    return base / Path(folder).expanduser()


def _find_file(named: str | Path | None, cwd: Path, data_dir: Path) -> Path | None:
    if named:
        file = _place(named, cwd)
        if not file.is_file():
            raise SetupError(
                f"The settings file {str(file)!r} does not exist. Correct --config or PORCH_CONFIG."
            )
        return file
    for file in (cwd / FILE, data_dir / FILE):
        try:
            if file.is_file():
                return file
        except OSError:
            continue
    return None


def _read_file(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(f"The settings file {str(file)!r} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"The settings file {str(file)!r} is not valid TOML: {error}.") from error
    for name in values:
        if name not in NAMES:
            raise SetupError(f"Unknown key {name!r} in {str(file)!r}. {_suggest(name, NAMES)}")
    return values


def _read_variables(environ: Mapping[str, str]) -> dict[str, str]:
    known = {PREFIX + name.upper(): name for name in NAMES}
    found: dict[str, str] = {}
    for variable, value in environ.items():
        if variable in known:
            if value:
                found[known[variable]] = value
        elif variable.startswith(PREFIX) and variable not in OTHERS and not variable.startswith(TESTS):
            raise SetupError(
                f"Unknown variable {variable!r}. {_suggest(variable, [*known, *sorted(OTHERS)])}"
            )
    return found


def _suggest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(close)}? Correct or remove it."
    return f"Remove it, or use one of: {', '.join(known)}."


def _read_words(name: str, text: str) -> Any:
    """A variable's text as what the setting's kind is written as in TOML."""
    default = getattr(Settings(), name)
    if isinstance(default, bool):
        word = text.strip().lower()
        return word in YES if word in YES + NO else text
    if isinstance(default, tuple):
        return [item.strip() for item in text.split(",") if item.strip()]
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            return text
    return text


def _convert(name: str, value: Any, origin: str) -> Any:
    if name == "data_dir":
        if isinstance(value, str | Path) and str(value):
            return Path(value)
        raise SetupError(f'{origin} must be the path of a folder, such as "~/.porch".')
    try:
        value = msgspec.convert(value, Settings.__annotations__[name])
    except msgspec.ValidationError:
        shown = "" if name in SECRET else f" ({value!r})"
        raise SetupError(f"{origin}{shown} cannot be used: write {_describe(name)}.") from None
    if name in DATABASES and value is not None and not re.match(r"postgres(ql)?://", value):
        raise SetupError(f"{origin} cannot be used: write postgresql://user:password@host:5432/database.")
    if name in URLS and value is not None and not _leads_somewhere(URLS[name][0], value):
        raise SetupError(
            f"{origin} cannot be used: write {URLS[name][1]}. The port is a number up to 65535; / ? # @ in a "
            "password are %2F %3F %23 %40."
        )
    if name == "public_url" and value is not None and not PUBLIC_URL.fullmatch(cast("str", value)):
        raise SetupError(
            f"{origin} ({value!r}) cannot be used: write https://porch.example, with no path behind the host."
        )
    if name == "archive_url" and value is not None and not ARCHIVE_URL.fullmatch(cast("str", value)):
        raise SetupError(
            f"{origin} cannot be used: write file:///srv/porch-archive or s3://bucket/prefix. A bucket's name has 3 "
            "to 63 small letters, digits, dots and hyphens. Keys go into the AWS_* variables."
        )
    if name == "egress_allow":
        _check_places(cast("tuple[str, ...]", value), origin)
    if name == "host" and not re.fullmatch(r"[A-Za-z0-9.:_-]+", cast("str", value)):
        raise SetupError(
            f"{origin} ({value!r}) is no host: write localhost, 0.0.0.0, :: or an address of yours."
        )
    return value


def _leads_somewhere(schemes: str, url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(re.fullmatch(schemes, parts.scheme) and parts.hostname and parts.port != 0)
    except ValueError:  # of a port or an address that is none
        return False


def _check_places(places: tuple[str, ...], origin: str) -> None:
    for place in places:
        match = PLACE.fullmatch(place)
        if match is None or not 0 < int(match[2]) < 65536:
            raise SetupError(
                f"{origin} ({place!r}) cannot be used: write a host and its port, gpu.example.lan:8000."
            )


def _describe(name: str) -> str:
    from msgspec import inspect  # a good part of this module's import time, for errors alone

    kind: Any = inspect.type_info(Settings.__annotations__[name])
    if isinstance(kind, inspect.Metadata):
        kind = kind.type
    match kind:
        case inspect.LiteralType():
            return f"one of {', '.join(map(str, kind.values))}"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            low = f"from {kind.ge}" if kind.ge is not None else f"above {kind.gt}"
            return (
                f"{'a whole number' if isinstance(kind, inspect.IntType) else 'a number'} {low} to {kind.le}"
            )
        case inspect.VarTupleType():
            return "a list of texts"
        case _:
            return "a text"
