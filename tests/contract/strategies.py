"""Any value of the contract, for property tests."""

import string
from datetime import UTC, datetime
from functools import cache
from typing import Any, get_args

from hypothesis import strategies as st
from msgspec import UNSET, structs

from porch.contract.events import AnyEvent, Event

CLASSES: tuple[type[Event], ...] = get_args(AnyEvent)
ENVELOPE = {"v", "run", "epoch", "seq", "ts"}

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
whole_milliseconds = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def _of(annotation: Any) -> st.SearchStrategy[Any]:
    if annotation is Any:
        return json_values
    if annotation is type(UNSET):
        return st.just(UNSET)
    if annotation is str:
        return words
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return st.integers(0, 2**53)
    if annotation is datetime:
        return whole_milliseconds
    if isinstance(annotation, type) and hasattr(annotation, "__struct_fields__"):
        return structs_of(annotation)
    args = get_args(annotation)
    if annotation == dict[str, Any]:
        return st.dictionaries(words, json_values, max_size=3)
    if all(isinstance(arg, str) for arg in args):
        return st.sampled_from(args)
    return st.one_of([_of(arg) if arg is not type(None) else st.none() for arg in args])


@cache
def structs_of(cls: Any, leave_out: tuple[str, ...] = ()) -> st.SearchStrategy[Any]:
    """Instances of a Struct class with every field drawn but those left at their defaults."""
    fields = [field for field in structs.fields(cls) if field.name not in leave_out]
    return st.builds(cls, **{field.name: _of(field.type) for field in fields})


events: st.SearchStrategy[Any] = st.sampled_from(CLASSES).flatmap(
    lambda cls: structs_of(cls, leave_out=tuple(ENVELOPE))
)
handles = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12)
