"""A small server that keeps the contract, but for one fault: what each check must see."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from porch.contract.errors import InvalidInput
from porch.contract.frames import KEEP_ALIVE, START, Cursor, resync_frame
from porch.contract.ids import new_id
from porch.contract.schema import stream_schema
from tests.conformance.play import Run

FAR = 10_000
KEEP_ALIVE_SECONDS = 0.75
TAKEOVER_SECONDS, LATE_TAKEOVER_SECONDS = 0.3, 3.0
OVERFLOW = 300  # events that a slow reader gets
HURRIED = 90  # events that a machine with too much to do gives to any reader at once
TOKENS = {"owner", "stranger"}
END = re.compile(rb"event: run\.(finished|failed|cancelled)\n")


class World:
    """What replicas share."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.runs: dict[str, Run] = {}
        self.models: dict[str, list[str]] = {}
        self.asking: set[str] = set()
        self.conversations: dict[str, str] = {}
        self.keys: dict[tuple[str, ...], tuple[bytes, str]] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, conversation: str, text: str, holder: str) -> Run:
        """A run that plays by itself."""
        agent = self.conversations[conversation]
        run = Run(text, self.models[agent], self.fault, holder, asks=agent in self.asking)
        run.conversation = conversation
        self.runs[run.id] = run
        self.tasks[run.id] = asyncio.create_task(run.go())
        return run

    async def bury(self, holder: str) -> None:
        """What the others do when a replica is gone."""
        left = [run for run in self.runs.values() if run.holder == holder and run.status == "running"]
        for run in left:
            self.tasks[run.id].cancel()
        await asyncio.sleep(LATE_TAKEOVER_SECONDS if self.fault == "late takeover" else TAKEOVER_SECONDS)
        for run in left:
            for seconds in run.take_over():
                await asyncio.sleep(seconds)


class Door:
    """One replica."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name, self.url = world, name, ""
        self.stopped: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self._streams: list[web.Request] = []
        self._port = 0

    async def open(self) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = int(self._runner.addresses[0][1])
        self.url = f"http://127.0.0.1:{self._port}"

    async def close(self) -> None:
        """Listen no more."""
        if self._runner:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def kill(self) -> None:
        """Cut every connection; the others notice after a while."""
        for request in self._streams:
            if request.transport:
                request.transport.abort()
        self.stopped = asyncio.create_task(self.close())
        self.world.tasks["bury"] = asyncio.create_task(self.world.bury(self.name))

    async def be_supervised(self) -> None:
        """What somebody does who starts it again whenever it is killed."""
        while self.stopped is None:
            await asyncio.sleep(0.01)
        await self.stopped
        await self.open()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in TOKENS and self.fault != "no token needed":
            return problem(401, "unauthenticated")
        for method, pattern, action in self._routes():
            if request.method == method and (found := re.fullmatch(pattern, request.path)):
                return await action(request, *found.groups())
        return problem(404, "not_found")

    @property
    def fault(self) -> str:
        """What is wrong here."""
        return self.world.fault

    def _routes(self) -> list[tuple[str, str, Callable[..., Awaitable[web.StreamResponse]]]]:
        workspace, runs = "/api/v1/workspaces/home/agents", "/api/v1/runs/([^/]+)"
        return [
            ("GET", "/healthz", self._me),
            ("GET", "/api/v1/me", self._me),
            ("GET", "/contract/v1/schema.json", self._schema),
            ("POST", workspace, self._make_agent),
            ("DELETE", f"{workspace}/([^/]+)", self._remove),
            ("POST", f"{workspace}/([^/]+)/conversations", self._converse),
            ("POST", "/api/v1/conversations/([^/]+)/runs", self._start),
            ("GET", "/api/v1/conversations/([^/]+)/messages", self._messages),
            ("GET", runs, self._state),
            ("GET", f"{runs}/events", self._events),
            ("POST", f"{runs}/cancel", self._cancel),
            ("POST", f"{runs}/approvals/apr_1", self._decide),
        ]

    async def _me(self, _: web.Request) -> web.Response:
        return web.json_response({"workspaces": [{"handle": "home"}]})

    async def _schema(self, _: web.Request) -> web.Response:
        schema = stream_schema()
        if self.fault == "schema without seq":
            for one in schema["$defs"].values():
                one["required"] = [name for name in one.get("required", ()) if name != "seq"]
        if self.fault == "schema without a type":
            del schema["discriminator"]["mapping"]["stream.chunk"]
        if self.fault == "schema of something else":
            schema = {"type": "object"}
        return web.json_response(schema)

    async def _make_agent(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.world.models[body["name"]] = [body["model"]] if isinstance(body["model"], str) else body["model"]
        if "approval" in body:
            self.world.asking.add(body["name"])
        return web.json_response({}, status=201)

    async def _remove(self, _: web.Request, name: str) -> web.Response:
        del self.world.models[name]
        return web.Response(status=204)

    async def _converse(self, _: web.Request, agent: str) -> web.Response:
        conversation = new_id("conv")
        self.world.conversations[conversation] = agent
        return web.json_response({"id": conversation}, status=201)

    async def _messages(self, _: web.Request, conversation: str) -> web.Response:
        ids = [run.answer for run in self.world.runs.values() if run.conversation == conversation]
        return web.json_response({"items": [{"id": name} for name in ids if self.fault != "message late"]})

    async def _start(self, request: web.Request, conversation: str) -> web.StreamResponse:
        body = await request.read()
        text = json.loads(body)["input"]
        if "\x00" in text and self.fault != "nul taken":
            return problem(422, "invalid")
        key = request.headers.get("Idempotency-Key", "")
        place = (conversation, key, self.name if self.fault == "key of a replica" else "")
        if key and self.fault != "key ignored" and place in self.world.keys:
            before, name = self.world.keys[place]
            if before != body and self.fault != "other body":
                return problem(422, "idempotency_key_reused")
            run = self.world.runs[name]
        else:
            run = self.world.start(conversation, text, self.name)
            self.world.keys[place] = body, run.id
        if "text/event-stream" in request.headers.get("Accept", "") and self.fault != "no stream":
            return await self._stream(request, run, START, live=True)
        return web.json_response({"run": run.id}, status=200 if self.fault == "no 202" else 202)

    def _run(self, request: web.Request, name: str) -> Run | web.Response:
        """The run, for who may see it."""
        run = self.world.runs.get(name)
        seen = self.fault == "shown to strangers" or "stranger" not in request.headers["Authorization"]
        if run is None or not seen:
            return problem(403 if self.fault == "forbidden" else 404, "not_found")
        return run

    async def _state(self, request: web.Request, name: str) -> web.Response:
        run = self._run(request, name)
        if isinstance(run, web.Response):
            return run
        return web.json_response({"id": run.id, "status": run.status})

    async def _cancel(self, request: web.Request, name: str) -> web.Response:
        run = self._run(request, name)
        if isinstance(run, web.Response):
            return run
        deaf = self.fault == "cancel ignored" or (
            self.fault == "cancel elsewhere" and run.holder != self.name
        )
        if not deaf:
            run.cancelled.set()
        if self.fault == "cancelled twice" and run.status == "cancelled":
            run.frames.append(run.frames[-1])
        return web.json_response({}, status=202)

    async def _decide(self, request: web.Request, name: str) -> web.Response:
        run = self._run(request, name)
        if isinstance(run, web.Response):
            return run
        decision = (await request.json())["decision"]
        if run.decision not in (None, decision) and self.fault != "minds change":
            return problem(409, "conflict")
        if run.decision == decision and self.fault == "once and never again":
            return problem(409, "conflict")
        run.decision = decision
        run.decided.set()
        return web.json_response({"decision": decision})

    async def _events(self, request: web.Request, name: str) -> web.StreamResponse:
        run = self._run(request, name)
        if isinstance(run, web.Response):
            return run
        texts = [request.headers.get("Last-Event-ID"), request.query.get("after")]
        if self.fault == "query stronger":
            texts.reverse()
        text = texts[0] or texts[1]
        try:
            cursor = Cursor.parse(text) if text else START
        except InvalidInput:
            if self.fault != "garbled taken":
                return problem(422, "invalid")
            cursor = START
        if cursor.epoch > run.epoch and self.fault != "any epoch":
            return problem(409, "conflict")
        if cursor.seq > len(run.frames) + FAR and self.fault != "future awaited":
            return problem(409, "conflict")
        if cursor.seq > len(run.frames) and run.status not in ("running", "paused"):
            return web.Response(status=500) if self.fault == "ahead" else problem(409, "conflict")
        if (
            cursor.seq == len(run.frames)
            and run.status not in ("running", "paused")
            and self.fault != "no 204"
        ):
            return web.Response(status=204)
        return await self._stream(request, run, cursor)

    async def _stream(
        self, request: web.Request, run: Run, cursor: Cursor, *, live: bool = False
    ) -> web.StreamResponse:
        typed = "text/plain" if self.fault == "content type" else "text/event-stream"
        response = web.StreamResponse(headers={"Content-Type": typed})
        await response.prepare(request)
        self._streams.append(request)
        try:
            await self._send(response, run, cursor, live=live)
            if self.fault == "torn":
                await response.write(b"id: 1-9999\nevent: notice")
        except (ConnectionError, asyncio.CancelledError):
            if self.fault == "leaving cancels":
                run.cancelled.set()
            raise
        finally:
            self._streams.remove(request)
        return response

    async def _send(self, response: web.StreamResponse, run: Run, cursor: Cursor, *, live: bool) -> None:
        place, epoch, ended = cursor.seq, cursor.epoch or run.epoch, False
        flood = len(run.frames) < 4 and not live and "tokens" in repr(run._cues)  # pyright: ignore[reportPrivateUsage]  # a fake
        most = place + HURRIED if self.fault == "nothing but haste" else 1 << 30
        slow = flood and any(cue.verb == "stall" for cue in run._cues)  # pyright: ignore[reportPrivateUsage]
        if self.fault == "after counts wrong" and place:
            place -= 1
        if self.fault == "joins late" and not live and run.status == "running":
            place = len(run.frames)
        if self.fault == "elsewhere late" and run.holder != self.name:
            while run.status == "running":
                await run.changed.wait()
        while not ended:
            if run.epoch > epoch and run.kept:
                place, epoch = await self._tell_takeover(response, run, place), run.epoch
            changed = run.changed
            for frame in run.frames[place:]:
                place += 1
                if slow and place > OVERFLOW:
                    if self.fault != "slow cut":
                        await response.write(resync_frame("overflow", OVERFLOW))
                    return
                if place > most:
                    await response.write(resync_frame("overflow", most))
                    return
                if data := self._spoiled(frame, run, place, live=live):
                    await response.write(data)
            ended = run.status != "running" or bool(run.frames and END.search(run.frames[-1]))
            ended = ended and place == len(run.frames)
            if not ended:
                await self._wait(response, changed)

    async def _wait(self, response: web.StreamResponse, changed: asyncio.Event) -> None:
        """Wait for more, not silently."""
        pace = 0.02 if self.fault == "keep-alive often" else KEEP_ALIVE_SECONDS
        try:
            await asyncio.wait_for(changed.wait(), pace)
        except TimeoutError:
            if self.fault != "no keep-alive":
                await response.write(KEEP_ALIVE)

    async def _tell_takeover(self, response: web.StreamResponse, run: Run, place: int) -> int:
        """Where a reader of the old epoch goes on."""
        ahead = place > run.kept
        keep = run.kept - 1 if self.fault == "resync keeps less" else run.kept
        if (ahead and self.fault != "no resync") or self.fault == "resync for all":
            await response.write(resync_frame("takeover", keep))
        return run.kept if ahead else place

    def _spoiled(self, frame: bytes, run: Run, place: int, *, live: bool) -> bytes:
        """A frame as it is replayed."""
        replay = not live and run.status != "running"
        spoil = (self.fault == "replay rewritten" and replay) or (
            self.fault == "replay elsewhere" and self.name != run.holder
        )
        if spoil:
            return frame.replace(b'"v":1', b'"v": 1')
        lost = self.fault == "lost after a kill" and run.epoch > 1 and replay and place == run.kept + 4
        return b"" if lost else frame


def problem(status: int, code: str) -> web.Response:
    """A refusal of RFC 9457."""
    body: dict[str, Any] = {"type": "about:blank", "status": status, "code": code, "detail": "No."}
    return web.json_response(body, status=status, content_type="application/problem+json")


@asynccontextmanager
async def replicas(fault: str = "") -> AsyncGenerator[tuple[Door, Door]]:
    """Two doors of one world."""
    world = World(fault)
    first, second = Door(world, "first"), Door(world, "second")
    try:
        await first.open()
        await second.open()
        yield first, second
    finally:
        for task in world.tasks.values():
            task.cancel()
        await asyncio.gather(*world.tasks.values(), return_exceptions=True)
        if first.stopped:
            await first.stopped
        await first.close()
        await second.close()
