"""`porch sign-in`, and the links that `up` and `hello` print."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from porch.cli import sign_in
from porch.cli.root import run
from porch.cli.up import _tell  # pyright: ignore[reportPrivateUsage]  # what it prints, without a server
from porch.web.server import ServerInfo
from tests.cli.places import data_folder, house, porch, ready_database, terminal
from tests.postgres import TestServer

LINK = re.compile(r"http://localhost:\d+/sign-in/[0-9A-Za-z]{22}")


@pytest.fixture(scope="module")
def folder(postgres: TestServer) -> Iterator[Path]:
    """A data folder with a server."""
    with house(postgres) as place:
        yield place


def page(link: str) -> str:
    with urlopen(link) as response:
        return response.read().decode()


def test_a_link_is_the_only_thing_on_stdout_and_opens(folder: Path) -> None:
    done = porch(folder, "sign-in")
    assert done.returncode == 0, done.stderr
    assert LINK.fullmatch(done.stdout.strip())
    assert re.search(r"works once, until \d\d:\d\d", done.stderr)
    assert "Sign in as" in page(done.stdout.strip())
    assert porch(folder, "sign-in").stdout != done.stdout


def test_programs_get_it_as_json(folder: Path) -> None:
    found = json.loads(porch(folder, "sign-in", "--json").stdout)
    assert LINK.fullmatch(found["url"])
    assert found["expires_at"].endswith("Z")


def test_without_a_server_it_says_how_to_start_one_and_starts_none(tmp_path: Path) -> None:
    done = porch(tmp_path / "data", "sign-in")
    assert (done.returncode, done.stdout) == (1, "")
    assert "porch up" in done.stderr
    assert not (tmp_path / "data").exists()


def test_hello_shows_a_link_beside_a_server_that_stays(folder: Path) -> None:
    with terminal(folder, "hello", "--model", "scripted:fast", columns=100) as person:
        story = person.read_until(r"empty line ends.*› $")
        person.type("\n")
        assert person.wait() == 0
    found = LINK.search(story)
    assert found, story
    assert "Sign in as" in page(found[0])
    assert "keep the server running" not in story


def test_hello_alone_says_what_opens_the_pages(postgres: TestServer) -> None:
    words = ("hello", "--model", "scripted:fast")
    with (
        data_folder() as place,
        ready_database(postgres) as database,
        terminal(place, *words, columns=100, **database) as person,
    ):
        story = person.read_until(r"empty line ends.*› $")
        done = porch(place, "sign-in")
        person.type("\n")
        assert person.wait() == 0
    assert not LINK.search(story)
    assert re.search(r"porch up.*keep the server running, and open its pages", story)
    assert (done.returncode, done.stdout) == (1, "")
    assert "ends with it" in done.stderr


@pytest.mark.parametrize(("opens", "said"), [(True, ""), (False, "no browser that can be opened")])
def test_open_hands_the_link_to_the_browser_of_this_machine(
    folder: Path, opens: bool, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    def take(url: str) -> bool:
        opened.append(url)
        return opens

    monkeypatch.setattr(sign_in, "webbrowser", SimpleNamespace(open=take))
    assert run(["sign-in", "--open", "--data-dir", str(folder)]) == 0
    captured = capsys.readouterr()
    assert opened == [captured.out.strip()]
    assert urlsplit(opened[0]).hostname == "localhost"
    assert said in captured.err


def test_up_prints_a_link_that_no_line_end_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    link = "http://localhost:8642/sign-in/4kQx9ZbT0pWmN2vR7sLdYc"
    monkeypatch.setattr("porch.cli.up.current", lambda: SimpleNamespace(options=""))
    _tell(ServerInfo("http://localhost:8642", tmp_path, "home", "embedded", 1.0, link))
    said = capsys.readouterr().out
    assert re.search(rf"Sign in +{re.escape(link)}\n", said)
    assert "sign-in prints another" in said


def test_every_start_prints_a_fresh_link(postgres: TestServer) -> None:
    links: set[str] = set()
    with data_folder() as place, ready_database(postgres) as database:
        for _ in range(2):
            with terminal(place, "up", columns=120, **database) as person:
                told = person.read_until(r"Stop +Ctrl-C")
                found = LINK.search(told)
                assert found, told
                assert "Sign in as" in page(found[0])
                links.add(found[0])
                person.interrupt()
                person.wait()
    assert len(links) == 2
