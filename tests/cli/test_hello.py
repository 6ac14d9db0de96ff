"""`porch hello` as a person meets it: real processes, a real database, a real terminal."""

import json
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from porch.cli import attach
from porch.settings import Resolved, Settings
from tests.cli.places import (
    BUNDLED,
    PORCH,
    data_folder,
    environment,
    house,
    porch,
    processes_of,
    terminal,
    wait_until_gone,
)
from tests.postgres import TestServer


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One data folder for this file: its database is made once."""
    with data_folder() as place:
        yield place


@pytest.fixture(scope="module")
def inhabited(postgres: TestServer) -> Iterator[Path]:
    """Another one, in which a server runs: for what is the same whoever started it."""
    with house(postgres) as place:
        yield place


@pytest.fixture(autouse=True)
def nothing_is_left(folder: Path) -> Iterator[None]:
    """After each of these, no process of the folder is alive."""
    yield
    assert wait_until_gone(folder) == []


def test_once_prints_the_answer_alone_and_leaves_nothing_running(folder: Path) -> None:
    done = porch(folder, "hello", "--once", "[[say Good evening, and come in.]]", "--model", "scripted:fast")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Good evening, and come in.\n"
    assert "PostgreSQL" in done.stderr
    assert re.search(r"first token \d", done.stderr)
    assert "\x1b" not in done.stderr
    assert processes_of(folder) == []


def test_once_answers_by_the_bundled_model_and_says_what_it_is(folder: Path) -> None:
    done = porch(
        folder, "hello", "--once", "Why do people like to sit on a porch?", "--model", "local:smollm2"
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 10
    assert "demo model" in done.stderr


def test_json_gives_the_answer_with_its_figures(inhabited: Path) -> None:
    done = porch(inhabited, "hello", "--json", "--once", "[[tokens 20]]", "--model", "scripted:fast")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert (found["status"], found["model"]) == ("finished", "scripted:fast")
    assert found["figures"]["end_to_end_seconds"] >= found["figures"]["first_token_seconds"] > 0
    assert found["answer"].startswith("The porch")


def test_a_model_that_fails_is_a_sentence_and_exit_1(inhabited: Path) -> None:
    done = porch(inhabited, "hello", "--once", "[[fail auth]]", "--model", "scripted:fast")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "porch models" in done.stderr


def test_a_model_that_does_not_exist_is_a_sentence_and_exit_1(inhabited: Path) -> None:
    done = porch(inhabited, "hello", "--once", "Hi", "--model", "nobody:x")
    assert done.returncode == 1
    assert "no provider 'nobody'" in done.stderr


def test_it_attaches_to_a_server_that_runs_and_leaves_it_running(inhabited: Path) -> None:
    url = json.loads((inhabited / "porch.lock").read_text())["url"]
    done = porch(inhabited, "hello", "--once", "[[say Hi.]]", "--model", "scripted:fast")
    assert done.stdout == "Hi.\n"
    assert f"{url}, which is running already" in done.stderr
    chain = ("--model", "openai:a", "--model", "scripted:fast")
    assert porch(inhabited, "hello", "--once", "[[say Hi.]]", *chain).stdout == "Hi.\n"
    again = porch(inhabited, "agents", "list", "--json")
    assert [agent["handle"] for agent in json.loads(again.stdout)["items"]] == ["hello"]


def test_a_key_that_is_there_is_offered_with_the_exact_command(inhabited: Path) -> None:
    keys = {"OPENAI_API_KEY": "sk-secret", "PORCH_INVOKED_AS": "./dev"}
    # A server that never answers: OpenAI itself would refuse this key.
    silent = socket.create_server(("127.0.0.1", 0))
    keys["OPENAI_BASE_URL"] = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
    with silent, terminal(inhabited, "hello", "--model", "scripted:fast", columns=100, **keys) as person:
        person.read_until(r"\./dev hello.*--model openai:gpt-5-mini")
        person.read_until(r"empty line ends.*› $")
        person.type("\n")
        assert person.wait() == 0
    assert "sk-secret" not in person.text


@pytest.mark.parametrize("columns", [40, 80])
def test_the_story_on_a_terminal_fits_it_and_goes_on_until_an_empty_line(folder: Path, columns: int) -> None:
    with terminal(folder, "hello", "--model", "scripted:demo", columns=columns) as person:
        story = person.read_until(r"first token.*Next.*empty line ends.*› $")
        person.type("[[say And good night.]]\n")
        person.read_until(r"And good night\.\n.*› $")
        person.type("\n")
        assert person.wait() == 0
    for part in ("PostgreSQL", "Server", "Why do people", "You said", "end to end", "porch chat"):
        assert part in story, part
    prose = story[story.index("You said") : story.index("first token")]
    assert [line for line in prose.splitlines() if len(line) >= columns] == []


def test_tokens_are_shown_as_they_come(inhabited: Path) -> None:
    with terminal(inhabited, "hello", "--model", "scripted:demo") as person:
        person.read_until("You said: Why")
        assert "end to end" not in person.text
        person.read_until("end to end")
        person.read_until(r"empty line ends.*› $")
        person.type("\x04")
        assert person.wait() == 0


def test_without_colours_there_are_none(inhabited: Path) -> None:
    with terminal(inhabited, "hello", "--model", "scripted:fast", NO_COLOR="1") as person:
        person.read_until(r"empty line ends.*› $")
        person.type("\n")
        person.wait()
    assert not re.search(r"\x1b\[[\d;]*[1-9]\d*[\d;]*m", person.output)


def test_an_ascii_locale_gets_ascii_signs(folder: Path) -> None:
    done = porch(
        folder,
        "hello",
        "--once",
        "[[say Gr\u00fc\u00dfe]]",
        "--model",
        "scripted:fast",
        PYTHONIOENCODING="ascii",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Gr??e\n"
    assert "+ PostgreSQL" in done.stderr
    assert done.stderr.isascii()


def test_ctrl_c_in_mid_answer_stops_it_calmly(folder: Path) -> None:
    with terminal(folder, "hello", "--model", "scripted:demo") as person:
        person.read_until("You said: Why")
        person.interrupt()
        assert person.wait() == 130
    assert "Traceback" not in person.text
    assert "Stopped" in person.text


@pytest.mark.parametrize("moment", [0.0, 0.3, 0.7, 1.4])
def test_ctrl_c_at_any_moment_leaves_no_process_behind(folder: Path, moment: float) -> None:
    with terminal(folder, "hello", "--model", "scripted:demo", PORCH_DEFAULT_MODEL=BUNDLED) as person:
        person.read_until("Porch")
        deadline = time.monotonic() + moment * random.uniform(0.8, 1.2)
        while time.monotonic() < deadline:
            time.sleep(0.01)
        person.interrupt()
        code = person.wait()
    # At the prompt behind the story Ctrl-C is a way to leave like another.
    assert code == (0 if "empty line ends" in person.text else 130)
    assert "Traceback" not in person.text


@pytest.mark.parametrize("killer", [signal.SIGKILL, signal.SIGHUP])
def test_whoever_kills_hello_ends_its_server_too(folder: Path, killer: signal.Signals) -> None:
    command = [*PORCH, "hello", "--once", "[[stall]]", "--model", "scripted:demo", "--data-dir", str(folder)]
    with subprocess.Popen(
        command, env=environment(PORCH_DEFAULT_MODEL=BUNDLED), stderr=subprocess.PIPE, text=True
    ) as hello:
        assert hello.stderr
        for line in hello.stderr:
            if "[[stall]]" in line:
                break
        hello.send_signal(killer)
        hello.wait(30)
    assert wait_until_gone(folder, 20) == []


def test_two_at_once_in_a_fresh_folder_share_one_server() -> None:
    with data_folder() as fresh:
        command = [*PORCH, "hello", "--once", "[[say Hi.]]", "--model", "scripted:fast"]
        both = [
            subprocess.Popen(
                [*command, "--data-dir", str(fresh)],
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        said = [process.communicate(timeout=60) for process in both]
        assert [out for out, _ in said] == ["Hi.\n", "Hi.\n"], said
        assert wait_until_gone(fresh) == []


def test_a_port_that_was_asked_for_and_is_taken_is_named(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = porch(folder, "hello", "--once", "Hi", "--model", "scripted:fast", PORCH_PORT=port)
    assert done.returncode == 1
    assert port in done.stderr
    assert "in use" in done.stderr


def test_a_port_that_nobody_asked_for_is_replaced_when_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Settings] = []
    monkeypatch.setattr(attach, "Child", started.append)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(data_dir=tmp_path / "data", port=taken.getsockname()[1])
        attach.begin(Resolved(settings, {}, None))
        attach.begin(Resolved(settings, {"port": "PORCH_PORT"}, None))
    attach.begin(Resolved(settings, {}, None))
    assert [one.port for one in started] == [0, settings.port, settings.port]


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    done = porch(tmp_path, "hello", "--once", "Hi")
    assert done.returncode == 1
    assert "letters.txt" in done.stderr
    assert "--data-dir" in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["letters.txt"]
