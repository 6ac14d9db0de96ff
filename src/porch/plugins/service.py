"""Which tools an agent may call."""

from porch.contract.definition import Definition
from porch.contract.errors import InvalidInput
from porch.plugins.builtin import BUILTIN
from porch.plugins.tool import Tool


class Tools:
    """The tools of this installation, by name."""

    def __init__(self, tools: dict[str, Tool] | None = None) -> None:
        """Without `tools`, the built-in ones."""
        self._tools = BUILTIN if tools is None else tools

    def names(self) -> list[str]:
        """Every name that a definition may list."""
        return sorted(self._tools)

    def of(self, definition: Definition) -> dict[str, Tool]:
        """The tools that a definition lists. Raises InvalidInput for one that is not installed."""
        names = definition.tools or []
        self.check(names)
        return {name: self._tools[name] for name in names}

    def check(self, names: list[str]) -> None:
        """Raise InvalidInput for a tool that is not installed."""
        for name in names:
            if name not in self._tools:
                raise InvalidInput(
                    f"There is no tool {name[:60]!r} here; the tools are {', '.join(self.names())}.",
                    errors=[{"pointer": "/tools", "detail": f"unknown tool {name[:60]!r}"}],
                )
