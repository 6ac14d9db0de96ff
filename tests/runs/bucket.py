"""A small S3: one bucket in memory, which checks every request's signature (AWS Signature Version 4)."""

import hashlib
import hmac
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

from aiohttp import web

KEY, SECRET, REGION = "AKIAPORCHTEST", "a-secret-that-no-log-may-hold", "eu-central-1"


@dataclass
class Bucket:
    """What it holds, what it was asked, and how it answers."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])
    asked: list[str] = field(default_factory=list[str])
    broken: bool = False
    forgetful: bool = False

    async def answer(self, request: web.Request) -> web.Response:
        """One request of the S3 API, of those that read, write and remove an object."""
        body = await request.read()
        self.asked.append(f"{request.method} {request.path}")
        if not _signed(request, body):
            return _error(403, "SignatureDoesNotMatch")
        if self.broken:
            return _error(400, "ExpectedTrouble")
        name = request.path.removeprefix("/journals/")
        match request.method:
            case "PUT":
                self.objects[name] = body[:-1] if self.forgetful else body
                return web.Response(headers={"ETag": f'"{hashlib.sha256(body).hexdigest()}"'})
            case "GET" if name in self.objects:
                headers = {"ETag": '"1"', "Last-Modified": "Mon, 23 Nov 2026 10:00:00 GMT"}
                return web.Response(body=self.objects[name], headers=headers)
            case "DELETE":
                self.objects.pop(name, None)
                return web.Response(status=204)
            case _:
                return _error(404, "NoSuchKey")


@asynccontextmanager
async def bucket() -> AsyncGenerator[Bucket]:
    """One that listens on this machine."""
    made = Bucket()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{name:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    try:
        yield made
    finally:
        await runner.cleanup()


def _error(status: int, code: str) -> web.Response:
    text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return web.Response(status=status, text=text, content_type="application/xml")


def _signed(request: web.Request, body: bytes) -> bool:
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    given = request.headers.get("x-amz-content-sha256", "")
    if scheme != "AWS4-HMAC-SHA256" or given not in (hashlib.sha256(body).hexdigest(), "UNSIGNED-PAYLOAD"):
        return False
    key, day, region, service, end = parts["Credential"].split("/")
    if (key, region, service, end) != (KEY, REGION, "s3", "aws4_request"):
        return False
    names = parts["SignedHeaders"].split(";")
    query = "&".join(
        sorted(f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in request.rel_url.query.items())
    )
    lines = [request.method, request.raw_path.partition("?")[0], query]
    lines += [f"{name}:{' '.join(request.headers[name].split())}" for name in names]
    canonical = "\n".join([*lines, "", ";".join(names), given])
    scope = f"{day}/{region}/{service}/{end}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join([scheme, request.headers["x-amz-date"], scope, digest])
    signer = f"AWS4{SECRET}".encode()
    for part in (day, region, service, end):
        signer = hmac.digest(signer, part.encode(), "sha256")
    return hmac.compare_digest(hmac.digest(signer, text.encode(), "sha256").hex(), parts["Signature"])
