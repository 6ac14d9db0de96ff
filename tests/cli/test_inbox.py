"""What waits for a person, at the terminal."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.cli.places import house, porch, terminal
from tests.postgres import TestServer


@pytest.fixture(scope="module")
def folder(postgres: TestServer) -> Iterator[Path]:
    """A data folder with a server and an agent `sam` that asks before it looks at the clock."""
    with house(postgres) as place:
        made = porch(place, "new", "sam", "--model", "scripted:demo")
        assert made.returncode == 0, made.stderr
        known = json.loads((place / "credentials.json").read_text())
        url = f"{known['url']}/api/v1/workspaces/{known['workspace']}/agents/sam"
        body = json.dumps({"tools": ["clock"], "approval": {"tools": ["clock"]}}).encode()
        headers = {
            "Authorization": f"Bearer {known['token']}",
            "Content-Type": "application/merge-patch+json",
        }
        for request in (
            Request(url, body, headers, method="PATCH"),
            Request(f"{url}/versions", b"{}", {**headers, "Content-Type": "application/json"}),
        ):
            with urlopen(request) as response:
                assert response.status < 300
        yield place


def ask(folder: Path) -> tuple[str, str]:
    """An answer that waits, as a program sees it: what was said aside, and the approval's id."""
    said = porch(
        folder, "chat", "sam", "-m", '[[call clock {"timezone": "Asia/Tokyo"}]] [[say It is {result}]]'
    )
    assert said.returncode == 1
    [row] = json.loads(porch(folder, "inbox", "--json").stdout)["items"]
    assert row["canonical"] == '{"timezone":"Asia/Tokyo"}'
    return said.stderr, row["id"]


def test_a_message_that_meets_a_pause_says_what_waits_and_how_to_decide(folder: Path) -> None:
    aside, approval = ask(folder)
    assert 'waits for a decision about clock {"timezone":"Asia/Tokyo"}' in " ".join(aside.split())
    assert re.search(rf"porch approve .*{approval}", aside)
    listed = porch(folder, "inbox").stdout.split("\t")
    assert listed[:4] == [approval, "@home/sam", "clock", '{"timezone":"Asia/Tokyo"}']
    done = porch(folder, "approve", approval)
    assert done.stdout.strip() == 'clock {"timezone":"Asia/Tokyo"} is approved.'
    assert porch(folder, "inbox").stdout == ""
    assert porch(folder, "approve", approval).returncode == 0
    other = porch(folder, "deny", approval)
    assert other.returncode == 1
    assert "You approved this call" in " ".join(other.stderr.split())


@pytest.mark.parametrize("name", ["../me", "apr_1\n", ""])
def test_what_can_be_no_id_is_not_asked_for(folder: Path, name: str) -> None:
    refused = porch(folder, "approve", name)
    assert refused.returncode != 0
    assert "is no approval's id" in refused.stderr


def test_a_denial_carries_its_note(folder: Path) -> None:
    _, approval = ask(folder)
    one = json.loads(porch(folder, "deny", approval, "--note", "Not today.", "--json").stdout)
    assert (one["decision"], one["note"]) == ("deny", "Not today.")
    [*_, row] = [line.split("\t") for line in porch(folder, "inbox", "--decided").stdout.splitlines()]
    assert row[4] in ("approved", "denied")


def test_a_dialogue_asks_at_a_pause_and_goes_on_with_the_answer(folder: Path) -> None:
    with terminal(folder, "chat", "@home/sam") as person:
        person.read_until("› ")
        person.type("[[call clock {}]] [[say It is late.]]\n")
        person.read_until(r'\{"timezone":"UTC"\}.*Let it run\?')
        person.type("maybe\n")
        person.read_until(r"Let it run\?.*Let it run\?")
        person.type("y\n")
        person.read_until(r"It is late\.\n.*› $")
        person.type("[[call clock {}]] [[say Later, then.]]\n")
        person.read_until(r"late\..*Let it run\?")
        person.type("\n")
        person.read_until(r"porch approve .*apr_.*› $")
        person.type("\x04")
        assert person.wait() == 0


def test_a_quota_is_set_shown_and_taken_away(folder: Path) -> None:
    assert porch(folder, "quota", "show").stdout.startswith("No quota: this ")
    kept = porch(folder, "quota", "set", "1000000", "--period", "day")
    assert re.match(r"[\d,]+ of 1,000,000 tokens of this day are used; the next begins at ", kept.stdout)
    assert json.loads(porch(folder, "quota", "show", "--json").stdout)["tokens"] == 1_000_000
    porch(folder, "quota", "set", "0", "--period", "day")
    waits = porch(folder, "chat", "sam", "-m", "Hello.")
    assert re.search(
        r"goes on when there is more, at the latest at 20\S+ 00:0\d UTC\.", " ".join(waits.stderr.split())
    )
    wrong = porch(folder, "quota", "set", "many")
    assert wrong.returncode == 2
    assert "'many' is no number of tokens" in " ".join(wrong.stderr.split())
    huge = porch(folder, "quota", "set", "9" * 5000)
    assert (huge.returncode, "give 0 to 1,000,000,000,000,000" in " ".join(huge.stderr.split())) == (1, True)
    assert porch(folder, "quota", "set", "off").stdout.startswith("No quota: this day")
