"""Which call a fragment belongs to. Servers disagree on index, id and name; nobody's calls get merged."""

from typing import Any

import msgspec

from porch.providers.assembly import Assembly
from porch.providers.chat_completions.wire import Function, ToolCall


class _Call:
    __slots__ = ("early", "given", "id", "name", "text")

    def __init__(self, given: str) -> None:
        self.given = given  # the provider's id
        self.name = ""
        self.early: list[str] = []  # argument text that came before the name
        self.text: list[str] = []


class Calls:
    """The tool calls of one answer."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._by_index: dict[object, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._last: _Call | None = None
        self._legacy: _Call | None = None

    def fragments(self, items: list[ToolCall]) -> None:
        """The `tool_calls` of one chunk."""
        fresh: set[int] = set()
        for item in items:
            function = item.function or _NOTHING
            name = function.name if isinstance(function.name, str) else ""
            given = str(item.id) if item.id not in (None, "") else ""
            call = self._find(item, given, name, fresh)
            if call is None:
                call = self._begin(item, given)
                fresh.add(id(call))
            self._last = call
            self._add(call, name, function.arguments)

    def legacy(self, function: Function) -> None:
        """The `function_call` of one chunk, of which an answer has one."""
        if self._legacy is None:
            self._legacy = _Call("")
        name = function.name if isinstance(function.name, str) else ""
        self._add(self._legacy, name, function.arguments)

    def nameless(self) -> bool:
        """Whether something came for a call whose name never did."""
        calls = [*self._by_index.values(), *self._by_id.values(), self._last, self._legacy]
        return any(call is not None and call.early and not call.name for call in calls)

    def _find(self, item: ToolCall, given: str, name: str, fresh: set[int]) -> _Call | None:
        known = self._by_id.get(given) if given else None
        if not isinstance(item.index, int | str):
            if given or not name or self._last is None:
                return known or (None if name else self._last)
            ours = not self._last.given and id(self._last) not in fresh and _goes_on(self._last, name)
            return self._last if ours else None
        call = self._by_index.get(item.index)
        if call is None:
            return None if name else known
        if given and call.given and call.given != given:
            # Two ids at one index are two calls; but some servers make up an id with every fragment.
            return known or (None if name else call)
        return call if (given and call.given) or not name or _goes_on(call, name) else None

    def _begin(self, item: ToolCall, given: str) -> _Call:
        call = _Call(given)
        if isinstance(item.index, int | str):
            self._by_index[item.index] = call
        if given:
            self._by_id[given] = call
        return call

    def _add(self, call: _Call, name: str, arguments: Any) -> None:
        if isinstance(arguments, dict | list):
            text = msgspec.json.encode(arguments).decode()
        else:
            text = arguments if isinstance(arguments, str) else ""
        if not call.given:
            call.text.append(text)
        if name and not call.name:
            call.name = name
            self._assembly.start_call(call, name)
            text, call.early = "".join([*call.early, text]), []
        if not text:
            return
        if call.name:
            self._assembly.call_delta(call, text)
        else:
            call.early.append(text)


_NOTHING = Function()


def _goes_on(call: _Call, name: str) -> bool:
    """Whether a fragment with a name but no id belongs to this call, which stands where the fragment does."""
    if call.name in ("", name) and not call.given:
        return not _is_object("".join(call.text))
    return call.name in ("", name)


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return False
