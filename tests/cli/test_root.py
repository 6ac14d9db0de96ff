import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from porch.cli.invocation import Invocation, as_invoked
from porch.cli.root import COMMANDS, cli, run
from porch.contract.errors import NotFound


def all_commands() -> list[str]:
    names: list[str] = []
    context = click.Context(cli, obj=Invocation())
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        names.append(name)
        if isinstance(command, click.Group):
            names += [f"{name} {sub}" for sub in command.commands]
    return names


@pytest.mark.parametrize("name", all_commands())
def test_every_command_prints_help_with_an_example(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORCH_INVOKED_AS", "porch")
    assert run([*name.split(), "--help"]) == 0
    assert f"Example: porch {name.split(maxsplit=1)[0]}" in capsys.readouterr().out


def test_a_wrong_call_exits_with_2_and_says_how_to_get_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["hello", "--onze", "x"]) == 2
    assert "--once" in capsys.readouterr().err
    assert run(["frobnicate"]) == 2
    assert run(["chat"]) == 2


@pytest.mark.parametrize("program", ["./dev", "uv run porch"])
def test_help_and_errors_name_the_program_as_it_was_called(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORCH_INVOKED_AS", program)
    assert run(["agents", "show", "--help"]) == 0
    said = capsys.readouterr().out
    assert f"Usage: {program} agents show" in said
    assert f"Example: {program} agents show" in said
    for words in (["inbox"], ["approve"], ["deny"], ["archive"], ["archive", "keep"]):
        assert run([*words, "--help"]) == 0
        assert f"Example: {program} {words[0]}" in capsys.readouterr().out
    assert run(["chat"]) == 2
    assert f"Try '{program} chat" in capsys.readouterr().err
    replace_version(monkeypatch, NotFound("Start it with: porch up; `porch backup` or (porch chat …) too."))
    assert run(["version"]) == 1
    said = capsys.readouterr().err
    assert said == f"Error: Start it with: {program} up; `{program} backup` or ({program} chat …) too.\n"


@pytest.mark.parametrize("text", ["a porch swing", "src/porch/cli", "the porch is new", "uv run porch up"])
def test_what_is_no_command_of_ours_stays_as_it_is(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORCH_INVOKED_AS", "./dev")
    assert as_invoked(text) == text


@pytest.mark.parametrize(
    "arguments", [["chat", "sam", "-m", "\udcff"], ["hello", "--once", "\udcff"], ["chat", "\udcff"]]
)
def test_bytes_that_are_not_utf8_are_a_sentence_and_exit_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert "is not UTF-8 text" in said
    assert said.startswith("Error: The message" if len(arguments) > 2 else "Error: The argument")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", ["version", "doctor --json", "--help", "up"])
def test_an_output_that_takes_nothing_is_one_sentence_and_exit_1(
    arguments: str, unbuffered: str, tmp_path: Path
) -> None:
    command = f"exec {sys.executable} -m porch.cli.main {arguments} >/dev/full"
    env = {**os.environ, "PORCH_DATA_DIR": str(tmp_path / "d"), "PORCH_PORT": "0"}
    env["PYTHONUNBUFFERED"] = unbuffered
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: The output cannot be written: No space left on device.\n"


def test_an_empty_question_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["hello", "--once", ""]) == 2
    assert "empty" in capsys.readouterr().err


def replace_version(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    from porch.cli import version

    def fail() -> None:
        raise error

    monkeypatch.setattr(version.version, "callback", fail)


def test_an_error_of_ours_is_one_sentence_and_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_version(monkeypatch, NotFound("There is no agent \x1b[2J here."))
    assert run(["version"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Error: There is no agent ␛[2J here.\n"


def test_an_unforeseen_error_is_one_sentence_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_version(monkeypatch, ZeroDivisionError("by zero"))
    assert run(["version"]) == 1
    said = capsys.readouterr().err
    assert "nobody foresaw: ZeroDivisionError: by zero" in said
    assert "--debug" in said
    assert "Traceback" not in said


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_version(monkeypatch, ZeroDivisionError("by zero"))
    assert run(["version", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_a_calm_line_and_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_version(monkeypatch, KeyboardInterrupt())
    assert run(["version"]) == 130
    assert capsys.readouterr().err.strip() == "Stopped."


def test_the_version_is_told_to_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"]) == 0
    plain = capsys.readouterr().out.strip()
    assert run(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["porch"] == plain


@pytest.mark.parametrize("place", ["before", "after"])
def test_options_of_all_commands_may_stand_before_or_after_the_name(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--json", "--data-dir", str(tmp_path / "d")]
    arguments = [*options, "doctor"] if place == "before" else ["doctor", *options]
    assert run(arguments) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert any(str(tmp_path / "d") in check["found"] for check in checks)


def loaded(code: str, names: set[str]) -> list[str]:
    """Which of these modules are there after some code in an interpreter of its own."""
    code = f"import sys\n{code}\nprint(*sorted({names!r} & sys.modules.keys()), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()[-1].split()


SERVER = {"asyncpg", "fastapi", "jinja2", "porch.web.server", "pydantic", "uvicorn"}
CLIENT = {"aiohttp", "porch.client", "rich"}


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["hello", "--help"], ["up", "--help"]])
def test_what_a_command_does_not_need_is_not_imported(arguments: list[str]) -> None:
    talks = {"asyncio", "msgspec", "porch.settings"} if len(arguments) == 1 else set[str]()
    code = f"from porch.cli.root import run\nrun({arguments!r})"
    assert loaded(code, {*SERVER, *CLIENT, *talks}) == []


def test_a_command_that_asks_a_server_loads_none_itself() -> None:
    asking = "agents, attach, chat, hello, inbox, keeping, new, quota, reply, sign_in, story, tokens, up"
    refused = "from porch.cli.root import run\nrun(['archive', 'keep', '0'])"
    assert loaded(f"from porch.cli import {asking}\nimport porch.client\n{refused}", SERVER) == []


def test_a_server_is_there_before_what_only_its_first_page_needs() -> None:
    needless = {"jinja2", "pydantic.v1", "rich"}
    code = "import porch.cli.child, porch.web.server, porch.web.listener"
    assert loaded(code, {"asyncpg", "fastapi", *needless}) == ["asyncpg", "fastapi"]


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    command = f"{sys.executable} -m porch.cli.main --help | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=os.environ, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_an_unknown_variable_is_named_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORCH_PROT", "1")
    assert run(["hello", "--once", "Hi", "--data-dir", str(tmp_path / "d")]) == 1
    assert "PORCH_PORT" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()
