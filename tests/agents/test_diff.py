"""What a person is shown of the difference between two definitions."""

import time

from hypothesis import given
from hypothesis import strategies as st

from porch.agents.diff import Budget, Line, compare, compare_texts, find_matches
from porch.contract.definition import Approval, Definition, ModelSettings

BASE = Definition(name="helper", instructions="Be brief.", model="local:smollm2")

texts = st.lists(st.text(alphabet="ab \u202e<é", max_size=12), max_size=12).map("\n".join)


def changed(**values: object) -> Definition:
    import msgspec

    return msgspec.convert({**msgspec.to_builtins(BASE), **values}, Definition)


def side(lines: list[Line], *kinds: str) -> str:
    return "\n".join(line.text for line in lines if line.kind in kinds)


def marked(line: Line) -> list[str]:
    return [piece.text for piece in line.pieces if piece.changed]


@given(texts, texts)
def test_both_texts_can_be_read_off_their_difference(old: str, new: str) -> None:
    lines = compare_texts(old, new)
    assert side(lines, "same", "removed") == old
    assert side(lines, "same", "added") == new


@given(st.text(alphabet="abc", max_size=30), st.text(alphabet="abc", max_size=30))
def test_what_matches_is_equal_in_order_and_as_much_as_can_be(old: str, new: str) -> None:
    matches = find_matches(old, new, Budget())
    at_old = at_new = 0
    for match in matches:
        assert match.length > 0
        assert match.old >= at_old
        assert match.new >= at_new
        at_old, at_new = match.old + match.length, match.new + match.length
        assert old[match.old : at_old] == new[match.new : at_new]
    assert sum(match.length for match in matches) == longest_common(old, new)


def longest_common(old: str, new: str) -> int:
    row = [0] * (len(new) + 1)
    for a in old:
        above = row[:]
        for index, b in enumerate(new):
            row[index + 1] = above[index] + 1 if a == b else max(above[index + 1], row[index])
    return row[-1]


def test_equal_definitions_have_no_difference() -> None:
    assert compare(BASE, changed()) == []


def test_a_changed_word_is_marked_within_its_line() -> None:
    old = "You answer questions about dates, briefly.\nNever guess."
    new = "You answer questions about times, briefly.\nNever guess."
    [difference] = compare(changed(instructions=old), changed(instructions=new))
    removed, added, same = difference.lines
    assert (difference.label, same.kind) == ("Instructions", "same")
    assert (removed.kind, marked(removed)) == ("removed", ["dates"])
    assert (added.kind, marked(added)) == ("added", ["times"])


def test_a_line_of_which_little_is_left_is_marked_whole() -> None:
    removed, added = compare_texts("one two three", "four five three")
    assert marked(removed) == ["one two three"]
    assert marked(added) == ["four five three"]


def test_unchanged_stretches_are_counted_and_not_shown() -> None:
    old = "\n".join(f"line {number}" for number in range(100))
    [difference] = compare(
        changed(instructions=old), changed(instructions=old.replace("line 50", "another line 50"))
    )
    kinds = [(line.kind, line.count) for line in difference.lines]
    assert kinds == [
        ("skipped", 47),
        *[("same", 1)] * 3,
        ("removed", 1),
        ("added", 1),
        *[("same", 1)] * 3,
        ("skipped", 46),
    ]


def test_every_field_is_compared_and_lists_go_line_by_line() -> None:
    old = changed(tools=["clock"], settings={"temperature": 0.5}, memory={"recall": {"limit": 5}})
    new = changed(
        name="other",
        title="Other",
        model=["openai:gpt-5", "local:smollm2"],
        tools=["clock", "search"],
        settings={"temperature": 0.7, "max_steps": 3},
        memory={"recall": {"limit": 6}},
        plugins=["notes"],
        description="New.",
        questions=["Who?", "What?"],
        concurrency="reject",
        approval=Approval(tools=["clock"]),
    )
    found = {difference.field: list(difference.lines) for difference in compare(old, new)}
    assert set(found) == set(Definition.__struct_fields__) - {"instructions"}
    assert side(found["model"], "added") == "openai:gpt-5"
    assert side(found["model"], "same") == "local:smollm2"
    assert side(found["tools"], "added") == "search"
    assert side(found["settings"], "added") == "temperature: 0.7\nmax_steps: 3"
    assert ModelSettings(temperature=0.7, max_steps=3) == new.settings


def test_hostile_texts_cost_little_and_stay_true() -> None:
    cases = [
        ("a\nb\n" * 15_000, "b\na\n" * 15_000),
        ("a " * 30_000, "b a " * 15_000),
        ("\n".join(map(str, range(9000))), "\n".join(map(str, range(9000, 0, -1)))),
        ("x" * 60_000, "y" * 60_000),
    ]
    for old, new in cases:
        started = time.process_time()
        lines = compare_texts(old, new)
        assert time.process_time() - started < 1.5
        assert side(lines, "same", "removed") == old
        assert side(lines, "same", "added") == new
