"""Static files: hashed once, kept for good, and nothing but what lies in their folder."""

import gzip
import posixpath
import re
from pathlib import Path

import pytest

from porch.contract.errors import SetupError
from porch.http.application import create_app
from porch.web.static import FOLDER, SHEETS, StaticFiles, router
from tests.http.client import Client

LONG = "body { margin: 0 }\n" * 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "static" / "css").mkdir(parents=True)
    (tmp_path / "static" / "css" / "a.css").write_text(LONG)
    (tmp_path / "static" / "a.js").write_text("export {}")
    (tmp_path / "secret.txt").write_text("a secret")
    return tmp_path / "static"


@pytest.fixture
def files(folder: Path) -> StaticFiles:
    return StaticFiles(folder)


@pytest.fixture
def client(files: StaticFiles) -> Client:
    app = create_app([router], static=files.url)
    app.state.static_files = files
    return Client(app)


async def test_a_file_at_its_url_is_kept_for_good(files: StaticFiles, client: Client) -> None:
    answer = await client.get(files.url("css/a.css"))
    assert (answer.status, answer.body.decode()) == (200, LONG)
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_file_by_its_bare_path_is_asked_for_again(client: Client) -> None:
    answer = await client.get("/static/css/a.css")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache")


async def test_a_page_from_before_an_upgrade_still_gets_its_modules(client: Client) -> None:
    answer = await client.get("/static/0123456789ab/a.js")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache")


async def test_who_has_it_already_gets_nothing(client: Client) -> None:
    etag = (await client.get("/static/css/a.css")).headers["etag"]
    again = await client.get("/static/css/a.css", headers={"if-none-match": f'"other", W/{etag}'})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == etag
    other = await client.get("/static/css/a.css", headers={"if-none-match": '"other"'})
    assert other.status == 200


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip, deflate, br", True),
        ("br;q=1.0, GZIP; q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, br", False),
        ("br", False),
        ("", False),
    ],
)
async def test_it_comes_compressed_to_those_who_take_it(client: Client, accepted: str, packed: bool) -> None:
    answer = await client.get("/static/css/a.css", headers={"accept-encoding": accepted})
    assert answer.headers["vary"] == "Accept-Encoding"
    assert (answer.headers.get("content-encoding") == "gzip") is packed
    assert (gzip.decompress(answer.body) if packed else answer.body) == LONG.encode()


async def test_what_is_short_comes_as_it_is(client: Client) -> None:
    answer = await client.get("/static/a.js", headers={"accept-encoding": "gzip"})
    assert answer.body == b"export {}"
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "css/../../secret.txt",
        "/etc/passwd",
        "css",
        "",
        "css/a.css%00",
        "0123456789ab/../secret.txt",
        "nothing.css",
    ],
)
async def test_nothing_but_the_files_of_the_folder_is_there(client: Client, path: str) -> None:
    answer = await client.get(f"/static/{path}")
    assert (answer.status, answer.code) == (404, "not_found")


def test_another_content_has_another_url(folder: Path, files: StaticFiles) -> None:
    before = files.url("a.js")
    assert StaticFiles(folder).url("a.js") == before
    (folder / "css" / "a.css").write_text("changed")
    assert StaticFiles(folder).url("a.js") != before  # its neighbours go by the same hash


def test_a_page_that_names_no_file_fails(files: StaticFiles) -> None:
    with pytest.raises(KeyError):
        files.url("css/b.css")


def test_a_file_of_no_known_type_keeps_the_server_from_starting(folder: Path) -> None:
    (folder / "notes.docx").write_bytes(b"x")
    with pytest.raises(SetupError, match=r"notes\.docx"):
        StaticFiles(folder)


def test_all_files_of_the_house_together_are_small() -> None:
    held = StaticFiles(FOLDER).files
    assert {"css/tokens.css", "css/base.css", "css/components.css", "css/chat.css", "js/frame.js"} <= set(
        held
    )
    # Pages name the packed sheet, in which its parts go along.
    sent = {name: file for name, file in held.items() if name not in SHEETS}
    assert sum(len(file.gzipped or file.plain) for file in sent.values()) < 100_000


def test_comments_are_not_sent_but_their_lines_are(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text(
        "/** Says\n * it. */\nexport const a = 1; // kept\n  // gone\n  const b = '/*  ';\n"
    )
    (tmp_path / "a.css").write_text("/* Gone. */\np { margin: 0 } /* kept */\n")
    files = StaticFiles(tmp_path).files
    assert files["a.js"].plain == b"\n\nexport const a = 1; // kept\n\nconst b = '/*  ';\n"
    assert files["a.css"].plain == b"\np { margin: 0 } /* kept */\n"


QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"')
REGEX = re.compile(r"(?<=[=(,:\s])/(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/")


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.js")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_no_text_in_a_script_goes_over_several_lines(path: Path) -> None:
    """It would lose what its lines begin with."""
    for line in path.read_text().splitlines():
        code = REGEX.sub("", QUOTED.sub("", line))
        assert line.lstrip().startswith(("//", "*", "/*")) or code.count("`") % 2 == 0, line


@pytest.fixture
def house_client() -> Client:
    """The house's own files."""
    files = StaticFiles()
    app = create_app([router], static=files.url)
    app.state.static_files = files
    return Client(app)


async def test_other_sites_may_load_what_is_the_same_for_everybody(house_client: Client) -> None:
    for path in ("/embed.js", "/static/css/embed.css", "/static/js/chat/embed.js"):
        answer = await house_client.get(path, headers={"origin": "https://example.com"})
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


async def test_the_script_for_other_sites_names_every_module_it_takes_and_is_asked_for_again_soon(
    house_client: Client,
) -> None:
    answer = await house_client.get("/embed.js")
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    named = re.findall(r'^import "\.(/static/[0-9a-f]{12}/[^"]+)";$', answer.body.decode(), re.MULTILINE)
    assert named[-1].endswith("/js/chat/embed.js")
    held: dict[str, str] = {}
    for path in named:
        module = await house_client.get(path)
        assert (module.status, module.headers["cache-control"]) == (
            200,
            "public, max-age=31536000, immutable",
        )
        held[path] = module.body.decode()
    for path, text in held.items():
        for imported in re.findall(r'^(?:import|export) [^;]*?"(\.[^"]+)";$', text, re.MULTILINE):
            assert posixpath.normpath(posixpath.join(posixpath.dirname(path), imported)) in held, path
    # The pages' own element would take the name before it.
    assert not any(path.endswith("/js/chat/porch-chat.js") for path in named)
    etag = answer.headers["etag"]
    assert (await house_client.get("/embed.js", headers={"if-none-match": etag})).status == 304


async def test_a_server_without_the_chat_has_no_script_for_other_sites(client: Client) -> None:
    assert (await client.get("/embed.js")).status == 404


def test_the_sheet_for_other_sites_asks_nothing_of_the_page_around_it() -> None:
    sheet = StaticFiles(FOLDER).files["css/embed.css"].plain.decode()
    used = set(re.findall(r"var\((--[a-z0-9-]+)", sheet))
    own = {name for name in used if not name.startswith("--porch-")} | {"--porch-rem"}
    assert own <= set(re.findall(r"(--[a-z0-9-]+):", sheet))
    assert "--accent: var(--porch-accent, light-dark(" in sheet
    assert re.findall(r"[\d.]rem\b", sheet) == []
    assert "calc(-1.625 * var(--porch-rem))" in sheet
