"""Which call a fragment belongs to. Servers disagree on index, id and name; nobody's calls get merged."""

from typing import Any, cast

import msgspec

from porch.providers.assembly import CALL_COST, Assembly, argument_text
from porch.providers.chat_completions.wire import Function, ToolCall

_NO_IDS = (None, "", "null")  # Mistral has written the word
EMPTY = "{}"
MAX_LOOKS = 64  # at a call's arguments, for whether they are whole


class _Call:
    __slots__ = ("begun", "early", "extra", "given", "held", "looks", "name", "place")

    def __init__(self, given: str) -> None:
        self.given = given  # the provider's id
        self.name = ""
        self.place = 0  # among the step's calls
        self.extra: Any = None
        self.early: list[str] = []  # argument text that came before the name
        self.looks = 0
        self.begun = False  # its arguments have
        self.held = False  # they were an empty object, in whose place others may still come


class Calls:
    """The tool calls of one answer."""

    __slots__ = ("_all", "_assembly", "_by_id", "_by_index", "_last", "_legacy", "_signed")

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._all: list[_Call] = []
        self._by_index: dict[object, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._last: _Call | None = None
        self._legacy: _Call | None = None
        self._signed: dict[int, _Call] = {}

    def fragments(self, items: list[ToolCall]) -> None:
        """The `tool_calls` of one chunk."""
        fresh: set[int] = set()
        for item in items:
            function = item.function or _custom(item.custom)
            name = function.name if isinstance(function.name, str) else ""
            given = str(item.id) if item.id not in _NO_IDS else ""
            call = self._find(item, given, name, fresh)
            if call is None or (name and call.name and self._repeats(call, item, given, function.arguments)):
                call = self._begin(item, given)
                fresh.add(id(call))
            self._last = call
            self._add(call, name, function.arguments)
            if item.extra_content:
                self._keep(call, item.extra_content)

    def legacy(self, function: Function) -> None:
        """The `function_call` of one chunk, of which an answer has one."""
        if self._legacy is None:
            self._legacy = self._make("")
        name = function.name if isinstance(function.name, str) else ""
        self._add(self._legacy, name, function.arguments)

    def extras(self) -> list[dict[str, Any]]:
        """What stood beside calls, by their place: Gemini signs them, and refuses them without."""
        return [
            {"call": call.place, "extra_content": call.extra} for call in self._signed.values() if call.name
        ]

    def nameless(self) -> bool:
        """Whether something came for a call whose name never did."""
        return any(call.early and not call.name for call in self._all)

    def settle(self) -> None:
        """The answer is over: what was held back is all there is."""
        for call in self._all:
            if call.held:
                call.held = False
                self._assembly.call_delta(call, EMPTY)

    def _keep(self, call: _Call, extra: Any) -> None:
        self._assembly.spend(CALL_COST + len(str(extra)))
        call.extra = extra
        self._signed[id(call)] = call

    def _find(self, item: ToolCall, given: str, name: str, fresh: set[int]) -> _Call | None:
        known = self._by_id.get(given) if given else None
        if not isinstance(item.index, int | str):
            if given or not name or self._last is None:
                return known or (None if name else self._last)
            ours = not self._last.given and id(self._last) not in fresh and self._goes_on(self._last, name)
            return self._last if ours else None
        call = self._by_index.get(item.index)
        if call is None:
            return None if name else known
        if given and call.given and call.given != given:
            # Two ids at one index are two calls; but some servers make up an id with every fragment.
            return known or (None if name else call)
        return call if (given and call.given) or not name or self._goes_on(call, name) else None

    def _goes_on(self, call: _Call, name: str) -> bool:
        """Whether a fragment with a name but no id belongs to this call, which stands where the fragment does."""
        return call.name in ("", name) and (bool(call.given) or not self._is_whole(call))

    def _repeats(self, call: _Call, item: ToolCall, given: str, arguments: Any) -> bool:
        """Whether a fragment with a name begins a call that has the place or the id of this whole one."""
        if not arguments or (given == call.given and isinstance(item.index, int | str)):
            return False
        begins = isinstance(arguments, dict) or (isinstance(arguments, str) and arguments.lstrip()[:1] == "{")
        return begins and self._is_whole(call)

    def _is_whole(self, call: _Call) -> bool:
        try:
            return isinstance(msgspec.json.decode(self._so_far(call)), dict)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return False

    def _so_far(self, call: _Call) -> str:
        """A call's arguments, "" once they have been looked at too often for what that costs."""
        call.looks += 1
        if call.looks > MAX_LOOKS:
            return ""
        return EMPTY if call.held else self._assembly.so_far(call)

    def _begin(self, item: ToolCall, given: str) -> _Call:
        call = self._make(given)
        if isinstance(item.index, int | str):
            self._by_index[item.index] = call
        if given:
            self._by_id[given] = call
        return call

    def _make(self, given: str) -> _Call:
        self._assembly.spend(CALL_COST)
        call = _Call(given)
        self._all.append(call)
        return call

    def _add(self, call: _Call, name: str, arguments: Any) -> None:
        if type(arguments) is str:
            text = arguments
        else:
            text = argument_text(cast("object", arguments)) if isinstance(arguments, dict | list) else ""
        if name and not call.name:
            call.name = name
            call.place = self._assembly.tool_calls
            self._assembly.start_call(call, name)
            text, call.early = "".join([*call.early, text]), []
        if not text:
            return
        if not call.name:
            self._assembly.spend(len(text))
            call.early.append(text)
        elif text[0] == "{":
            self._add_object(call, text)
        else:
            call.held = False
            self._assembly.call_delta(call, text)

    def _add_object(self, call: _Call, text: str) -> None:
        """Text that begins as all arguments do, and as many a part of them."""
        if call.begun and text == self._so_far(call) and self._is_whole(call):
            return  # told again, where more could only spoil it
        call.held = text == EMPTY and not call.begun
        call.begun = True
        if not call.held:
            self._assembly.call_delta(call, text)


_NOTHING = Function()


def _custom(value: Any) -> Function:
    """The function that a custom tool's call comes to; its input is any text."""
    if not isinstance(value, dict):
        return _NOTHING
    fields = cast("dict[str, Any]", value)
    return Function(name=fields.get("name"), arguments=fields.get("input"))
