"""The doors of a server: those that its OpenAPI document tells of, and the pages, which it does not."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from porch.conformance.isolation.shapes import PAGES, PUBLIC, SHAPES, Shape

# What a path names that belongs to a tenant, by parameter. The rest narrows that down, or names nothing of anybody's.
OBJECTS = frozenset(
    ["ws", "agent", "conversation", "message", "run", "approval", "share", "token", "user", "invitation"]
) | {"session", "response", "model", "workspace"}
# Of those, what is one person's alone, also among the members of a workspace.
PERSONAL = frozenset(
    ("conversation", "message", "run", "approval", "share", "token", "session", "response", "workspace")
)
BESIDE = frozenset(("number", "span", "part", "chat", "provider", "passkey", "rest"))
KNOWN = OBJECTS | BESIDE
# What the document leaves out and is no page: addresses of protocols that are none.
PROTOCOLS = ("/openai/", "/@{ws}/{agent}/v1")
_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")
_IN_BODY = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class Door:
    """One method at one path: what it needs, and what is sent there."""

    method: str
    path: str
    scope: str | None
    shape: Shape
    page: bool = False
    guests: bool = False
    agents: bool = False
    home: bool = False
    anywhere: bool = False

    @property
    def name(self) -> str:
        """As it is told to people, and listed in the route table."""
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[str]:
        """What its path names, in order."""
        return _PARAMETER.findall(self.path)

    @property
    def names(self) -> frozenset[str]:
        """The tenant's objects that a request names, in its path or its body."""
        named = {*self.parameters, *_placeholders(self.shape.body), *_placeholders(self.shape.form)}
        return frozenset(named) & OBJECTS

    @property
    def unknown(self) -> list[str]:
        """Parameters for which the kit has no object, so that it cannot go through this door."""
        return [name for name in self.parameters if name not in KNOWN]

    @property
    def kind(self) -> str:
        """Which of the groups it belongs to."""
        if self.path.startswith("/openai/") or "/{agent}/v1/" in self.path:
            return "OpenAI"
        if self.path.endswith(("/events", "/stream")):
            return "streams"
        if "/{agent}/a" in self.path and self.path.startswith("/@"):
            return "AG-UI, AI SDK"
        if self.path.endswith(("/parts/{part}", "/export")):
            return "files"
        return "pages" if self.page else "API"

    def fill(self, values: dict[str, str]) -> str:
        """The path with these names in it."""
        return _PARAMETER.sub(lambda found: values[found[1]], self.path)


def read_doors(document: dict[str, Any]) -> tuple[list[Door], list[str]]:
    """Every door that asks who comes, and the names of those that do not."""
    doors: list[Door] = []
    public: list[str] = []
    described = document.get("paths", {})
    for path, operations in described.items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            if name in PUBLIC:
                public.append(name)
                continue
            shape = SHAPES.get(name) or Shape(body=_example(document, operation))
            doors.append(
                Door(
                    method.upper(),
                    path,
                    operation.get("x-porch-scope"),
                    shape,
                    guests=bool(operation.get("x-porch-guests")),
                    agents=bool(operation.get("x-porch-agents")),
                    home=bool(operation.get("x-porch-home")),
                    anywhere=bool(operation.get("x-porch-anywhere")),
                )
            )
    doors += pages()
    return doors, [*public, *(name for name in PUBLIC if name not in public)]


def pages() -> Iterator[Door]:
    """The doors that the document leaves out."""
    for line in PAGES.strip().splitlines():
        method, path, scope, *flags = line.split()
        name = f"{method} {path}"
        yield Door(
            method,
            path,
            None if scope == "-" else scope,
            SHAPES.get(name, Shape(form={} if method == "POST" else None)),
            page=not path.startswith(PROTOCOLS),
            agents=path.startswith(PROTOCOLS),
            home="home" in flags,
            anywhere="anywhere" in flags,
        )


def _example(document: dict[str, Any], operation: dict[str, Any]) -> Any:
    """The first example of an operation's body, None where it takes none."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    schema: dict[str, Any] = content.get("schema", {})
    if "example" in content:
        return content["example"]
    if "$ref" in schema:
        schema = document["components"]["schemas"].get(str(schema["$ref"]).rpartition("/")[2], {})
    examples = schema.get("examples")
    if examples:
        return examples[0]
    return {
        name: each["examples"][0]
        for name, each in schema.get("properties", {}).items()
        if each.get("examples")
    }


def _placeholders(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _IN_BODY.findall(value)
    elif isinstance(value, dict):
        for each in value.values():  # pyright: ignore[reportUnknownVariableType]  # JSON
            yield from _placeholders(each)
    elif isinstance(value, Iterable):
        for each in value:  # pyright: ignore[reportUnknownVariableType]  # JSON
            yield from _placeholders(each)


def filled(value: Any, values: dict[str, str]) -> Any:
    """A body with these names in place of its placeholders."""
    if isinstance(value, str):
        return _IN_BODY.sub(lambda found: values.get(found[1], found[0]), value)
    if isinstance(value, dict):
        return {key: filled(each, values) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType]  # JSON
    if isinstance(value, list):
        return [filled(each, values) for each in value]  # pyright: ignore[reportUnknownVariableType]  # JSON
    return value
