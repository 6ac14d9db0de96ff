"""The application: which rooms' doors it has, and what they find behind them."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI

from porch.agents.routes import router as agents
from porch.contract.definition import Definition
from porch.http.application import create_app
from porch.identity.authentication import Authenticator
from porch.identity.routes import router as identity
from porch.models.addresses import ModelNotConfigured
from porch.models.local.process import LocalModel
from porch.models.service import Models
from porch.plugins.service import Tools
from porch.runs.routes import router as runs
from porch.runs.service import Runs
from porch.settings import Settings
from porch.storage.database import Database
from porch.web.health import router as health


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the doors lead to."""

    database: Database
    authenticator: Authenticator
    models: Models
    tools: Tools
    runs: Runs
    local_model: LocalModel | None


def build_app(settings: Settings, rooms: Rooms) -> FastAPI:
    """The app over running rooms. It starts and stops nothing by itself."""
    app = create_app(
        [runs, agents, identity, health], hosts=settings.allowed_hosts, max_body_bytes=settings.max_body_bytes
    )
    app.state.database = rooms.database
    app.state.authenticate = rooms.authenticator
    app.state.runs = rooms.runs
    app.state.local_model = rooms.local_model
    app.state.check_definition = _check(rooms.models, rooms.tools)
    return app


def _check(models: Models, tools: Tools) -> Callable[[Definition], list[str]]:
    """What a definition must meet to be kept: known models and tools. A missing key is only a warning."""

    def check(definition: Definition) -> list[str]:
        tools.check(definition.tools or [])
        warnings: list[str] = []
        for name in definition.models:
            try:
                models.resolve(name)
            except ModelNotConfigured as missing:
                warnings.append(missing.message)
        return warnings

    return check
