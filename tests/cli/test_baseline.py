"""Figures in a file, and later ones beside them."""

from pathlib import Path

import pytest

from porch.cli.baseline import Baseline, Figures, compare, read_baseline, this_machine, write_baseline
from porch.contract.errors import SetupError


def figures(model: str = "scripted:fast", first: float = 0.01, pace: float | None = 100.0) -> Figures:
    return Figures(model, 5, first, first * 2, first * 10, pace)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    written = Baseline([figures()], this_machine())
    write_baseline(file, written)
    assert read_baseline(file) == written
    assert '"first_token_p50": 0.01' in file.read_text()


def test_later_figures_are_told_as_ratios() -> None:
    before = Baseline([figures(), figures("openai:x"), figures("local:y", pace=None)], this_machine())
    now = [figures(first=0.02, pace=50.0), figures("local:y"), figures("new:z")]
    found = compare(before, now)
    assert [one.model for one in found] == ["scripted:fast", "local:y"]
    assert (found[0].first_token, found[0].end_to_end, found[0].tokens_per_second) == (2.0, 2.0, 0.5)
    assert found[1].tokens_per_second is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "porch bench --save"),
        ("{", "holds no figures"),
        ('{"items": []}', "holds no figures"),
        ("later", "another version"),
    ],
)
def test_a_file_that_is_no_baseline_is_named_with_what_to_do(
    tmp_path: Path, content: str | None, said: str
) -> None:
    file = tmp_path / "before.json"
    if content == "later":
        write_baseline(file, Baseline([], this_machine(), format=99))
    elif content is not None:
        file.write_text(content)
    with pytest.raises(SetupError, match=said) as refused:
        read_baseline(file)
    assert "before.json" in refused.value.message


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be written"):
        write_baseline(tmp_path / "nowhere" / "before.json", Baseline([], this_machine()))
