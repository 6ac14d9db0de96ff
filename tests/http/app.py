"""The rooms of identity and agents over a real database, with two tenants who know nothing of each other."""

from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, FastAPI

from porch.agents.routes import router as agents
from porch.contract.ids import format_id, new_uuid
from porch.contract.principal import Role
from porch.http.application import create_app
from porch.identity import store
from porch.identity.audit_routes import router as audit
from porch.identity.authentication import Authenticator
from porch.identity.doors import CLOSED, Doors
from porch.identity.member_routes import router as members
from porch.identity.routes import router as identity
from porch.identity.tokens import mint
from porch.storage.connection import Connection, connected
from porch.storage.database import Database
from porch.storage.embedded import PostgresUrls
from tests.http.client import Client

ROUTERS = (identity, audit, members, agents)
DEFINITION: dict[str, Any] = {"name": "helper", "instructions": "Be brief.", "model": "local:smollm2"}


@dataclass(frozen=True)
class Tenant:
    """A workspace and its owner, with a token for everything."""

    workspace: UUID
    owner: UUID
    handle: str
    client: Client

    @property
    def path(self) -> str:
        return f"/api/v1/workspaces/{self.handle}"

    @property
    def id(self) -> str:
        return format_id("ws", self.workspace)


@dataclass(frozen=True)
class World:
    """An app, its database, and ways to fill it that the API has not got yet."""

    app: FastAPI
    database: Database
    urls: PostgresUrls

    async def tenant(self, handle: str) -> Tenant:
        """A new workspace with an owner."""
        workspace, owner = new_uuid(), new_uuid()
        async with definer(self.urls) as connection:
            await connection.execute(
                "INSERT INTO porch.workspaces (id, handle, name) VALUES ($1, $2, $2)", workspace, handle
            )
        await self.join(workspace, "owner", owner)
        return Tenant(workspace, owner, handle, Client(self.app, await self.token(workspace, owner)))

    async def join(self, workspace: UUID, role: Role, user: UUID | None = None) -> UUID:
        """A new user with this role."""
        user = user or new_uuid()
        async with definer(self.urls) as connection:
            await connection.execute(
                "INSERT INTO porch.users (id, name) VALUES ($1, $2)", user, f"{role}-{user}"
            )
            await connection.execute(
                "INSERT INTO porch.memberships (workspace_id, user_id, role) VALUES ($1, $2, $3)",
                workspace,
                user,
                role,
            )
        return user

    @contextmanager
    def several_people(self) -> Generator[None]:
        """Others than the operator may come in meanwhile."""
        self.app.state.doors = Doors(multi_user=True, sign_up="open")
        try:
            yield
        finally:
            self.app.state.doors = CLOSED

    async def make_operator(self, user: UUID | None) -> None:
        """Makes this the one operator, or nobody."""
        async with connected(self.urls.admin) as connection:
            await connection.execute("UPDATE porch.users SET operator = (id IS NOT DISTINCT FROM $1)", user)

    async def rejoin(self, workspace: UUID, user: UUID, role: Role) -> None:
        """Lets somebody in again who is known."""
        async with definer(self.urls) as connection:
            await connection.execute(
                "INSERT INTO porch.memberships (workspace_id, user_id, role) VALUES ($1, $2, $3)",
                workspace,
                user,
                role,
            )

    async def token(
        self,
        workspace: UUID,
        user: UUID,
        scopes: Sequence[str] = ("admin:*",),
        lifetime: timedelta | None = None,
    ) -> str:
        """A token of this user."""
        minted = mint()
        async with self.database.tenant(workspace) as connection:
            await store.insert_token(
                connection,
                workspace,
                minted,
                user=user,
                parent=None,
                name="test",
                scopes=scopes,
                lifetime=lifetime,
            )
        return minted.text

    async def member(self, tenant: Tenant, role: Role, scopes: Sequence[str] = ("admin:*",)) -> Client:
        """A client for a new user of this role in the tenant's workspace."""
        user = await self.join(tenant.workspace, role)
        return Client(self.app, await self.token(tenant.workspace, user, scopes))


@asynccontextmanager
async def definer(urls: PostgresUrls) -> AsyncGenerator[Connection]:
    """A connection that may write users, workspaces and memberships."""
    async with connected(urls.owner) as connection:
        await connection.execute("SET ROLE porch_definer")
        yield connection


@asynccontextmanager
async def assembled(urls: PostgresUrls, extra: Iterable[APIRouter] = ()) -> AsyncGenerator[World]:
    """An app over this database; `extra` routers are for tests of the common layers."""
    database = await Database.connect(urls.app)
    authenticator = Authenticator(database)
    app = create_app([*ROUTERS, *extra], hosts=["porch.example"])
    app.state.database = database
    app.state.authenticate = authenticator
    app.state.doors = CLOSED
    try:
        yield World(app, database, urls)
    finally:
        await authenticator.close()
        await database.close()
