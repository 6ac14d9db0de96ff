"""Keys that were refused: known to every process that shares a data folder."""

import json
from pathlib import Path

from porch.models.refusals import FILE, Refusals

KEY, OTHER = "sk-a-key-of-many-letters", "sk-another-of-many-letters"


def test_a_refusal_is_known_to_other_processes_until_one_of_them_sees_the_key_taken(tmp_path: Path) -> None:
    here, there = Refusals(tmp_path / FILE), Refusals(tmp_path / FILE)
    assert not there.has("openai", KEY)
    here.note("openai", KEY, refused=True)
    here.note("groq", KEY, refused=True)
    assert there.has("openai", KEY)
    assert there.has("openai", f" {KEY}\n"), "as it stands in a variable"
    assert not there.has("openai", OTHER)
    assert not there.has("anthropic", KEY)
    there.note("openai", KEY, refused=False)
    assert not here.has("openai", KEY)
    assert here.has("groq", KEY)


def test_what_becomes_of_one_key_says_nothing_of_another(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path / FILE)
    refusals.note("openai", KEY, refused=True)
    refusals.note("openai", OTHER, refused=False)
    assert refusals.has("openai", KEY)
    refusals.note("openai", OTHER, refused=True)
    assert refusals.has("openai", OTHER)


def test_the_file_holds_no_part_of_a_key_and_is_nobody_elses(tmp_path: Path) -> None:
    Refusals(tmp_path / FILE).note("openai", KEY, refused=True)
    text = (tmp_path / FILE).read_text()
    assert len(json.loads(text)["openai"]) == 8
    assert not any(KEY[at : at + 4] in text for at in range(len(KEY) - 3))
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_a_file_that_cannot_be_read_and_a_folder_that_is_not_there_are_no_refusal(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    assert not Refusals(tmp_path / FILE).has("openai", KEY)
    nowhere = Refusals(tmp_path / "later" / FILE)
    nowhere.note("openai", KEY, refused=True)
    assert nowhere.has("openai", KEY)
    assert not (tmp_path / "later").exists()
