import json
import socket
from pathlib import Path

import pytest

from porch.cli import checks
from porch.cli.root import run
from porch.settings import Settings
from porch.storage.datadir import DataDir


@pytest.fixture(autouse=True)
def nobody_elses_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    for name in ("PORCH_PORT", "OPENAI_API_KEY", "OPENAI_BASE_URL", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def examine(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    code = run(["doctor", "--json", *arguments])
    return code, {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}


def test_a_machine_without_any_data_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = examine(capsys, "--data-dir", str(tmp_path / "new"))
    assert code == 0
    assert "will be made" in found["Data folder"]["found"]
    assert not (tmp_path / "new").exists()


def test_a_slip_in_the_settings_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "porch.toml").write_text("prot = 1\n")
    code, found = examine(capsys)
    assert code == 1
    assert "Did you mean port" in found["Settings"]["found"]


def test_a_provider_to_be_shared_that_there_is_not_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORCH_SHARED_PROVIDERS", "anthropic, opnai")
    code, found = examine(capsys)
    assert code == 1
    assert "'opnai'" in found["Settings"]["found"]
    assert "openrouter" in found["Settings"]["found"]


def test_a_password_that_others_can_read_is_a_warning_with_its_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "porch.toml"
    file.write_text('database_url = "postgresql://me:hunter2@127.0.0.1:1/x"\n')
    file.chmod(0o644)
    _, found = examine(capsys)
    assert found["Settings"]["state"] == "warning"
    assert found["Settings"]["mend"] == f"chmod 600 {file}"
    assert "hunter2" not in json.dumps(found)


def test_a_database_that_does_not_answer_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "porch.toml").write_text('database_url = "postgresql://me:hunter2@127.0.0.1:1/x"\n')
    code, found = examine(capsys, "--data-dir", str(tmp_path / "new"))
    assert code == 1
    assert found["Database"]["state"] == "wrong"
    assert "hunter2" not in json.dumps(found)


async def test_a_running_server_without_data_here_has_its_database_elsewhere(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    running = await checks.check_database(settings, running=True)
    assert running.state == "warning"
    assert "another database" in running.found
    assert "PORCH_DATABASE_URL" in running.mend
    stopped = await checks.check_database(settings, running=False)
    assert (stopped.state, "the first start makes it" in stopped.found) == ("ok", True)


def test_a_foreign_folder_is_wrong_and_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    code, found = examine(capsys, "--data-dir", str(tmp_path / "mine"))
    assert code == 1
    assert "letter.txt" in found["Data folder"]["found"]
    assert [entry.name for entry in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_a_port_in_use_is_a_warning_with_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = checks.check_port(Settings(data_dir=tmp_path, port=taken.getsockname()[1]))
    assert found.state == "warning"
    assert "up --port 0" in found.mend


def test_too_little_room_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 50_000_000

    def disk_usage(_: Path) -> type[Usage]:
        return Usage

    monkeypatch.setattr("shutil.disk_usage", disk_usage)
    assert checks.check_disk(tmp_path).state == "wrong"
    Usage.free = 500_000_000
    assert checks.check_disk(tmp_path).state == "warning"


def test_a_server_that_died_without_a_word_does_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with DataDir(tmp_path / "data").hold() as hold:
        hold.announce("http://localhost:1")
        lock = (tmp_path / "data" / "porch.lock").read_bytes()
    (tmp_path / "data" / "porch.lock").write_bytes(lock)
    _, found = examine(capsys, "--data-dir", str(tmp_path / "data"))
    assert "not running" in found["Server"]["found"]


def test_a_server_that_does_not_answer_is_wrong_with_the_command_that_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = DataDir(tmp_path / "data")
    with data.hold() as hold:
        hold.announce("http://localhost:1")
        data.write_secret("credentials.json", b'{"url":"x","token":"porch_pat_x","workspace":"home"}')
        code, found = examine(capsys, "--data-dir", str(tmp_path / "data"))
    assert code == 1
    assert found["Server"]["state"] == "wrong"
    assert "kill" in found["Server"]["mend"]


def test_people_get_the_same_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--data-dir", str(tmp_path / "new")]) == 0
    text = capsys.readouterr().out
    assert "Python" in text
    assert "Data folder" in text
    assert "\x1b" not in text


def test_a_long_name_stands_apart_from_what_was_found_and_one_that_is_not_reached_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-some-key-or-other")
    # Nobody listens there, so nothing beyond this machine is asked.
    monkeypatch.setenv("PORCH_EGRESS_PROXY", "http://127.0.0.1:1")
    folder = str(tmp_path / "new")
    assert run(["doctor", "--data-dir", folder]) == 0
    assert "OpenAI Responses key found in OPENAI_API_KEY" in capsys.readouterr().out
    _, found = examine(capsys, "--data-dir", folder)
    assert found["OpenAI"]["state"] == "warning"
    assert "cannot be reached just now" in found["OpenAI"]["found"]
