"""Static files: hashed once, kept for good, and nothing but what lies in their folder."""

import gzip
from pathlib import Path

import pytest

from porch.contract.errors import SetupError
from porch.http.application import create_app
from porch.web.static import FOLDER, StaticFiles, router
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
    assert sum(len(file.gzipped or file.plain) for file in held.values()) < 100_000


def test_comments_are_not_sent_but_their_lines_are(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text(
        "/** Says\n * it. */\nexport const a = 1; // kept\n  // gone\nconst b = '/*';\n"
    )
    (tmp_path / "a.css").write_text("/* Gone. */\np { margin: 0 } /* kept */\n")
    files = StaticFiles(tmp_path).files
    assert files["a.js"].plain == b"\n\nexport const a = 1; // kept\n\nconst b = '/*';\n"
    assert files["a.css"].plain == b"\np { margin: 0 } /* kept */\n"
