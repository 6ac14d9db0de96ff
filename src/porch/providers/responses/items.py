"""The output items of an answer and their parts: what came of each, and what its end still adds.

Everything is keyed by the places in the output, since the ids of items rotate behind some proxies. Ends repeat
the full text; it counts where the deltas before it did not come, or not all of them.
"""

from typing import Any, cast

from porch.contract.events import PartKind
from porch.providers.assembly import CALL_COST, Assembly, argument_text
from porch.providers.citations import cite
from porch.providers.responses.quirks import FORMAT
from porch.providers.responses.wire import Event

CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
_KINDS: dict[str, tuple[PartKind, str]] = {
    "output_text": ("text", "text"),
    "text": ("text", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning_text": ("reasoning", "text"),
}
Place = tuple[str, int]  # a list of the item's, and where in it: content and summary are counted apart


class _Part:
    __slots__ = ("id", "kind")

    def __init__(self, kind: PartKind) -> None:
        self.kind: PartKind = kind
        self.id: str | None = None


class _Item:
    __slots__ = (
        "announced",
        "begun_with",
        "cited",
        "done",
        "early",
        "filled",
        "given",
        "last",
        "named",
        "parts",
    )

    def __init__(self) -> None:
        self.announced = False
        self.done = False
        self.filled = False
        self.parts: dict[Place, _Part] = {}
        self.last: str | None = None  # our id of the part that began last
        self.cited: dict[int, int] = {}
        self.named = False  # as a call, which begins with its name
        self.early: list[str] = []  # argument text that came before the name
        self.given: Any = None  # the provider's id of a call
        self.begun_with: Any = None  # arguments that stood in its announcement


class Items:
    """What an answer's items hold so far."""

    def __init__(self, assembly: Assembly, seal: str, seal_plain: bool) -> None:
        self.refused = False
        self._came: set[str] = set()  # kinds of items of which something came
        self._assembly = assembly
        self._seal = seal
        self._seal_plain = seal_plain
        self._items: dict[object, _Item] = {}
        self._latest: object = 0
        self._thought: _Part | None = None
        self._tail: tuple[int, int, _Part] | None = None  # the place of the last delta

    def more(self, output_index: int, content_index: int, text: str) -> bool:
        """A delta of the part that had the last one; False when it belongs elsewhere, and `say` must take it."""
        tail = self._tail
        if tail is None or not text or tail[0] != output_index or tail[1] != content_index:
            return False
        self._assembly.delta(tail[2], tail[2].kind, text)
        return True

    def say(self, event: Event, kind: PartKind, where: str, index: Any) -> None:
        """A delta of a part."""
        text = event.delta
        if type(text) is not str or not text:
            return
        at = event.output_index
        item = self._items.get(at) if type(at) is int else None
        if item is None:
            item = self._find(event)
        part = item.parts.get((where, index if type(index) is int else 0))
        if part is None:
            self._begin(item, (where, _place(index)), kind, text)
        else:
            self._assembly.delta(part, part.kind, text)
            if where == "content" and type(at) is int and type(index) is int:
                self._tail = (at, index, part)

    def call_delta(self, event: Event) -> None:
        """A delta of a call's arguments."""
        text = event.delta
        if type(text) is not str or not text:
            return
        item = self._find(event)
        if not item.named:
            self._assembly.spend(len(text))
            item.early.append(text)
        elif self._assembly.has(item):
            self._assembly.call_delta(item, text)

    def open(self, event: Event) -> None:
        """An item is announced."""
        fields = _record(event.item)
        item = self._find(event, fields)
        if item.announced:
            if item.given and item.given == fields.get("call_id") and not item.done:
                return  # told twice; a call must not be made twice
            self._close(item)
            item = self._add(self._latest)
        item.announced = True
        item.given = fields.get("call_id")
        if type(given := fields.get("id")) is str:
            self._items[given] = item  # for events that name the item and not its place
        self._end_thought()
        kind = _kind(fields.get("type"))
        if kind == "call":
            self._name(item, fields.get("name"))
            if given := fields.get(CALLS[fields["type"]]):
                self._assembly.spend(len(str(given)))
                item.begun_with = given
        elif kind == "other":
            self._assembly.raw(FORMAT, {"type": event.type, "item": event.item})

    def settle(self) -> None:
        """The answer is over. A call of which nothing came after its announcement has the arguments in that."""
        for item in self._items.values():
            if item.begun_with and not item.done and not self._assembly.so_far(item):
                self._fill_call(item, item.begun_with)

    def end_part(self, event: Event, kind: PartKind, where: str, index: Any, full: Any) -> None:
        """A part's end, with its full text."""
        item = self._find(event)
        place = (where, _place(index))
        self._fill(item, place, kind, full)
        if place in item.parts:
            self._assembly.end(item.parts[place])

    def end_content(self, event: Event) -> None:
        """The end of a content part, with its text and citations."""
        fields = _record(event.part)
        kind, member = _KINDS.get(str(fields.get("type")), (None, ""))
        if kind is None:
            return
        self.end_part(event, kind, "content", event.content_index, fields.get(member))
        self._cite_rest(self._find(event), _place(event.content_index), fields)

    def end_arguments(self, event: Event, full: Any) -> None:
        """The end of a call's arguments; the call itself ends with its item."""
        item = self._find(event)
        self._name(item, event.name)
        if item.named:
            self._fill_call(item, full)

    def end_item(self, event: Event) -> None:
        """An item's end, with all that it holds."""
        self.take(self._find(event, _record(event.item)), event.item)

    def take_output(self, output: Any) -> None:
        """A whole answer's items: those of the kinds of which nothing came before."""
        before = frozenset(self._came)
        for fields in cast("list[Any]", output) if isinstance(output, list) else ():
            if _kind(_record(fields).get("type")) not in before:
                self._assembly.spend(CALL_COST)
                self.take(_Item(), fields)
        if "call" in self._came - before:
            for item in self._items.values():
                item.early = []

    def take(self, item: _Item, value: Any) -> None:
        """What an item holds at its end, as far as it did not come before."""
        fields = _record(value)
        kind = _kind(fields.get("type"))
        if item.done:
            return
        item.done = True
        if kind == "call":
            self._name(item, fields.get("name"))
            if item.named:
                self._fill_call(item, fields.get(CALLS[fields["type"]]))
        elif kind == "message":
            self._take_list(item, "content", fields.get("content"))
        elif kind == "reasoning":
            self._take_list(item, "summary", fields.get("summary"))
            self._take_list(item, "content", fields.get("content"))
            plain = self._seal_plain and fields.get("content")
            if plain or fields.get("encrypted_content") or fields.get("signature"):
                self._came.add("reasoning")
                self._assembly.seal(item, self._seal, value, part=item.last)
        else:
            self._came.add("other")
            self._assembly.raw(FORMAT, value)
        self._close(item)

    def cite(self, event: Event) -> None:
        """One citation of a part."""
        item, index = self._find(event), _place(event.content_index)
        self._assembly.spend(CALL_COST)
        item.cited[index] = item.cited.get(index, 0) + 1
        self._cite(item, index, event.annotation)

    def nameless(self) -> bool:
        """Whether something came for a call whose name never did."""
        return any(item.early for item in self._items.values())

    def _find(self, event: Event, fields: dict[str, Any] | None = None) -> _Item:
        """The item that an event is about; one without an index is known by its id, or is the latest."""
        key: object = event.output_index
        if type(key) is not int:
            given = event.item_id if fields is None else fields.get("id")
            key = given if type(given) is str and given else self._latest
        self._latest = key
        item = self._items.get(key)
        return item if item is not None else self._add(key)

    def _add(self, key: object) -> _Item:
        self._assembly.spend(CALL_COST)
        item = self._items[key] = _Item()
        self._tail = None
        return item

    def _begin(self, item: _Item, place: Place, kind: PartKind, text: str) -> None:
        self._came.add("reasoning" if kind == "reasoning" else "message")
        self.refused = self.refused or kind == "refusal"
        self._assembly.spend(CALL_COST)
        part = item.parts[place] = _Part(kind)
        if kind == "reasoning":
            self._end_thought()
            self._thought = part
        self._assembly.delta(part, kind, text)
        part.id = item.last = self._assembly.part(part)

    def _fill(self, item: _Item, place: Place, kind: PartKind, full: Any) -> None:
        if type(full) is not str or not full:
            return
        part = item.parts.get(place)
        if part is None:
            self._begin(item, place, kind, full)
        elif self._assembly.has(part) and (rest := _rest(full, self._assembly.so_far(part))):
            self._assembly.delta(part, kind, rest)

    def _take_list(self, item: _Item, where: str, values: Any) -> None:
        """Texts at an item's end. Where some of its parts came, those that did not are left out: places may
        be counted differently."""
        came = bool(item.parts)
        for index, value in enumerate(cast("list[Any]", values) if isinstance(values, list) else ()):
            fields = _record(value)
            kind, member = _KINDS.get(str(fields.get("type")), (None, ""))
            if where == "summary":
                kind, member = "reasoning", "text"
            if kind is None:
                continue
            if not came or (where, index) in item.parts:
                self._fill(item, (where, index), kind, fields.get(member))
            self._cite_rest(item, index, fields)

    def _name(self, item: _Item, name: Any) -> None:
        if item.named or type(name) is not str or not name:
            return
        item.named = True
        self._came.add("call")
        self._assembly.start_call(item, name)
        early, item.early = "".join(item.early), []
        self._assembly.call_delta(item, early)

    def _fill_call(self, item: _Item, full: Any) -> None:
        if isinstance(full, dict | list):
            full = argument_text(cast("object", full))
        if type(full) is str and not item.filled and self._assembly.has(item):
            item.filled = True
            self._assembly.call_delta(item, _rest(full, self._assembly.so_far(item)))

    def _close(self, item: _Item) -> None:
        for part in item.parts.values():
            self._assembly.end(part)
        self._assembly.end(item)

    def _end_thought(self) -> None:
        """A thought is over where the next one or another item begins; its own end may come much later."""
        if self._thought is not None:
            self._assembly.end(self._thought)
            self._thought = None

    def _cite_rest(self, item: _Item, index: int, fields: dict[str, Any]) -> None:
        """Citations that stand only at the end of their part."""
        found = fields.get("annotations")
        if not isinstance(found, list) or not found:
            return
        values = cast("list[Any]", found)
        for value in values[item.cited.get(index, 0) :]:
            self._cite(item, index, value)
        item.cited[index] = max(item.cited.get(index, 0), len(values))

    def _cite(self, item: _Item, index: int, value: Any) -> None:
        part = item.parts.get(("content", index))
        if not cite(self._assembly, part.id if part else None, value):
            self._assembly.raw(FORMAT, {"annotation": value})


def _kind(given: Any) -> str:
    if given in ("message", "reasoning"):
        return str(given)
    return "call" if isinstance(given, str) and given in CALLS else "other"


def _rest(full: str, so_far: str) -> str:
    return full[len(so_far) :] if full.startswith(so_far) else ""


def _record(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _place(index: Any) -> int:
    return index if type(index) is int else 0
