"""The other commands against one server that runs, and a dialogue on a terminal."""

import asyncio
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import click
import pytest

from porch.cli import chat
from porch.cli.invocation import Invocation
from porch.client import ConnectionLost
from tests.cli.places import (
    PATIENCE,
    PORCH,
    Wire,
    announce,
    data_folder,
    environment,
    porch,
    server,
    terminal,
    wait_until_gone,
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A data folder with a server and an agent `sam` that obeys cues."""
    with data_folder() as place:
        with server(place):
            made = porch(place, "new", "sam", "--model", "scripted:demo")
            assert made.returncode == 0, made.stderr
            assert "porch chat" in made.stdout
            yield place
        assert wait_until_gone(place) == []


def agent_names(folder: Path) -> list[str]:
    return [
        agent["handle"] for agent in json.loads(porch(folder, "agents", "list", "--json").stdout)["items"]
    ]


def status(folder: Path, token: str) -> int:
    """What the server answers to a program with this token."""
    url = json.loads((folder / "porch.lock").read_text())["url"]
    request = Request(f"{url}/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    try:
        with urlopen(request) as response:
            return response.status
    except HTTPError as error:
        return error.code


def test_an_agent_is_made_listed_shown_published_and_deleted(folder: Path) -> None:
    assert (
        porch(folder, "new", "critic", "--template", "reviewer", "--model", "scripted:fast").returncode == 0
    )
    assert sorted(agent_names(folder)) == ["critic", "sam"]
    shown = json.loads(porch(folder, "agents", "show", "critic", "--json").stdout)
    assert shown["definition"]["model"] == "scripted:fast"
    assert "Review this sentence" in shown["definition"]["questions"][0]
    assert "version 1" in porch(folder, "agents", "publish", "critic").stdout
    assert porch(folder, "agents", "delete", "critic", "--yes").returncode == 0
    assert agent_names(folder) == ["sam"]


def test_a_deletion_that_nobody_confirms_does_not_happen(folder: Path) -> None:
    assert porch(folder, "agents", "delete", "sam").returncode == 130
    assert agent_names(folder) == ["sam"]


def test_what_the_server_refuses_is_its_own_sentence_and_exit_1(folder: Path) -> None:
    again = porch(folder, "new", "sam")
    assert (again.returncode, again.stdout) == (1, "")
    assert "'sam' already" in again.stderr
    assert porch(folder, "agents", "show", "nobody").returncode == 1
    assert "cannot be an agent's name" in porch(folder, "new", "Not A Handle").stderr


def test_an_agent_is_changed_by_options_and_says_what_still_answers(folder: Path, tmp_path: Path) -> None:
    made = porch(folder, "new", "ada", "--model", "scripted:fast", "--instructions", "Be short.", "--json")
    definition = json.loads(made.stdout)["definition"]
    # The template's questions were for the template's instructions.
    assert (definition["instructions"], definition.get("questions")) == ("Be short.", None)
    (tmp_path / "told.md").write_text("Be kind.\n")
    changed = porch(
        folder,
        "agents",
        "edit",
        "@home/ada",
        "--instructions-file",
        str(tmp_path / "told.md"),
        "--title",
        "Ada",
        "--json",
    )
    definition = json.loads(changed.stdout)["definition"]
    assert (definition["instructions"], definition["title"]) == ("Be kind.\n", "Ada")
    porch(folder, "agents", "publish", "ada")
    said = porch(folder, "agents", "edit", "ada", "--model", "scripted:demo")
    assert said.returncode == 0
    assert "agents publish" in said.stdout
    assert porch(folder, "agents", "edit", "ada").returncode == 2
    assert "agents edit" in porch(folder, "new", "ada").stderr
    porch(folder, "agents", "delete", "ada", "--yes")


def test_an_agent_is_changed_in_the_editor_which_comes_back_after_a_mistake(
    folder: Path, tmp_path: Path
) -> None:
    porch(folder, "new", "eve", "--model", "scripted:fast")
    editor = tmp_path / "editor"
    editor.write_text(
        '#!/bin/sh\nif [ -e "$0.again" ]; then sed -i \'s/^{{/{/; s/scripted:fast/scripted:demo/\' "$1"\n'
        'else sed -i \'s/^{/{{/\' "$1"; touch "$0.again"; fi\n'
    )
    editor.chmod(0o755)
    with terminal(folder, "agents", "edit", "eve", EDITOR=str(editor), VISUAL=str(editor)) as person:
        person.read_until(r"not JSON.*Edit it again.*")
        person.type("\n")
        person.read_until("eve is changed")
        assert person.wait() == 0
    shown = json.loads(porch(folder, "agents", "show", "eve", "--json").stdout)
    assert shown["definition"]["model"] == "scripted:demo"
    porch(folder, "agents", "delete", "eve", "--yes")


def test_an_agent_that_is_not_there_is_told_with_the_way_on(folder: Path) -> None:
    said = porch(folder, "chat", "nosuch", "-m", "Hi", PORCH_INVOKED_AS="./dev")
    assert said.returncode == 1
    assert "./dev agents list" in said.stderr
    assert "./dev new" in said.stderr


def test_stdin_that_is_not_utf8_is_a_sentence(folder: Path) -> None:
    done = subprocess.run(
        [*PORCH, "chat", "sam", "--data-dir", str(folder)],
        env=environment(),
        input=b"Gr\xfc\xdfe",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"The message is not UTF-8 text" in done.stderr


def test_a_server_that_does_not_come_back_is_told_with_the_commands_that_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORCH_INVOKED_AS", "./dev")

    async def lose(*_: object, **__: object) -> None:
        raise ConnectionLost("The connection was lost.")

    monkeypatch.setattr(chat, "answer", lose)
    link = SimpleNamespace(run=asyncio.run, client=None)
    with pytest.raises(click.exceptions.Exit):
        chat.say_once(Invocation(data_dir="d"), link, "conv_1", "Hi", "@home/sam")  # pyright: ignore[reportArgumentType]  # what it needs of a Link
    said = capsys.readouterr().err
    assert "The connection was lost." in said
    assert "./dev up --data-dir d" in said
    assert "./dev chat --data-dir d @home/sam --conversation conv_1" in said


def test_a_token_is_printed_once_and_works_until_it_is_revoked(folder: Path) -> None:
    made = porch(
        folder, "tokens", "create", "nightly", "--scope", "read:agents", "--expires-in", "1h", "--json"
    )
    token = json.loads(made.stdout)
    listed = json.loads(porch(folder, "tokens", "list", "--json").stdout)["items"]
    assert token["id"] in {one["id"] for one in listed}
    assert token["token"] not in json.dumps(listed)
    assert status(folder, token["token"]) == 200
    assert porch(folder, "tokens", "revoke", token["id"]).returncode == 0
    assert status(folder, token["token"]) == 401


def test_how_long_journals_are_kept_is_said_and_changed(folder: Path) -> None:
    assert (
        porch(folder, "archive", "keep", "90").stdout
        == "Journals are kept for 90 days after their run ended.\n"
    )
    assert json.loads(porch(folder, "archive", "show", "--json").stdout) == {"journal_days": 90}
    assert porch(folder, "archive", "keep", "forever").returncode == 0
    assert "as long as their runs" in porch(folder, "archive", "show").stdout
    refused = porch(folder, "archive", "keep", "0")
    assert (refused.returncode, "1 to 36500 days, or forever" in refused.stderr) == (1, True)
    assert porch(folder, "archive", "keep", "9" * 5000).returncode == 1
    assert porch(folder, "archive", "keep", "soon").returncode == 2
    run = json.loads(porch(folder, "chat", "@home/sam", "-m", "Hello", "--json").stdout)["run"]
    assert "is here" in porch(folder, "archive", "restore", run).stdout
    assert porch(folder, "archive", "restore", "run_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b").returncode == 1


def test_a_token_alone_is_what_stdout_gets(folder: Path) -> None:
    made = porch(folder, "tokens", "create", "for-a-script")
    assert re.fullmatch(r"porch_pat_\w+\n", made.stdout)
    assert "run:agents" in made.stderr


@pytest.mark.parametrize("time", ["soon", "3x", "-1d"])
def test_a_duration_that_is_none_is_a_usage_error(folder: Path, time: str) -> None:
    assert porch(folder, "tokens", "create", "x", "--expires-in", time).returncode == 2


def test_one_message_prints_the_answer_alone(folder: Path) -> None:
    said = porch(folder, "chat", "sam", "--message", "[[think Hm.]] [[say Good evening.]]")
    assert (said.returncode, said.stdout) == (0, "Good evening.\n")
    assert "Hm." in said.stderr


def test_one_message_in_json_names_its_conversation_which_goes_on(folder: Path) -> None:
    first = json.loads(porch(folder, "chat", "sam", "-m", "[[say One.]]", "--json").stdout)
    more = ["--conversation", first["conversation"], "--json"]
    second = json.loads(porch(folder, "chat", "@home/sam", "-m", "[[say Two.]]", *more).stdout)
    assert (first["answer"], second["answer"]) == ("One.", "Two.")
    assert second["conversation"] == first["conversation"]


def test_an_answer_that_fails_exits_with_1(folder: Path) -> None:
    said = porch(folder, "chat", "sam", "-m", "[[fail rate_limit]]")
    assert (said.returncode, said.stdout) == (1, "")
    assert "porch doctor" in said.stderr


@pytest.mark.parametrize("address", ["@/sam", "@home/", "a/b/c", "@"])
def test_an_address_that_names_no_agent_says_how_to_write_one(folder: Path, address: str) -> None:
    said = porch(folder, "chat", address, "-m", "Hi")
    assert said.returncode == 1
    assert "@workspace/agent" in said.stderr


def test_a_dialogue_shows_thoughts_tools_and_words_and_says_how_to_come_back(folder: Path) -> None:
    with terminal(folder, "chat", "@home/sam") as person:
        person.read_until("› ")
        person.type('[[think Hm.]] [[call clock {"timezone":"UTC"}]] [[say It is late.]]\n')
        person.read_until(r'Hm\.\n.*→ clock \{"timezone": "UTC"\}.*weekday.* ms\).*It is late\.\n.*› $')
        person.type("\x04")
        assert person.wait() == 0
    back = re.search(r"--conversation (conv_\w+)", person.text)
    assert back
    with terminal(folder, "chat", "@home/sam", "--conversation", back[1]) as person:
        person.read_until(r"It is late\..*\n  › $")
        person.type("\x04")
        assert person.wait() == 0


def test_ctrl_c_stops_the_answer_and_not_the_dialogue_and_twice_at_the_prompt_leaves(folder: Path) -> None:
    with terminal(folder, "chat", "sam") as person:
        person.read_until("› ")
        person.type("[[tokens 500 itl=20ms]]\n")
        person.read_until(r"The porch is where")
        person.interrupt()
        person.read_until(r"Stopped; what was said so far is kept\..*› $")
        person.type("[[say Still here.]]\n")
        person.read_until(r"Still here\.\n.*› $")
        person.interrupt(at_prompt=True)
        person.read_until("once more leaves.*› $")
        person.interrupt(at_prompt=True)
        assert person.wait() == 0
    assert "Traceback" not in person.text


def test_a_failure_in_a_dialogue_offers_a_way_on_and_the_dialogue_goes_on(folder: Path) -> None:
    with terminal(folder, "chat", "sam") as person:
        person.read_until("› ")
        person.type("[[say Half.]] [[fail overloaded]]\n")
        person.read_until(r"Half\..*porch doctor")
        person.type("[[say Better.]]\n")
        person.read_until(r"Better\.\n.*› $")
        person.type("\x04")
        assert person.wait() == 0


def test_control_characters_of_a_model_do_not_reach_the_terminal(folder: Path) -> None:
    with terminal(folder, "chat", "sam") as person:
        person.read_until("› ")
        # The model is asked for them through JSON, which carries what the keyboard cannot type.
        person.type('[[call clock {"timezone":"\\u001b[2J\\u202eevil"}]] [[say Done.]]\n')
        person.read_until(r"Done\.\n.*› $")
        person.type("\x04")
        person.wait()
    assert "\x1b[2J" not in person.output
    assert "\u202e" not in person.output


@pytest.mark.parametrize("cut_after", [3_000, 6_000, 12_000])
def test_an_answer_whose_connection_is_cut_is_complete_all_the_same(folder: Path, cut_after: int) -> None:
    url = announce(folder, "")
    wire = Wire(int(url.rpartition(":")[2]), cut_after)
    announce(folder, f"http://localhost:{wire.port}")
    try:
        said = porch(folder, "chat", "sam", "-m", "[[tokens 120 itl=5ms]]")
    finally:
        announce(folder, url)
        wire.close()
    whole = porch(folder, "chat", "sam", "-m", "[[tokens 120 itl=1ms]]")
    assert wire.cuts == 1
    assert said.returncode == 0, said.stderr
    assert said.stdout == whole.stdout
    assert "Connection lost" in said.stderr


def test_two_servers_do_not_share_a_folder_and_the_second_says_who_has_it(folder: Path) -> None:
    second = porch(folder, "up")
    assert second.returncode == 1
    assert re.search(r"held by process \d+.*serving http://localhost:\d+", second.stderr + second.stdout)
    assert agent_names(folder) == ["sam"]


def test_a_server_whose_port_is_taken_says_so_at_once() -> None:
    with data_folder() as place, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = porch(place, "up", "--port", str(port))
        assert done.returncode == 1
        assert str(port) in done.stderr
        assert "--port" in done.stderr
        assert wait_until_gone(place) == []


def test_a_read_only_folder_is_named_with_another_way() -> None:
    done = porch(Path("/proc/porch"), "up")
    assert done.returncode == 1
    assert "/proc/porch" in done.stderr
    assert "--data-dir" in done.stderr


def test_the_doctor_is_content_with_a_running_server(folder: Path) -> None:
    done = porch(folder, "doctor", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert found["ok"]
    states = {check["name"]: check["state"] for check in found["checks"]}
    assert states["Server"] == "ok"
    assert states["Database"] == "ok"


def test_the_bench_measures_what_was_asked_and_cleans_up(folder: Path, tmp_path: Path) -> None:
    bench, kept = ("bench", "--rounds", "2", "--model", "scripted:fast"), tmp_path / "before.json"
    done = porch(folder, *bench, "--json", "--save", str(kept))
    (found,) = json.loads(done.stdout)["items"]
    assert len(found["rounds"]) == 2
    for one in found["rounds"]:
        assert 0 < one["first_token_seconds"] <= one["end_to_end_seconds"]
        assert one["tokens"] >= 200
    assert agent_names(folder) == ["sam"]
    old = json.loads(kept.read_text())
    old["items"][0]["first_token_p50"] /= 1000
    kept.write_text(json.dumps(old))
    later = porch(folder, *bench, "--compare", str(kept), "--at-most", "5")
    assert later.returncode == 1
    assert "scripted:fast takes more than 5 times as long" in later.stderr
    assert " ×" in later.stdout
    assert "model\tfirst token, ratio\tend to end, ratio" in later.stdout, "two tables are told apart"
    other = porch(
        folder, "bench", "--rounds", "1", "--model", "scripted:demo", "--compare", str(kept), "--at-most", "5"
    )
    assert other.returncode == 1, "what is not in the file is not within a bound"
    assert "no figures of scripted:demo" in " ".join(other.stderr.split())


def test_a_model_that_is_given_several_times_is_a_chain(folder: Path) -> None:
    first, second = ("--model", "openai:a"), ("--model", "scripted:demo")
    made = porch(folder, "new", "duo", *first, *second)
    try:
        assert "with openai:a, then scripted:demo." in made.stdout
        shown = json.loads(porch(folder, "agents", "show", "duo", "--json").stdout)
        assert shown["definition"]["model"] == ["openai:a", "scripted:demo"]
        assert "openai:a, then scripted:demo" in porch(folder, "agents", "list").stdout
        edited = json.loads(porch(folder, "agents", "edit", "duo", *second, *first, "--json").stdout)
        assert edited["definition"]["model"] == ["scripted:demo", "openai:a"]
        alone = json.loads(porch(folder, "agents", "edit", "duo", *second, "--json").stdout)
        assert alone["definition"]["model"] == "scripted:demo"
    finally:
        porch(folder, "agents", "delete", "duo", "--yes")


def test_the_models_are_listed_with_what_unlocks_more(folder: Path) -> None:
    # Nobody listens at that proxy, so OpenAI is not asked whether it takes the key.
    environ = {"OPENAI_API_KEY": "sk-x", "PORCH_EGRESS_PROXY": "http://127.0.0.1:1"}
    found = json.loads(porch(folder, "models", "--json", **environ).stdout)["items"]
    ready = {item["provider"]: item["ready"] for item in found}
    assert (ready["scripted"], ready["openai"], ready["ollama"]) == (True, True, False)
    assert "sk-x" not in json.dumps(found)


def test_a_server_stopped_by_ctrl_c_says_so_and_its_url_was_good_and_a_silent_provider_delays_it_never() -> (
    None
):
    silent = socket.create_server(("127.0.0.1", 0))
    there = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
    with silent, data_folder() as place, terminal(place, "up", OPENROUTER_BASE_URL=there) as person:
        text = person.read_until(r"Listening\s+http\S+\s.*Ctrl-C")
        url = re.search(r"Listening\s+(\S+)", text)
        assert url
        with urlopen(url[1] + "/healthz") as response:  # a URL of our own
            assert response.status == 200
        assert str(place) in text
        silent.settimeout(PATIENCE)
        looked_at, _ = silent.accept()
        with looked_at:
            assert looked_at.recv(1000).startswith(b"GET /v1/models ")
            person.interrupt()
            assert person.wait() == 0
        assert "Stopped." in person.text
        assert "Traceback" not in person.text
        assert "destroyed" not in person.text
        assert wait_until_gone(place) == []


def test_a_backup_comes_back_in_a_fresh_folder(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "monday.backup"
    assert porch(folder, "backup", str(file)).stdout.strip() == str(file)
    with data_folder() as fresh:
        restored = porch(fresh, "restore", str(file))
        assert restored.returncode == 0, restored.stderr
        assert agent_names(fresh) == ["sam"]
        assert wait_until_gone(fresh) == []
        assert "nothing to do" in porch(fresh, "upgrade-data").stderr
