"""How this command was called: the options that every command takes, and what they lead to."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from porch.settings import Resolved, Settings

INTERRUPTED = 130
F = TypeVar("F", bound=Callable[..., Any])
# Command lines in texts of rooms that do not know how Porch was called.
_COMMAND_LINE = re.compile(
    r"(?<![\w./@:-])(?<!uv run )porch(?= (?:hello|up|sign-in|chat|new|agents|models?|providers|tokens|doctor|bench"
    r"|conformance|security|inbox|approve|deny|archive|backup|restore|upgrade-data|version)\b)"
)


@dataclass
class Invocation:
    """Options given before or after the command's name; the ones after it win."""

    data_dir: str | None = None
    config: str | None = None
    json: bool = False
    debug: bool = False

    def resolve(self, **flags: Any) -> "Resolved":
        """Settings with their origins. Raises SetupError."""
        from porch.settings import resolve_settings

        return resolve_settings({"data_dir": self.data_dir, **flags}, config=self.config)

    def settings(self, **flags: Any) -> "Settings":
        """The settings that hold for this call. Raises SetupError."""
        return self.resolve(**flags).settings

    @property
    def options(self) -> str:
        """What a suggested command must repeat to mean the same installation, with a space before it."""
        return f" --data-dir {self.data_dir}" if self.data_dir else ""


def current() -> Invocation:
    """The running command's."""
    return click.get_current_context().ensure_object(Invocation)


def program() -> str:
    """How this person calls Porch, for commands that they can copy."""
    if called := os.environ.get("PORCH_INVOKED_AS"):
        return called
    return "uv run porch" if "UV" in os.environ else "porch"


def as_invoked(text: str) -> str:
    """A text of ours with the command lines in it written as this person calls Porch."""
    return _COMMAND_LINE.sub(lambda _: program(), text)


def common(*, json: bool = False) -> Callable[[F], F]:
    """Gives a command --data-dir, --config and --debug, and --json where it answers in it."""

    def decorate(command: F) -> F:
        options = [
            _option("--data-dir", "data_dir", metavar="DIR", help="The data folder (~/.porch)."),
            _option("--config", "config", metavar="FILE", help="The settings file (porch.toml)."),
            _option("--debug", "debug", is_flag=True, hidden=True),
        ]
        if json:
            options.append(_option("--json", "json", is_flag=True, help="Answer in JSON, for programs."))
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _option(flag: str, name: str, **kwargs: Any) -> Callable[[F], F]:
    def keep(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.ensure_object(Invocation), name, value)

    return click.option(flag, name, expose_value=False, callback=keep, **kwargs)
