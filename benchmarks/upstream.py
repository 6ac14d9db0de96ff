"""A provider that speaks chat completions at a set pace: `python -m benchmarks.upstream PORT`.

The model's name, or `[[mock-…]]` in the last message, sets the pace: `mock-ttft100-tok100-itl50` waits 100 ms,
then sends 100 tokens, one write each, 50 ms apart; with `-ts` each tells behind an @ when it was sent, in microseconds.
"""

import asyncio
import re
import sys
import time
from typing import cast

import httptools
import uvloop

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WORDS = re.compile(rb"mock((?:-[a-z]+\d+)+)(-ts)?")
CHUNK = (
    b'{"id":"c","object":"chat.completion.chunk","created":1,"model":"mock",'
    b'"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}'
)
USAGE = b'{"id":"c","model":"mock","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d}}'


def framed(data: bytes) -> bytes:
    """One server-sent event as one HTTP chunk."""
    body = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(body), body)


TOKENS = [framed(CHUNK % (b'{"content":"~%03d"}' % n, b"null")) for n in range(1000)]


def stamped(number: int) -> bytes:
    """A token that tells when it was sent."""
    now = time.monotonic_ns() // 1000
    return framed(CHUNK % (b'{"content":"~%03d@%d"}' % (number % 1000, now), b"null"))


OPENING = framed(CHUNK % (b'{"role":"assistant","content":""}', b"null"))
CLOSING = framed(CHUNK % (b"{}", b'"stop"'))


class Upstream(asyncio.Protocol):
    """One connection; requests one after another."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        pace, stamped = (WORDS.findall(self.body) or [(b"", b"")])[-1]
        words = dict(re.findall(rb"-([a-z]+)(\d+)", pace))
        self.body = b""
        self.stamped = bool(stamped)
        self.tokens, self.pause = int(words.get(b"tok", 16)), int(words.get(b"itl", 0)) / 1000
        self.loop = asyncio.get_running_loop()
        self.loop.call_later(int(words.get(b"ttft", 0)) / 1000, self.open)

    def open(self) -> None:
        self.transport.write(HEAD + OPENING)
        self.due = self.loop.time()
        self.send(0)

    def send(self, sent: int) -> None:
        """Send the next token and come back for the one after it."""
        if self.transport.is_closing():
            return
        if sent == self.tokens:
            end = CLOSING + framed(USAGE % sent) + framed(b"[DONE]")
            self.transport.write(end + b"0\r\n\r\n")
            return
        self.transport.write(stamped(sent) if self.stamped else TOKENS[sent % 1000])
        self.due += self.pause
        self.loop.call_at(self.due, self.send, sent + 1)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
