import json
from pathlib import Path

import pytest

from porch.client.credentials import find_access
from porch.contract.errors import SetupError


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A machine with a server of its own."""
    (tmp_path / "credentials.json").write_text(
        json.dumps({"url": "http://localhost:8642", "token": "porch_pat_file", "workspace": "home"})
    )
    return {"PORCH_DATA_DIR": str(tmp_path)}


def test_what_is_given_goes_before_the_environment_and_that_before_the_file(environ: dict[str, str]) -> None:
    assert find_access(environ=environ).token == "porch_pat_file"
    named = {**environ, "PORCH_URL": "https://b.test/", "PORCH_TOKEN": "porch_pat_env"}
    access = find_access(environ=named)
    assert (access.url, access.token) == ("https://b.test", "porch_pat_env")
    access = find_access("https://c.test", "porch_pat_given", environ=named)
    assert (access.url, access.token) == ("https://c.test", "porch_pat_given")


def test_the_files_token_goes_to_no_other_address(environ: dict[str, str]) -> None:
    assert find_access("http://localhost:8642/", environ=environ).token == "porch_pat_file"
    with pytest.raises(SetupError, match=r"no token for https://elsewhere\.test.*PORCH_TOKEN"):
        find_access("https://elsewhere.test", environ=environ)
    with pytest.raises(SetupError, match="no token"):
        find_access(environ={**environ, "PORCH_URL": "http://localhost:8643"})


def test_without_any_server_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"porch up.*PORCH_URL"):
        find_access(environ={"PORCH_DATA_DIR": str(tmp_path)})


def test_a_broken_file_is_named_with_the_way_to_a_new_one(environ: dict[str, str]) -> None:
    (Path(environ["PORCH_DATA_DIR"]) / "credentials.json").write_text("{")
    with pytest.raises(SetupError, match=r"credentials\.json' is broken"):
        find_access(environ=environ)


@pytest.mark.parametrize(
    "url",
    ["localhost:8642", "ftp://a.test", "http://", "http://a.test:x", "http://a.test/?q=1", "http://a b"],
)
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(SetupError, match="http://localhost:8642"):
        find_access(url, "porch_pat_x", environ={})


def test_no_secret_is_in_an_error_or_a_repr() -> None:
    with pytest.raises(SetupError) as caught:
        find_access("http://me:hunter2@a.test", "x", environ={})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SetupError) as caught:
        find_access("http://a.test", "porch_pat_x y\n", environ={})
    assert "porch_pat_x" not in str(caught.value)
    assert "porch_pat_z" not in repr(find_access("http://a.test", "porch_pat_z", environ={}))
