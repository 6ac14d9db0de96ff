"""Static files: read, hashed and compressed once, then answered from memory."""

import gzip
import hashlib
import re
from pathlib import Path
from typing import NamedTuple, cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from porch.contract.errors import NotFound, SetupError
from porch.http.auth import public

FOLDER = Path(__file__).with_name("static")
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
# What pages need comes as one sheet: each more would keep the first paint waiting.
SITE = "css/site.css"
SHEETS = tuple(
    f"css/{name}.css" for name in ("tokens", "base", "components", "agents", "conversations", "people")
)
# What the chat wears on other people's sites.
EMBED = "css/embed.css"
EMBED_SHEETS = tuple(f"css/{name}.css" for name in ("tokens", "chat", "standalone"))
EMBED_ENTRY = "js/chat/embed.js"
# Folders of modules that the entry needs; named at once, they are not found out one import after another.
EMBED_ROOMS = ("js/client/", "js/markdown/", "js/chat/")
NOT_EMBEDDED = frozenset(
    f"js/chat/{name}.js" for name in ("embed", "porch-chat", "member", "page", "session")
)
FOREVER = "public, max-age=31536000, immutable"
SHORTLY = "public, max-age=300"
# Other people's sites may load what is the same for everybody.
SHARED = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
WORTH_GZIP = 600
# Comments that have their lines to themselves: a tenth of what browsers would fetch.
# No text of ours goes over several lines, so that what a line begins with means nothing.
INDENTATION = re.compile(rb"^[ ]+", re.MULTILINE)
COMMENTS = {
    ".css": re.compile(rb"^[ \t]*/\*(?:[^*]|\*(?!/))*\*/[ \t]*$", re.MULTILINE),
    ".js": re.compile(rb"^[ \t]*(?://[^\n]*|/\*(?:[^*]|\*(?!/))*\*/[ \t]*)$", re.MULTILINE),
}


_TOKEN = re.compile(rb"^([ ]*)--([a-z0-9-]+): (.+);$", re.MULTILINE)
_REM = re.compile(rb"(?<![\w.-])(-?\d*\.?\d+)rem\b")


class StaticFile(NamedTuple):
    """One file as it is sent. `gzipped` is None where that would not make it smaller."""

    plain: bytes
    gzipped: bytes | None
    media_type: str
    etag: str


class StaticFiles:
    """All files of a folder. One hash stands for all of them, so that modules can import their neighbours.

    Raises SetupError for a file whose type it does not know.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
        self.files = {path.relative_to(folder).as_posix(): _read(path) for path in paths}
        if all(sheet in self.files for sheet in SHEETS):
            self.files[SITE] = _pack(b"\n".join(self.files[sheet].plain for sheet in SHEETS), ".css")
        if all(sheet in self.files for sheet in EMBED_SHEETS):
            self.files[EMBED] = _pack(
                _standing_alone(*(self.files[name].plain for name in EMBED_SHEETS)), ".css"
            )
        whole = hashlib.sha256()
        for name, file in self.files.items():
            whole.update(f"{name}\0{file.etag}\0".encode())
        self.version = whole.hexdigest()[:12]
        self.embed_script = self._embed_script() if EMBED_ENTRY in self.files else None

    def url(self, path: str) -> str:
        """The URL of a file, for good: another content has another URL. Raises KeyError for no file."""
        self.files[path]
        return f"/static/{self.version}/{path}"

    def _embed_script(self) -> StaticFile:
        needed = [path for path in self.files if path.startswith(EMBED_ROOMS) and path not in NOT_EMBEDDED]
        lines = (f'import ".{self.url(path)}";\n' for path in (*needed, EMBED_ENTRY))
        return _pack("".join(lines).encode(), ".js")

    def find(self, path: str) -> tuple[StaticFile, bool] | None:
        """The file at a path below /static/, and whether it may be kept for good."""
        version, _, rest = path.partition("/")
        if version == self.version and rest in self.files:
            return self.files[rest], True
        # A page from before an upgrade still asks for its modules.
        name = rest if _is_version(version) else path
        found = self.files.get(name)
        return (found, False) if found else None


router = APIRouter(tags=["static"], include_in_schema=False)


@router.get("/static/{path:path}", dependencies=[public()], response_class=Response)
async def get_static(request: Request, path: str) -> Response:
    """A file, by its URL of this version or by its bare path."""
    found = cast("StaticFiles", request.app.state.static_files).find(path)
    if found is None:
        raise NotFound(f"There is no static file {path[:200]!r}.")
    file, lasting = found
    return _answer(request, file, FOREVER if lasting else "no-cache")


@router.get("/embed.js", dependencies=[public()], response_class=Response)
async def get_embed_script(request: Request) -> Response:
    """What a site includes to have `<porch-chat>`: it imports the modules of this version."""
    script = cast("StaticFiles", request.app.state.static_files).embed_script
    if script is None:
        raise NotFound("This server has no chat for other sites.")
    return _answer(request, script, SHORTLY)


def _answer(request: Request, file: StaticFile, caching: str) -> Response:
    headers = {"Cache-Control": caching, "Vary": "Accept-Encoding", **SHARED}
    if caching != FOREVER:
        headers["ETag"] = file.etag
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body = file.plain
    if file.gzipped is not None and _takes_gzip(request.headers.get("accept-encoding", "")):
        body = file.gzipped
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type=file.media_type)


def _takes_gzip(accepted: str) -> bool:
    for item in accepted.lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() in {"gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _is_version(text: str) -> bool:
    return len(text) == 12 and not set(text) - set("0123456789abcdef")


def _standing_alone(tokens: bytes, *sheets: bytes) -> bytes:
    """Sheets that ask nothing of the page around them: a page may set each token as `--porch-…`, and sizes hang on
    the reader's own size of text, since a rem is whatever the page's root element says.
    """
    settable = _TOKEN.sub(rb"\1--\2: var(--porch-\2, \3);", tokens)
    return _REM.sub(rb"calc(\1 * var(--porch-rem))", b"\n".join((settable, *sheets)))


def _read(path: Path) -> StaticFile:
    if path.suffix not in TYPES:
        raise SetupError(f"The static file {path.name!r} is of no type that is served: {', '.join(TYPES)}.")
    plain = path.read_bytes()
    if path.suffix in COMMENTS:
        # The lines stay, so that browsers name those of the source.
        plain = COMMENTS[path.suffix].sub(lambda found: b"\n" * found[0].count(b"\n"), plain)
        plain = INDENTATION.sub(b"", plain)
    return _pack(plain, path.suffix)


def _pack(plain: bytes, suffix: str) -> StaticFile:
    media_type = TYPES[suffix]
    packed = None
    if len(plain) >= WORTH_GZIP and suffix not in {".png", ".woff2"}:
        packed = gzip.compress(plain, 9, mtime=0)
    return StaticFile(plain, packed, media_type, f'"{hashlib.sha256(plain).hexdigest()[:16]}"')
