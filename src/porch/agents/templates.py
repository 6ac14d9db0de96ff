"""Agents to begin with: the definitions in `gallery/`, for `porch new` and the page of new agents."""

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

from porch.contract.definition import Definition, parse_definition
from porch.contract.errors import NotFound

DEFAULT = "assistant"
BUNDLED = "local:smollm2"
# The files fold long lines; what people edit has one line a paragraph. Cues and list entries stay apart.
_FOLD = re.compile(r"(?<!\n)\n(?![\n\[*-])")


class Template(Struct, frozen=True, kw_only=True):
    """A definition under a name, with a sentence that says what it is good for."""

    name: str
    summary: str
    definition: Definition

    def named(
        self, name: str, model: str | list[str] | None = None, default: str | None = None
    ) -> Definition:
        """Its definition for an agent of this name, and of this model where one is given, or this chain of them.

        `default` takes the place of the bundled model; a template that is made for another model keeps that.
        """
        values: dict[str, Any] = {**msgspec.to_builtins(self.definition), "name": name}
        if name != self.definition.name:
            values["title"] = name.replace("-", " ").capitalize()
        if default is not None and values["model"] == BUNDLED:
            values["model"] = default
        if model is not None:
            values["model"] = model
        return parse_definition(values)


@cache
def templates() -> dict[str, Template]:
    """All templates by name, the default one first."""
    found = [
        _read(entry.name, entry.read_text("utf-8"))
        for entry in files("porch.agents").joinpath("gallery").iterdir()
    ]
    return {each.name: each for each in sorted(found, key=lambda each: (each.name != DEFAULT, each.name))}


def find_template(name: str) -> Template:
    """The template of this name. Raises NotFound that lists them."""
    if name not in templates():
        raise NotFound(f"There is no template {name[:60]!r}; there are {', '.join(templates())}.")
    return templates()[name]


def _read(file: str, text: str) -> Template:
    values = tomllib.loads(text)
    definition: dict[str, Any] = values["definition"]
    definition["instructions"] = _FOLD.sub(" ", definition["instructions"].strip())
    return Template(
        name=file.removesuffix(".toml"),
        summary=values["summary"],
        definition=parse_definition(definition),
    )
