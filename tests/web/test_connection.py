"""What a connection of the server keeps while a stream is open: light bells, and a call when the client leaves."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from porch.background import end
from porch.web import connection
from porch.web.connection import MAX_HEAD_BYTES, Bell, Connection, watch_departure, writer


@asynccontextmanager
async def served(app: ASGIApp, http: type[Connection] = Connection) -> AsyncGenerator[int]:
    """The app behind connections of ours; its port."""
    config = uvicorn.Config(
        app,
        loop="none",
        http=http,
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=5,  # for what a failed test left open
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup([sock])
        try:
            yield sock.getsockname()[1]
        finally:
            await server.shutdown([sock])


class Told:
    """A transport that keeps what is written to it."""

    def __init__(self, transport: asyncio.Transport, written: list[bytes]) -> None:
        self._transport = transport
        self._written = written

    def write(self, data: bytes) -> None:
        self._written.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def telling(written: list[bytes]) -> type[Connection]:
    """Connections that keep what they write."""

    class Telling(Connection):
        def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # as uvicorn's own
            super().connection_made(cast("asyncio.Transport", Told(transport, written)))

    return Telling


async def ask(port: int) -> bytes:
    """All that is answered to a GET, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


async def test_an_answer_goes_out_with_its_head_in_one_piece_unless_it_takes_its_time_or_is_large() -> None:
    written: list[bytes] = []
    counts: list[int] = []
    bodies = [[b"all of it"], [b"first", b"second", b"third"], [b"x" * 100_000, b"rest"]]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        *before, last = bodies[len(counts)]
        written.clear()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for body in before:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        if b"second" in before:
            assert not written  # it waits for the turn's end, and no longer
            await asyncio.sleep(0)
            assert len(written) == 1
        await send({"type": "http.response.body", "body": last})
        counts.append(len(written))

    async with asyncio.timeout(10), served(app, telling(written)) as port:
        for whole in bodies:
            answer = await ask(port)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(
                b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in whole) + b"0\r\n\r\n"
            )
            assert b"".join(written) == answer
    assert counts == [1, 2, 2]


async def test_a_client_that_leaves_before_its_answer_begins_is_written_nothing() -> None:
    written: list[bytes] = []
    over = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        cast("Any", send).__self__.flow._transport.abort()  # as a lost connection, in this very turn
        await asyncio.sleep(0)  # when it would have gone out
        over.set()

    async with asyncio.timeout(10), served(app, telling(written)) as port:
        assert await ask(port) == b""
        await over.wait()
    assert written == []


async def test_a_bell_lets_everybody_through_who_waits_once_it_is_rung() -> None:
    bell = Bell()
    waiting = [asyncio.create_task(bell.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    bell.set()
    assert [await waiting[0], await waiting[2], await bell.wait()] == [True, True, True]
    with pytest.raises(asyncio.CancelledError):
        await waiting[1]
    bell.clear()
    assert not bell.is_set()


@pytest.mark.parametrize(
    "body", [b"", b"x" * 200_000], ids=["nothing more was sent", "a body that nobody read"]
)
async def test_who_streams_is_called_when_the_client_leaves(body: bytes) -> None:
    left, begun = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert watch_departure(receive, left.set)
        begun.set()
        await left.wait()
        watch_departure(receive, None)

    async with asyncio.timeout(10), served(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await begun.wait()
        await writer.drain()
        assert not left.is_set()
        writer.close()
        await left.wait()


@pytest.mark.parametrize("at", [0, 1])
async def test_who_streams_is_called_though_the_client_had_sent_more_requests_behind(at: int) -> None:
    left, begun = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/short":
            await send({"type": "http.response.body", "body": b""})
            return
        assert watch_departure(receive, left.set)
        begun.set()
        while not left.is_set():
            await send({"type": "http.response.body", "body": b"word", "more_body": True})
            await asyncio.sleep(0.001)

    async with asyncio.timeout(10), served(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        paths = (b"/short",) * at + (b"/long",) * 3
        writer.write(b"".join(b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path for path in paths))
        await begun.wait()
        writer.close()
        try:
            await left.wait()
        finally:
            left.set()


async def test_requests_sent_one_behind_the_other_are_answered_in_their_order_with_their_bodies() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async with asyncio.timeout(10), served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n"
        writer.write(b"".join(head + body for body in (b"first", b"other", b"third")))
        for body in (b"first", b"other", b"third"):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(5) == body
        writer.close()


async def test_a_client_that_left_before_anybody_watched_is_told_of_at_once_and_other_servers_cannot_tell() -> (
    None
):
    called: list[bool] = []
    done = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        watch_departure(receive, lambda: called.append(True))
        done.set()

    async with asyncio.timeout(10), served(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await writer.drain()
        writer.close()
        await done.wait()
    assert called == [True]

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    assert not watch_departure(receive, lambda: None)


async def test_a_head_that_does_not_end_is_refused_and_its_connection_closed() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("it never begins")

    async with asyncio.timeout(10), served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\ncookie: " + b"x" * MAX_HEAD_BYTES)
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"\r\nConnection: close\r\n" in answer or b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"}")
    assert b"over 65,536 bytes. Shorten its address and headers." in answer


async def test_what_comes_behind_a_body_is_no_header_and_has_a_limit() -> None:
    seen: list[tuple[int, list[bytes]]] = []
    read = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        size = 0
        while (message := await receive())["type"] == "http.request":
            size += len(message["body"])
            if size == 40 * 4096:
                read.set()
            if not message["more_body"]:
                break
        seen.append((size, [name for name, _ in scope["headers"]]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = b"1000\r\n%b\r\n" % (b"x" * 4096) * 40 + b"0\r\n"
    async with asyncio.timeout(10), served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + chunks + b"x-forwarded-for: 192.0.2.6\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        assert seen == [(40 * 4096, [b"host", b"transfer-encoding"])]
        read.clear()
        writer.write(head + chunks)
        await read.wait()
        writer.write(b"x-forwarded-for: " + b"6" * 2 * MAX_HEAD_BYTES)
        assert await reader.read() == b""
        writer.close()


UPLOAD = b"POST / HTTP/1.1\r\ncontent-length: 100000\r\n\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nx: ",
        b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nx: ",
        UPLOAD,
        b"GET /refused" + UPLOAD.removeprefix(b"POST /"),
    ],
    ids=["a head", "a later head", "a body", "a body that nobody wants"],
)
async def test_a_request_that_does_not_come_to_its_end_in_time_is_not_waited_for(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(connection, "BODY_SECONDS", 0.2)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while scope["path"] == "/" and (message := await receive())["type"] == "http.request":
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    async with asyncio.timeout(10), served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        dripping = asyncio.create_task(drip(writer))
        with contextlib.suppress(ConnectionResetError):  # it may still have dripped
            await reader.read()
        await end(dripping)
        writer.close()


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", UPLOAD], ids=["all was said", "some of it"]
)
async def test_who_says_nothing_at_all_is_not_waited_for_but_a_stream_is(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(connection, "BODY_SECONDS", 0.05)
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"the end"})

    async with asyncio.timeout(10), served(app) as port:
        streaming, asking = await asyncio.open_connection("127.0.0.1", port)
        asking.write(said)
        await streaming.readuntil(b"\r\n\r\n")
        silent, other = await asyncio.open_connection("127.0.0.1", port)
        assert await silent.read() == b""  # the stream is older than this one was
        go_on.set()
        assert b"the end" in await streaming.readuntil(b"0\r\n\r\n")
        asking.close()
        other.close()


async def test_a_chunk_is_written_without_a_message_as_it_would_be_with_one() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        write = writer(send)
        assert write is not None
        assert not write(b"too soon")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert write(b"one ")
        await send({"type": "http.response.body", "body": b"two ", "more_body": True})
        assert not write(b""), "it would be the end"
        assert write(b"three")
        await send({"type": "http.response.body", "body": b""})
        assert not write(b"too late")

    async with asyncio.timeout(10), served(app) as port:
        reader, peer = await asyncio.open_connection("127.0.0.1", port)
        peer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        _, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert body == b"4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n"
        peer.close()


async def test_what_is_no_stream_of_chunks_or_has_no_reader_is_not_written_that_way() -> None:
    taken: list[bool] = []
    stuck, over = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        write = writer(send)
        if scope["method"] == "HEAD":
            taken.append(write is not None)
            headers = [(b"transfer-encoding", b"chunked")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        assert write is not None
        if scope["path"] == "/whole":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            taken.append(write(b"no"))
            await send({"type": "http.response.body", "body": b"ok"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while write(b"x" * 65536):
            await asyncio.sleep(0)
        stuck.set()  # the peer takes nothing more
        while (await receive())["type"] != "http.disconnect":
            pass
        taken.append(write(b"no"))
        over.set()

    async with asyncio.timeout(10), served(app) as port:
        for line in (b"GET /whole", b"HEAD /"):
            reader, peer = await asyncio.open_connection("127.0.0.1", port)
            peer.write(line + b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            assert b"no" not in (await reader.read()).partition(b"\r\n\r\n")[2]
            peer.close()
        _, peer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        peer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await stuck.wait()
        peer.transport.abort()
        await over.wait()
    assert taken == [False, False, False]

    async def other(message: object) -> None:
        """No server's."""

    assert writer(other) is None
