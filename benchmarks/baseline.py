"""What Python can do at best here: `python -m benchmarks.baseline PORT UPSTREAM_PORT`.

It decodes every chunk of the provider into a typed value and sends one typed event a token, and nothing else: no
framework, no authentication, no storage. Everything that a platform adds is measured against it.
"""

import asyncio
import sys
from typing import cast

import httptools
import msgspec
import uvloop


class Delta(msgspec.Struct, gc=False):
    """As much of a chunk's delta as an event needs."""

    content: str | None = None


class Choice(msgspec.Struct, gc=False):
    """One choice."""

    delta: Delta


class Chunk(msgspec.Struct, gc=False):
    """One chunk."""

    choices: list[Choice]


class Token(msgspec.Struct, tag="stream.chunk", gc=False):
    """The event that is sent."""

    run: str
    seq: int
    delta: str


decode = msgspec.json.Decoder(Chunk).decode
encode = msgspec.json.encode
idle: list["Provider"] = []


class Provider(asyncio.Protocol):
    """A kept connection to the provider."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, reader: "Reader", body: bytes) -> None:
        self.reader, self.seq, self.tail = reader, 0, b""
        self.parser = httptools.HttpResponseParser(self)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: mock\r\ncontent-type: application/json\r\n"
        self.transport.write(head + b"content-length: %d\r\n\r\n%b" % (len(body), body))

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        *events, self.tail = (self.tail + body).split(b"\n\n")
        frames: list[bytes] = []
        for event in events:
            if event[6:12] == b"[DONE]":
                continue
            choices = decode(event[6:]).choices
            if choices and (text := choices[0].delta.content):
                self.seq += 1
                frames.append(b"id: %d\ndata: %b\n\n" % (self.seq, encode(Token("run", self.seq, text))))
        if frames:
            self.reader.send(b"".join(frames))

    def on_message_complete(self) -> None:
        self.reader.end()
        idle.append(self)


class Reader(asyncio.Protocol):
    """A client's connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.body = cast("asyncio.Transport", transport), b""
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        asyncio.ensure_future(self.run())  # noqa: RUF006 - it lives as long as its connection

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        provider = (
            idle.pop() if idle else (await loop.create_connection(Provider, "127.0.0.1", int(sys.argv[2])))[1]
        )
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.transport.write(head)
        provider.ask(self, self.body)
        self.body = b""

    def send(self, frames: bytes) -> None:
        self.transport.write(b"%x\r\n%b\r\n" % (len(frames), frames))

    def end(self) -> None:
        self.transport.write(b"0\r\n\r\n")


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Reader, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
