"""The application: which rooms' doors it has, and what they find behind them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import FastAPI

from porch.agents.conversation_pages import router as conversation_pages
from porch.agents.embedding_routes import door
from porch.agents.pages import router as agent_pages
from porch.agents.routes import router as agents
from porch.contract.definition import Definition
from porch.egress import Egress
from porch.faces.ag_ui.routes import router as ag_ui
from porch.faces.ai_sdk.routes import router as ai_sdk
from porch.faces.openai.routes import router as openai
from porch.http.application import create_app
from porch.identity.audit import Refusals
from porch.identity.audit_routes import pages as audit_pages
from porch.identity.audit_routes import router as audit
from porch.identity.authentication import Authenticator
from porch.identity.confirm_pages import router as confirm_pages
from porch.identity.doors import Doors
from porch.identity.lifecycle_pages import router as lifecycle_pages
from porch.identity.lifecycle_routes import router as lifecycle
from porch.identity.member_pages import router as member_pages
from porch.identity.member_routes import router as members
from porch.identity.oidc_pages import router as oidc_pages
from porch.identity.oidc_provider import Provider
from porch.identity.pages import router as identity_pages
from porch.identity.passkey_pages import router as passkey_pages
from porch.identity.passkey_routes import router as passkeys
from porch.identity.people_pages import router as people_pages
from porch.identity.recovery_pages import router as recovery_pages
from porch.identity.routes import router as identity
from porch.identity.token_pages import router as token_pages
from porch.models.addresses import ModelNotConfigured
from porch.models.availability import BUNDLED
from porch.models.local.process import LocalModel
from porch.models.pages import router as model_pages
from porch.models.routes import router as models
from porch.models.service import Models
from porch.plugins.service import Tools
from porch.runs.archive_routes import router as archive
from porch.runs.company_routes import router as company
from porch.runs.inbox_pages import router as inbox_pages
from porch.runs.inbox_routes import router as inbox
from porch.runs.routes import router as runs
from porch.runs.service import Runs
from porch.settings import Settings
from porch.status.pages import router as status_pages
from porch.storage.database import Database
from porch.web.design import router as design
from porch.web.health import router as health
from porch.web.pages import router as web_pages
from porch.web.providers import ask_provider
from porch.web.static import StaticFiles
from porch.web.static import router as static

FACES = (ag_ui, ai_sdk, openai)
PAGES = (
    agent_pages,
    conversation_pages,
    inbox_pages,
    identity_pages,
    people_pages,
    token_pages,
    audit_pages,
    oidc_pages,
    recovery_pages,
    confirm_pages,
    passkey_pages,
    member_pages,
    lifecycle_pages,
    model_pages,
    status_pages,
    web_pages,
    design,
)


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the doors lead to; `folder` is the data folder."""

    database: Database
    authenticator: Authenticator
    models: Models
    tools: Tools
    runs: Runs
    local_model: LocalModel | None
    egress: Egress
    folder: Path | None = None
    refusals: Refusals | None = None


def build_app(settings: Settings, rooms: Rooms) -> FastAPI:
    """The app over running rooms. It starts and stops nothing by itself."""
    files = StaticFiles()
    app = create_app(
        [
            runs,
            inbox,
            company,
            archive,
            *FACES,
            agents,
            door,
            identity,
            audit,
            passkeys,
            members,
            lifecycle,
            models,
            health,
            static,
            *PAGES,
        ],
        hosts=_hosts(settings),
        max_body_bytes=settings.max_body_bytes,
        static=files.url,
        pressure=rooms.runs.pressure,
    )
    app.state.static_files = files
    app.state.database = rooms.database
    app.state.refusals = rooms.refusals
    app.state.authenticate = rooms.authenticator
    app.state.doors = Doors(settings.multi_user, settings.sign_up)
    app.state.oidc = _provider(settings, rooms.egress)
    app.state.models = rooms.models
    app.state.home = rooms.models.sharing.home
    app.state.tools = rooms.tools
    app.state.default_model = settings.default_model or f"local:{BUNDLED}"
    app.state.runs = rooms.runs
    app.state.conversation_opened = rooms.runs.recall.opened
    app.state.conversation_deleted = rooms.runs.recall.deleted
    app.state.agent_changed = rooms.runs.recall.agent_changed
    app.state.local_model = rooms.local_model
    app.state.egress = rooms.egress
    app.state.outcomes = settings.outcomes
    app.state.data_dir = rooms.folder
    app.state.check_definition = _check(rooms.models, rooms.tools)
    return app


def _provider(settings: Settings, egress: Egress) -> Provider | None:
    """The provider that people may sign in with, if the settings name one."""
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        return None
    return Provider(
        partial(ask_provider, egress),
        settings.oidc_issuer,
        settings.oidc_client_id,
        settings.oidc_client_secret,
        settings.oidc_name,
    )


def _hosts(settings: Settings) -> tuple[str, ...]:
    """The names to answer to besides the local ones; that of `public_url` needs no saying twice."""
    named = urlsplit(settings.public_url or "").hostname
    if named is None:
        return settings.allowed_hosts
    return (*settings.allowed_hosts, f"[{named}]" if ":" in named else named)


def _check(models: Models, tools: Tools) -> Callable[[Definition, UUID], list[str]]:
    """What a definition must meet to be kept: known models and tools. A missing key is only a warning."""

    def check(definition: Definition, workspace: UUID) -> list[str]:
        tools.check(definition.tools or [])
        warnings: list[str] = []
        for name in definition.models:
            try:
                models.resolve(name, workspace)
            except ModelNotConfigured as missing:
                warnings.append(missing.message)
        return warnings

    return check
