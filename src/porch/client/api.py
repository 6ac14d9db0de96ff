"""`AsyncPorch`: what a program can ask of a Porch server."""

from typing import Self

import msgspec
from msgspec import Struct

from porch.client.answer import Answer
from porch.client.connection import ANSWER_SECONDS, LOST, Connection, new_idempotency_key
from porch.client.credentials import find_access
from porch.client.errors import ApiError
from porch.client.message import Input, encode_input
from porch.client.resources import (
    API,
    Agents,
    Approvals,
    Conversations,
    Json,
    SignInLinks,
    Tokens,
    in_workspace,
    of_conversation,
    segment,
)
from porch.client.stream import ATTEMPTS, RunStream, Start, make_start
from porch.contract.errors import InvalidInput
from porch.contract.events import Decision
from porch.contract.frames import START, Cursor

# Where a message goes unless told otherwise; no id looks like it.
HEAD = "head"


class Receipt(Struct, frozen=True, kw_only=True):
    """A message that was taken: its run, which goes on by itself, its conversation, its own id."""

    run: str
    conversation: str
    message: str


class AsyncPorch:
    """A Porch server. An async context manager; all methods raise ApiError, Unreachable and WrongAddress.

    async with AsyncPorch() as porch:
        async for event in porch.stream("@home/hello", "Good evening!"):
            ...

    Where a method takes `to`, that is an agent, "@workspace/name", with whom a new conversation begins, or the
    id of a conversation, which goes on. Writes carry an idempotency key; give `key` to send one again later.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = ANSWER_SECONDS,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Without `url` and `token`: PORCH_URL and PORCH_TOKEN, else the data folder's `credentials.json`.

        `timeout`, in seconds, is for one answer that is no stream. `attempts` is how often in a row a lost stream
        is tried again, the later ones 5 s apart. Raises SetupError.
        """
        access = find_access(url, token)
        self.connection = Connection(access.url, access.token, answer_seconds=timeout)
        self._attempts = attempts
        self.agents = Agents(self.connection)
        self.conversations = Conversations(self.connection)
        self.tokens = Tokens(self.connection)
        self.approvals = Approvals(self.connection)
        self.sign_in_links = SignInLinks(self.connection)

    async def me(self) -> Json:
        """Who the token stands for, with workspaces and scopes."""
        return await self.connection.send("GET", f"{API}/me")

    async def readiness(self) -> Json:
        """Whether messages are taken, and what stands in the way: database, runs, local model."""
        try:
            response = await self.connection.open("GET", "/readyz", headers={}, read_seconds=ANSWER_SECONDS)
            async with response:
                return msgspec.json.decode(await response.read(), type=Json)
        except LOST as error:
            raise self.connection.unreachable() from error

    async def ask(
        self,
        to: str,
        message: Input,
        *,
        parent: str | None = HEAD,
        draft: bool = False,
        key: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the same words as in Porch, which has no asyncio.timeout
    ) -> Answer:
        """Say something and wait for the whole answer, at most `timeout` seconds.

        Raises AnswerFailed, AnswerCancelled, TimedOut, and what reading a stream raises.
        """
        stream = self.stream(to, message, parent=parent, draft=draft, key=key, timeout=timeout)
        return await stream.answer()

    def stream(
        self,
        to: str,
        message: Input,
        *,
        parent: str | None = HEAD,
        draft: bool = False,
        key: str | None = None,
        timeout: float | None = None,
    ) -> RunStream:
        """Say something and follow the answer. However often it is sent, the message counts once.

        It follows the conversation's head, or `parent`, another of its messages (None: its start). With `draft`
        a new conversation is with the agent's draft. Nothing is sent before the first event is asked for.
        """
        start = _make_start(to, message, parent, key, draft=draft)
        return self._follow(start=start, timeout=timeout)

    async def run(
        self,
        to: str,
        message: Input,
        *,
        parent: str | None = HEAD,
        draft: bool = False,
        key: str | None = None,
    ) -> Receipt:
        """Say something and leave: the answer is given all the same. `resume` reads it, now or later."""
        start = _make_start(to, message, parent, key or new_idempotency_key(), draft=draft)
        await start.prepare(self.connection)
        taken = await self.connection.send("POST", start.path, body=start.body, key=start.key)
        try:
            return msgspec.convert(taken, Receipt)
        except msgspec.ValidationError as error:
            raise ApiError.of(200, b"") from error

    def resume(self, run: str, after: Cursor | str = START, *, timeout: float | None = None) -> RunStream:
        """Follow a run from its start, or from after a place in it, such as a stream's `cursor`, "1-57"."""
        place = Cursor.parse(after) if isinstance(after, str) else after
        return self._follow(run=run, after=place, timeout=timeout)

    def regenerate(
        self, conversation: str, message: str, *, key: str | None = None, timeout: float | None = None
    ) -> RunStream:
        """Have a message answered anew, beside the answer that is there, and follow that; named by either."""
        path = of_conversation(conversation, "messages", message, "regenerate")
        return self._follow(start=make_start(path, {}, key=key), timeout=timeout)

    async def get_run(self, run: str) -> Json:
        """A run's state."""
        return await self.connection.send("GET", _of_run(run))

    async def cancel(self, run: str) -> Json | None:
        """Stop a run; its stream ends with `run.cancelled`."""
        return await self.connection.send("POST", _of_run(run, "cancel"))

    async def approve(self, run: str, approval: str) -> Json:
        """Let a tool call go ahead that waits for a person, as `approval.requested` showed it.

        Once all are decided that the run waits for, `resume` follows it from where its stream paused.
        """
        return await self._decide(run, approval, "approve")

    async def deny(self, run: str, approval: str, *, note: str | None = None) -> Json:
        """Refuse a tool call that waits for a person; the model is told, and reads the note."""
        return await self._decide(run, approval, "deny", note)

    def _follow(
        self,
        *,
        run: str | None = None,
        after: Cursor = START,
        start: Start | None = None,
        timeout: float | None = None,
    ) -> RunStream:
        return RunStream(
            self.connection, run=run, after=after, start=start, attempts=self._attempts, timeout=timeout
        )

    async def _decide(self, run: str, approval: str, decision: Decision, note: str | None = None) -> Json:
        path = _of_run(run, "approvals", approval)
        body = {"decision": decision, **({"note": note} if note else {})}
        return await self.connection.send("POST", path, body=body)

    async def close(self) -> None:
        """Close all sockets; again is fine."""
        await self.connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def split_agent(agent: str) -> tuple[str, str]:
    """`@workspace/name` as its two names. Raises InvalidInput."""
    workspace, slash, name = agent.removeprefix("@").partition("/")
    if not (agent.startswith("@") and workspace and slash and name) or "/" in name:
        raise InvalidInput(f"{agent!r} names no agent; write @workspace/name, such as @home/hello.")
    return workspace, name


def _make_start(to: str, message: Input, parent: str | None, key: str | None, *, draft: bool) -> Start:
    body: Json = {"input": encode_input(message)}
    if to.startswith("conv_"):
        if draft:
            raise InvalidInput(
                "A conversation is with the draft or not from its start: `draft` needs an agent."
            )
        body |= {} if parent == HEAD else {"parent": parent}
        return make_start(of_conversation(to, "runs"), body, key=key)
    if parent != HEAD:
        raise InvalidInput(f"{to!r} begins a new conversation, where no message has a `parent`.")
    workspace, name = split_agent(to)
    opening = (in_workspace(workspace, "agents", name, "conversations"), {"draft": True} if draft else None)
    return make_start(f"{API}/conversations/{{}}/runs", body, key=key, opening=opening)


def _of_run(run: str, *path: str) -> str:
    return "/".join([f"{API}/runs", *map(segment, (run, *path))])
