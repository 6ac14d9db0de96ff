"""Every way to write over the API, and a database that gets in their way when it is told to."""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from porch.storage.connection import Connection
from tests.http.client import Answer
from tests.http.visitors import SITE, embed, knock
from tests.web.conftest import STREAM, House

Make = Callable[["Scene", str], Awaitable[Answer]]
_numbers = itertools.count(1)


@dataclass
class Scene:
    """What a write finds: an agent, a conversation with an answer in it, and what belongs to them."""

    house: House
    agent: str
    conversation: str
    message: str
    number: int
    ready: str = ""

    @property
    def path(self) -> str:
        """The workspace's."""
        return self.house.ada.path

    async def ask(self, method: str, path: str, json: Any = None, key: bool = True) -> Answer:
        """A request of the owner's, with an Idempotency-Key that no other has unless `key` is false."""
        headers = {"Idempotency-Key": f"key-{self.number}"} if key and method == "POST" else {}
        return await self.house.ada.client.request(method, path, json=json, headers=headers)


async def set_scene(house: House, name: str = "") -> Scene:
    """A new agent with a version, a conversation with one answer, and what the write of this name needs."""
    number = next(_numbers)
    definition = {"name": f"writer-{number}", "instructions": "Act.", "model": "scripted:test"}
    await house.ada.client.post(f"{house.ada.path}/agents", json=definition)
    agent = f"{house.ada.path}/agents/writer-{number}"
    await house.ada.client.post(f"{agent}/versions")
    made = (await house.ada.client.post(f"{agent}/conversations")).json["id"]
    conversation = f"/api/v1/conversations/{made}"
    await house.ada.client.post(f"{conversation}/runs", json={"input": "Hello"}, headers=STREAM)
    messages = (await house.ada.client.get(f"{conversation}/messages")).json["items"]
    scene = Scene(house, agent, conversation, messages[-1]["id"], number)
    if name in FIRST:
        scene.ready = await FIRST[name](scene)
    return scene


async def _create_agent(scene: Scene, text: str) -> Answer:
    body = {"name": f"made-{scene.number}", "instructions": text, "model": "scripted:test"}
    return await scene.ask("POST", f"{scene.path}/agents", body)


async def _replace_agent(scene: Scene, text: str) -> Answer:
    body = {"name": f"writer-{scene.number}", "instructions": text, "model": "scripted:test", "title": text}
    return await scene.ask("PUT", scene.agent, body)


async def _change(scene: Scene) -> str:
    await scene.house.ada.client.patch(scene.agent, json={"description": f"Changed {scene.number}."})
    return scene.agent


async def _delete(scene: Scene) -> str:
    await scene.house.ada.client.delete(scene.conversation)
    return scene.conversation


async def _share(scene: Scene) -> str:
    made = (await scene.house.ada.client.post(f"{scene.conversation}/shares")).json
    return f"{scene.conversation}/shares/{made['id']}"


async def _token(scene: Scene) -> str:
    body = {"name": "short-lived", "scopes": ["read:agents"]}
    return f"{scene.path}/tokens/{(await scene.house.ada.client.post(f'{scene.path}/tokens', json=body)).json['id']}"


async def _embed(scene: Scene) -> str:
    return await embed(scene.house.ada, SITE)


async def _admit(scene: Scene, text: str) -> Answer:
    return await knock(scene.house.world.app, scene.ready, SITE)


def _simple(method: str, path: str, body: Callable[[str], Any] = lambda text: None) -> Make:
    async def make(scene: Scene, text: str) -> Answer:
        filled = path.format(
            ws=scene.path,
            agent=scene.agent,
            conversation=scene.conversation,
            message=scene.message,
            ready=scene.ready,
        )
        return await scene.ask(method, filled, body(text))

    return make


WRITES: dict[str, Make] = {
    "startRun": _simple("POST", "{conversation}/runs", lambda text: {"input": text}),
    "regenerateMessage": _simple("POST", "{conversation}/messages/{message}/regenerate"),
    "createAgent": _create_agent,
    "replaceAgent": _replace_agent,
    "changeAgent": _simple("PATCH", "{agent}", lambda text: {"description": text, "questions": [text]}),
    "deleteAgent": _simple("DELETE", "{agent}"),
    "publishVersion": _simple("POST", "{ready}/versions", lambda text: {"note": text}),
    "createConversation": _simple("POST", "{agent}/conversations", lambda text: {"title": text}),
    "updateConversation": _simple("PATCH", "{conversation}", lambda text: {"title": text}),
    "deleteConversation": _simple("DELETE", "{conversation}"),
    "restoreConversation": _simple("POST", "{ready}/restore"),
    "createShare": _simple("POST", "{conversation}/shares"),
    "revokeShare": _simple("DELETE", "{ready}"),
    "replaceEmbedding": _simple("PUT", "{agent}/embedding", lambda text: {"origins": [f"https://{text}"]}),
    "admitGuest": _admit,
    "updateWorkspace": _simple("PATCH", "{ws}", lambda text: {"name": text}),
    "createToken": _simple("POST", "{ws}/tokens", lambda text: {"name": text, "scopes": ["read:agents"]}),
    "revokeToken": _simple("DELETE", "{ready}"),
    "rotateToken": _simple("POST", "{ready}/rotate", lambda text: {"overlap": 60}),
    "createSignInLink": _simple("POST", "/api/v1/sign-in-links"),
}
# What must be there before a write can be tried: it answers the path that the write is about.
FIRST: dict[str, Callable[[Scene], Awaitable[str]]] = {
    "publishVersion": _change,
    "restoreConversation": _delete,
    "revokeShare": _share,
    "revokeToken": _token,
    "rotateToken": _token,
    "admitGuest": _embed,
}
# Writes that another one stands for, since they go the same way, and those that keep nothing in the database.
ELSEWHERE = {
    "cancelRun": "tests/runs",
    "createWorkspace": "tests/identity",
    "deleteWorkspace": "tests/web/test_lifecycle.py",
    "restoreWorkspace": "tests/web/test_lifecycle.py",
    "createInvitation": "tests/identity",
    "revokeInvitation": "tests/identity",
    "changeMember": "tests/identity",
    "removeMember": "tests/identity",
    "beginPasskey": "tests/identity",
    "createPasskey": "tests/identity",
    "removePasskey": "tests/identity",
    "beginPasskeySignIn": "tests/identity",
    "signInWithPasskey": "tests/identity",
    "resolveApproval": "tests/runs",
    "putQuota": "tests/runs",
    "fetchJournal": "tests/runs",
    "keepModelKey": "a file",
    "forgetModelKey": "a file",
    "testModel": "nothing",
}

TABLES = (
    "agents",
    "agent_versions",
    "agent_origins",
    "conversations",
    "conversation_shares",
    "messages",
    "runs",
    "journal",
    "guests",
    "guest_tokens",
    "sign_in_links",
)
# Others change these rows on the way in: a token's last use, a limit.
COLUMNS = {"tokens": "INSERT OR UPDATE OF revoked_at", "workspaces": "INSERT OR UPDATE OF name"}

FAULT = """
CREATE SEQUENCE porch.faults;
CREATE TABLE porch.fault_now (action text);
INSERT INTO porch.fault_now VALUES ('');
CREATE FUNCTION porch.get_in_the_way() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE what text := (SELECT action FROM porch.fault_now);
BEGIN
  IF what <> '' AND nextval('porch.faults') = 1 THEN
    IF what = 'cut' THEN
      PERFORM pg_terminate_backend(pg_backend_pid());
      PERFORM pg_sleep(5);
    END IF;
    RAISE EXCEPTION 'A fault of the test''s own.' USING ERRCODE = what;
  END IF;
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION porch.get_in_the_way() TO PUBLIC;
"""


async def lay_faults(connection: Connection) -> None:
    """Make writing fail once whenever a fault is armed; `connection` is the superuser's."""
    await connection.execute(FAULT)
    for table, events in {**dict.fromkeys(TABLES, "INSERT OR UPDATE OR DELETE"), **COLUMNS}.items():
        await connection.execute(
            f"CREATE TRIGGER fault AFTER {events} ON porch.{table} EXECUTE FUNCTION porch.get_in_the_way()"
        )


async def arm(connection: Connection, fault: str) -> None:
    """Let the next write that comes end in this: an SQLSTATE, or `cut` for a connection that dies."""
    await connection.execute("ALTER SEQUENCE porch.faults RESTART")
    await connection.execute("UPDATE porch.fault_now SET action = $1", fault)


async def disarm(connection: Connection) -> bool:
    """Let everything pass again; whether the fault had struck."""
    await connection.execute("UPDATE porch.fault_now SET action = ''")
    return bool(await connection.fetchval("SELECT is_called FROM porch.faults"))
