"""Tools as typed Python functions, run in-process."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, cast, get_type_hints

import msgspec

from porch.contract.errors import InvalidInput, PorchError

Reversibility = Literal["read", "write"]


class ToolFailure(PorchError):
    """Raised by a tool that could not do what it was asked; the model reads the message."""

    code = "tool_failed"
    status = 422
    category = "bad_request"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the engine sees it.

    `parameters` is the JSON Schema of its arguments. A `read` tool may be run again after a crash; any
    other is not, since nobody knows whether its effect came about. With `approval` each call waits for a person.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    reversibility: Reversibility
    function: Callable[[Any], Awaitable[Any]]
    arguments: type[msgspec.Struct]
    approval: bool = False

    async def run(self, arguments: dict[str, Any]) -> Any:
        """The tool's output, any JSON value. Raises InvalidInput for arguments that do not fit its schema."""
        return msgspec.to_builtins(await self.function(self._typed(arguments)))

    def settle(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the tool gets them: defaults filled in, what it does not know left out.

        Raises InvalidInput for those that do not fit its schema.
        """
        return msgspec.to_builtins(self._typed(arguments))

    def _typed(self, arguments: dict[str, Any]) -> msgspec.Struct:
        try:
            return msgspec.convert(arguments, self.arguments)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"The arguments do not fit the tool {self.name!r}: {error}.") from None


def tool(
    reversibility: Reversibility, *, approval: bool = False
) -> Callable[[Callable[[Any], Awaitable[Any]]], Tool]:
    """Make a tool of `async def name(arguments: SomeStruct) -> JSON value`.

    Its name is the function's, its description the docstring's first line, its schema the Struct's. With `approval`
    a person must agree to each call before it runs.
    """

    def decorate(function: Callable[[Any], Awaitable[Any]]) -> Tool:
        [parameter] = inspect.signature(function).parameters
        arguments = cast("type[msgspec.Struct]", get_type_hints(function)[parameter])
        return Tool(
            name=function.__name__,
            description=(inspect.getdoc(function) or "").partition("\n")[0],
            parameters=_schema(arguments),
            reversibility=reversibility,
            function=function,
            arguments=arguments,
            approval=approval,
        )

    return decorate


def _schema(arguments: type[msgspec.Struct]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([arguments])
    schema = components.pop(arguments.__name__)
    schema.pop("title", None)
    schema.pop("description", None)
    return {**schema, "$defs": components} if components else schema
