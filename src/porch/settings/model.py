"""Every setting: its name, its kind, its default, what it is for, and which of them are secret."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

DATABASES = frozenset({"database_url", "migration_url"})
WHOLLY_SECRET = frozenset({"oidc_client_secret"})
SECRET = DATABASES | WHOLLY_SECRET | {"egress_proxy", "otlp_endpoint", "live_url"}


def redact_url(url: str) -> str:
    """A URL with its password as ***."""
    url = re.sub(r"^([^:/@]+://[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)((?:^|[?&])(?:ssl)?password=)[^&]*", r"\1***", url)


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
    oidc_issuer: Annotated[
        str | None,
        Meta(
            description="With `multi_user`, an OpenID Connect provider to sign in with, `https://id.example`."
        ),
    ] = None
    oidc_client_id: Annotated[str | None, Meta(description="What this server is called there.")] = None
    oidc_client_secret: Annotated[
        str | None, Meta(description="Its secret there; none for a public client, which PKCE alone protects.")
    ] = None
    oidc_name: Annotated[
        str | None, Meta(description="What the button calls the provider; without it, the issuer's host.")
    ] = None
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
    audit_days: Annotated[
        int, Meta(ge=1, le=3650, description="Days for which the audit trail of a workspace is kept.")
    ] = 400
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
        hidden = {name: "***" for name in WHOLLY_SECRET if values[name]}
        return [
            (name, redact_url(v) if name in SECRET and v and name not in hidden else hidden.get(name, v))
            for name, v in values.items()
        ]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


NAMES = Settings.__struct_fields__
