"""The documents say what is so: commands run, symbols are where they are said to be, links lead somewhere."""

import ast
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from porch.contract.events import TYPES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *DOCS.glob("rfcs/*.md")])
MOST_PACKAGES = 45
SECONDS = 120


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def shell_blocks(text: str) -> list[str]:
    """The blocks of commands on a page."""
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


# -- commands


@dataclass(frozen=True)
class Visitor:
    """Somebody with a clone and an empty home, who types what a page says."""

    home: Path
    port: int
    environment: dict[str, str]

    def follow(self, block: str) -> str:
        """Type a block's commands, and answer what they printed. `./dev up` and `./dev test` stand alone."""
        for line in block.splitlines():
            command = line.partition("#")[0].strip()
            if command == "./dev up":
                self.wait_until_up()
                block = block.replace(line, "")
            elif command.startswith("./dev test"):
                # The whole suite is what runs just now: here it is only collected.
                block = block.replace(command, command + " -n0 --collect-only tests/contract")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.replace("8642", str(self.port))],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def wait_until_up(self) -> None:
        """The server of `running` answers."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"http://localhost:{self.port}/readyz", timeout=5).close()
                return
            time.sleep(0.1)  # nothing tells another process when it is up
        raise AssertionError("./dev up gave no server")


@pytest.fixture(scope="module")
def visitor() -> Iterator[Visitor]:
    home = Path(tempfile.mkdtemp(prefix="porch-visitor-"))
    # As root, PostgreSQL's own account must get through.
    home.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PORCH_")}
    own = {"HOME": str(home), "PORCH_PORT": str(port), "UV_NO_SYNC": "1", "NO_COLOR": "1"}
    caches = {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))}
    yield Visitor(home, port, {**inherited, **caches, **own})
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def running(visitor: Visitor) -> Iterator[None]:
    """`./dev up` in another terminal, from then on, for all pages."""
    server = subprocess.Popen(
        ["./dev", "up"],
        cwd=ROOT,
        env=visitor.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(SECONDS)


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")


@pytest.mark.timeout(300)
@needs_curl
def test_every_command_of_the_readme_runs(visitor: Visitor, request: pytest.FixtureRequest) -> None:
    first, server, then = shell_blocks(page("README.md"))
    printed = visitor.follow(first)
    assert "tokens/s" in printed
    assert "test_schema.py" in printed
    request.getfixturevalue("running")
    visitor.follow(server)
    printed = visitor.follow(then)
    assert "Hello there." in printed
    assert "guide" in printed
    assert '"ready"' in printed


@pytest.mark.timeout(200)
@needs_curl
@pytest.mark.usefixtures("running")
def test_the_commands_on_streaming_show_a_run_from_start_to_end(visitor: Visitor) -> None:
    (block,) = shell_blocks(page("docs/streaming.md"))
    visitor.wait_until_up()
    printed = visitor.follow(block)
    stream = printed[printed.index("id: 1-1\nevent: run.started") :]
    assert '"part":"s1p1","delta":"Good"}' in stream
    assert "event: run.finished" in stream


def test_the_readme_is_short_and_begins_with_the_two_commands() -> None:
    text = page("README.md")
    assert len(text.splitlines()) <= 150
    assert [line.split("#")[0].strip() for line in shell_blocks(text)[0].splitlines()] == [
        "./dev hello",
        "./dev test",
    ]


# -- symbols


def test_every_symbol_of_one_message_is_in_the_file_named() -> None:
    rows = re.findall(r"^\|[^|]*\| `([^`]+)` \| `([^`]+)` \|$", page("docs/one-message.md"), re.MULTILINE)
    assert len(rows) > 30
    assert [f"{symbol} in {path}" for symbol, path in rows if symbol not in symbols(ROOT / path)] == []


def symbols(path: Path) -> set[str]:
    """What a file defines: functions, classes and their methods, or SQL functions that no later migration replaces."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if path.suffix == ".sql":
        made = re.compile(r"^CREATE (?:OR REPLACE )?FUNCTION porch\.(\w+)", re.MULTILINE)
        later = [other for other in path.parent.glob("*.sql") if other.name > path.name]
        return set(made.findall(text)) - {name for other in later for name in made.findall(other.read_text())}
    found: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{item.name}" for item in node.body if hasattr(item, "name")}  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # checked just before
    return found


def test_every_room_is_on_the_page_about_the_house() -> None:
    named = set(re.findall(r"^\| [\d–]+ \| `(\w+)[/.]", page("docs/architecture.md"), re.MULTILINE))
    package = ROOT / "src" / "porch"
    rooms = {path.name for path in package.iterdir() if (path / "__init__.py").exists()}
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert named == rooms | modules


def test_every_type_of_event_is_on_the_page_about_streaming() -> None:
    told = set(re.findall(r"`([a-z_.]+)`", page("docs/streaming.md").partition("## Events")[2]))
    assert set(TYPES) - told == set()


# -- packages


def default_packages() -> set[str]:
    """What the lock file installs for a user: the dependencies of porch and theirs, and the demo model."""
    locked = {package["name"]: package for package in tomllib.loads(page("uv.lock"))["package"]}
    porch = locked["porch"]
    waiting = [*porch["dependencies"], *porch["dev-dependencies"]["model"]]
    found: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        package = locked[wanted["name"]]
        if "win32" in wanted.get("marker", "") and "!= 'win32'" not in wanted["marker"]:
            continue
        for extra in wanted.get("extra", ()):
            waiting += package["optional-dependencies"][extra]
        if package["name"] not in found:
            found.add(package["name"])
            waiting += package.get("dependencies", ())
    return found


def test_every_package_of_an_installation_has_its_reason() -> None:
    told = set(re.findall(r"^\| `([a-z0-9-]+)` \|", page("docs/dependencies.md"), re.MULTILINE))
    assert told == default_packages()
    assert len(told) <= MOST_PACKAGES


# -- pages


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere_and_no_place_of_one_machine_is_told(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []
    assert not re.search(r"(?<![\w}])/(root|work|home/\w+|tmp)/", text)
