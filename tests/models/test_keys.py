"""Keys that Porch keeps: whole on the disk, closed to others, and in no sentence."""

import asyncio
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Thread

import pytest

from porch.contract.errors import InvalidInput, ModelError, NotFound, SetupError, Unavailable
from porch.egress import Egress
from porch.models import ModelNotConfigured, Models
from porch.models.keys import FILE, ModelKeys, check_key
from tests.home import AT_HOME, HOME
from tests.providers.asking import ask, request
from tests.providers.upstream import DONE, SAY, STOP, answer, plain, upstream

KEY = "sk-a-key-of-many-letters-x7Qa"
OTHER = "sk-another-key-of-letters-b9Zz"


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress() as egress:
        yield egress


def test_a_kept_key_is_there_after_a_restart_and_can_be_read_by_nobody_else(tmp_path: Path) -> None:
    ModelKeys(tmp_path).put("openai", f"  {KEY}\n")
    file = tmp_path / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ModelKeys(tmp_path).over({})["OPENAI_API_KEY"] == KEY
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE]


def test_a_kept_key_comes_before_the_environments_which_holds_again_once_it_is_removed(
    tmp_path: Path,
) -> None:
    keys = ModelKeys(tmp_path)
    environ = keys.over({"OPENAI_API_KEY": OTHER, "OPENAI_BASE_URL": "http://localhost:1/v1"})
    keys.put("openai", KEY)
    assert environ["OPENAI_API_KEY"] == KEY
    assert environ["OPENAI_BASE_URL"] == "http://localhost:1/v1"
    keys.remove("openai")
    assert environ["OPENAI_API_KEY"] == OTHER
    assert ModelKeys(tmp_path).over({}).get("OPENAI_API_KEY") is None


def test_of_a_key_its_last_four_are_shown_and_nothing_of_a_short_one(tmp_path: Path) -> None:
    keys = ModelKeys(tmp_path)
    assert keys.ending("openai") is None
    keys.put("openai", KEY)
    assert keys.ending("openai") == "x7Qa"
    keys.put("openai", "12345678")
    assert keys.ending("openai") == ""
    assert KEY not in repr(keys)


@pytest.mark.parametrize(
    "wrong", ["", "short", "sk-with a space-in-it", "sk-ключ-ключ", "x" * 513, "sk-line\nbreak-in-it"]
)
def test_what_is_no_key_is_refused_without_being_repeated(tmp_path: Path, wrong: str) -> None:
    keys = ModelKeys(tmp_path)
    with pytest.raises(InvalidInput) as caught:
        keys.put("openai", wrong)
    assert not wrong or wrong not in caught.value.message
    assert not (tmp_path / FILE).exists()


def test_a_key_for_who_takes_none_is_refused(tmp_path: Path) -> None:
    keys = ModelKeys(tmp_path)
    for provider in ("openai-responses", "local", "../etc"):
        with pytest.raises(NotFound, match="'openai'"):
            keys.put(provider, KEY)
    with pytest.raises(NotFound, match="OPENAI_API_KEY"):
        keys.remove("openai")


def test_a_file_that_others_could_read_is_closed(tmp_path: Path) -> None:
    ModelKeys(tmp_path).put("openai", KEY)
    (tmp_path / FILE).chmod(0o644)
    assert ModelKeys(tmp_path).ending("openai") == "x7Qa"
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"openai": 1}', f'["{KEY}"]'.encode(), b'{"openai": "a b"}', b"\xff"]
)
def test_a_broken_file_stops_the_start_with_its_name_and_not_its_content(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(SetupError) as caught:
        ModelKeys(tmp_path)
    assert FILE in caught.value.message
    assert KEY not in caught.value.message
    assert caught.value.__suppress_context__


def test_a_folder_that_cannot_be_written_keeps_the_key_that_was(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    keys = ModelKeys(folder)
    keys.put("openai", KEY)
    folder.rename(tmp_path / "gone")
    with pytest.raises(SetupError, match=FILE):
        keys.put("openai", OTHER)
    assert keys.ending("openai") == "x7Qa"


async def test_a_new_key_is_used_by_the_next_call_without_a_restart(tmp_path: Path, egress: Egress) -> None:
    async with upstream(answer(SAY, STOP, DONE)) as place:
        models = Models({"OPENAI_BASE_URL": place.url}, egress, AT_HOME, keys=ModelKeys(tmp_path))
        for key in (None, KEY, OTHER):
            if key:
                await models.keep_key("openai", key, HOME)
            resolved = models.resolve("openai:m", HOME)
            assert (await ask(resolved.provider, request(model="m"))).error is None
        await models.forget_key("openai", HOME)
        assert (await ask(models.resolve("openai:m", HOME).provider, request(model="m"))).error is None
    sent = [KEY in each.head or OTHER in each.head for each in place.requests]
    assert sent == [False, True, True, False]
    assert f"Authorization: Bearer {OTHER}" in place.requests[2].head


async def test_keys_put_at_the_same_time_leave_one_of_them_whole(tmp_path: Path, egress: Egress) -> None:
    models = Models({}, egress, AT_HOME, keys=ModelKeys(tmp_path))
    given = [f"{KEY}-{number}" for number in range(20)]
    await asyncio.gather(*(models.keep_key("openai", key, HOME) for key in given))
    assert ModelKeys(tmp_path).over({})["OPENAI_API_KEY"] in given
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE]


def test_while_a_key_changes_there_is_always_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_nothing(path: Path, content: bytes) -> None: ...

    monkeypatch.setattr("porch.models.keys.write_private", write_nothing)
    keys = ModelKeys(tmp_path)
    keys.put("openai", "sk-kept-key-0")
    environ = keys.over({"OPENAI_API_KEY": "sk-of-the-environment"})
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        changing = Thread(
            target=lambda: [keys.put("openai", f"sk-kept-key-{number}") for number in range(2000)]
        )
        changing.start()
        seen: set[str] = set()
        while changing.is_alive():
            seen.add(environ["OPENAI_API_KEY"])
        changing.join()
    finally:
        sys.setswitchinterval(before)
    assert all(key.startswith("sk-kept-key-") for key in seen)


async def test_that_a_kept_key_was_refused_is_known_after_a_restart_until_another_comes(
    tmp_path: Path, egress: Egress
) -> None:
    async with upstream(plain(401)) as place:
        environ = {"OPENAI_BASE_URL": place.url}
        models = Models(environ, egress, AT_HOME, keys=ModelKeys(tmp_path))
        await models.keep_key("openai", KEY, HOME)
        with pytest.raises(ModelError):
            await models.probe("openai:m", HOME)
        again = Models(environ, egress, AT_HOME, keys=ModelKeys(tmp_path))
        assert again.is_refused("openai")
        await again.keep_key("openai", OTHER, HOME)
        assert not again.is_refused("openai")
        await again.forget_key("openai", HOME)
        assert not again.is_refused("openai")


@pytest.mark.parametrize(
    ("status", "body", "refused"),
    [
        (401, b"", True),
        (403, b'{"error": {"message": "Your API key was reported as leaked."}}', True),
        (400, b'{"error": "Incorrect API key provided: sk-..."}', True),
        (403, b"", False),
        (403, b'{"error": {"code": "model_not_found", "message": "no access to model m"}}', False),
        (401, b'{"error": {"message": "insufficient permissions. Missing scopes: model.request"}}', False),
        (500, b"", False),
        (429, b"", False),
    ],
)
async def test_a_test_tells_a_refused_key_from_one_that_may_not_and_from_a_provider_in_trouble(
    tmp_path: Path, egress: Egress, status: int, body: bytes, refused: bool
) -> None:
    async with upstream(plain(status, body)) as place:
        for environ, keys in (({}, ModelKeys(tmp_path)), ({"OPENAI_API_KEY": OTHER}, None)):
            models = Models({"OPENAI_BASE_URL": place.url, **environ}, egress, AT_HOME, keys=keys)
            if keys:
                await models.keep_key("openai", KEY, HOME)
            with pytest.raises(ModelError):
                await models.probe("openai:m", HOME)
            assert models.is_refused("openai") is refused
    assert ModelKeys(tmp_path).refusals.has("openai", KEY) is refused


async def test_without_a_place_for_keys_the_environment_is_named(egress: Egress) -> None:
    with pytest.raises(Unavailable, match="environment"):
        await Models({}, egress, AT_HOME).keep_key("openai", KEY, HOME)
    with pytest.raises(ModelNotConfigured) as caught:
        Models({}, egress, AT_HOME).resolve("openai:m", HOME)
    assert "Models page" not in caught.value.message


async def test_with_a_place_for_keys_its_page_is_named(tmp_path: Path, egress: Egress) -> None:
    with pytest.raises(ModelNotConfigured, match="Models page"):
        Models({}, egress, AT_HOME, keys=ModelKeys(tmp_path)).resolve("openai:m", HOME)


def test_a_key_is_taken_without_the_spaces_around_it() -> None:
    assert check_key("\t sk-12345678 \n") == "sk-12345678"
