"""What a caller may add to one run: instructions, tools of its own, settings. Kept with the run, so that whoever
takes it over goes on with the same.
"""

from typing import Any

import msgspec
from msgspec import Struct

from porch.contract.definition import Definition, ModelSettings
from porch.contract.errors import InvalidInput


class CallerTool(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool that the caller runs itself: a call of it ends the run. `parameters` is a JSON Schema object."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "object", "properties": {}})


class RunOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a caller added to one run.

    `instructions` stand behind the agent's own and never in their place; `settings` go before the definition's,
    except that the lower of two `max_output_tokens` holds and `max_steps` is the definition's alone. `request` is
    whatever the caller's protocol wants to find again with the run.
    """

    instructions: str = ""
    tools: list[CallerTool] = []
    settings: ModelSettings | None = None
    request: dict[str, Any] = {}

    def check(self, definition: Definition) -> None:
        """Raise InvalidInput where a tool has the name of another one, the agent's or the caller's."""
        taken = set(definition.tools or [])
        for index, tool in enumerate(self.tools):
            if tool.name in taken:
                raise InvalidInput(
                    f"There is another tool {tool.name[:64]!r} already: the agent has one, or you named it twice. "
                    "Give yours a name of its own.",
                    errors=[{"pointer": f"/tools/{index}", "detail": f"{tool.name[:64]!r} is taken"}],
                )
            taken.add(tool.name)

    def instruct(self, definition: Definition) -> str:
        """The agent's instructions, and behind them the caller's."""
        return "\n\n".join(text for text in (definition.instructions, self.instructions) if text)

    @property
    def offered(self) -> list[CallerTool]:
        """The caller's tools that the model is told of: none where it may call none of them."""
        return [] if self.settings and self.settings.tool_choice == "none" else self.tools

    def settle(self, definition: Definition) -> ModelSettings:
        """How the model is asked in this run."""
        own = definition.settings or ModelSettings()
        if self.settings is None:
            return own
        asked = msgspec.structs.asdict(self.settings)
        given = {name: value for name, value in asked.items() if value is not None and name != "max_steps"}
        if given.get("tool_choice") == "none":
            del given["tool_choice"]  # of the caller's tools: the agent keeps its own
        if own.max_output_tokens is not None and "max_output_tokens" in given:
            given["max_output_tokens"] = min(own.max_output_tokens, given["max_output_tokens"])
        return msgspec.structs.replace(own, **given)


NO_OPTIONS = RunOptions()
