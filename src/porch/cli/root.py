"""All commands, each loaded when it is called, and what becomes of their failures."""

import contextlib
import errno
import os
import stat
import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import TextIO

import click

from porch.cli.given import not_utf8
from porch.cli.invocation import INTERRUPTED, Invocation, as_invoked, common, program
from porch.contract.errors import PorchError

COMMANDS = {
    "hello": ("hello", "Start everything and talk to a first agent."),
    "up": ("up", "Run the server in the foreground."),
    "sign-in": ("sign_in", "Print a link that signs a browser in."),
    "chat": ("chat", "Talk with an agent."),
    "new": ("new", "Make an agent."),
    "agents": ("agents", "List, show, edit, publish and delete agents."),
    "models": ("models", "The models that can be used, and what unlocks more."),
    "providers": ("providers", "Ask each provider of models for a word, with times and cost."),
    "tokens": ("tokens", "List, make and revoke tokens for programs."),
    "inbox": ("inbox", "What waits for your decision."),
    "approve": ("inbox", "Let a tool call run that waits."),
    "deny": ("inbox", "Refuse a tool call that waits."),
    "quota": ("quota", "How many tokens this workspace may use in a day or a month."),
    "doctor": ("doctor", "What is wrong here, and the command that mends it."),
    "bench": ("bench", "Measure this installation: first token, tokens/s, end to end."),
    "conformance": ("conformance", "Whether a server keeps the stream contract, law by law."),
    "security": ("security", "Whether tenants are kept apart, tried from outside."),
    "model": ("model", "Install the demo model's weights."),
    "archive": ("keeping", "How long journals are kept, and bringing archived ones back."),
    "backup": ("archive", "Save the database to a file."),
    "restore": ("archive", "Fill a fresh data folder from a backup."),
    "upgrade-data": ("archive", "Bring an older data folder to this PostgreSQL."),
    "version": ("version", "Print the version."),
}
FAILED, USAGE = 1, 2
MESSAGE_OPTIONS = frozenset({"--message", "-m", "--once"})


class Help(click.HelpFormatter):
    """Help whose examples can be copied as they stand."""

    def write_text(self, text: str) -> None:
        """With our name as this person writes it."""
        super().write_text(as_invoked(text))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """With our name as this person writes it."""
        super().write_dl([(term, as_invoked(about)) for term, about in rows], col_max, col_spacing)


# Every command makes a context of its own; what they share is the class.
click.Context.formatter_class = Help


class Commands(click.Group):
    """The group of all commands, each imported by its own call alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command's module."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"porch.cli.{COMMANDS[cmd_name][0]}")
        return getattr(module, cmd_name.replace("-", "_"))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: porch hello",
)
@common(json=True)
@click.version_option(package_name="porch", message="%(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Porch: an open, self-hosted platform for public AI agents."""
    context.ensure_object(Invocation)


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and answer its exit code; every failure becomes a sentence on stderr."""
    invocation = Invocation()
    given = sys.argv[1:] if arguments is None else arguments
    if broken := _not_utf8(given):
        _say(f"Error: {broken}")
        return USAGE
    try:
        code = cli.main(list(given), prog_name=program(), standalone_mode=False, obj=invocation)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.UsageError as error:
        with contextlib.suppress(OSError):
            error.show()
        return USAGE
    except click.ClickException as error:
        return _fail(error.format_message(), error, invocation)
    except (KeyboardInterrupt, click.Abort):
        _say("Stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more while it exits.
        _give_up_outputs(BrokenPipeError())
        return FAILED
    except PorchError as error:
        return _fail(error.message, error, invocation)
    except Exception as error:
        if isinstance(error, OSError) and _give_up_outputs(error):
            why = error.strerror or str(error)
            return _fail(f"The output cannot be written: {why}.", error, invocation)
        return _fail(_unexpected(error, invocation), error, invocation)


def _not_utf8(arguments: Sequence[str]) -> str | None:
    for before, argument in zip(("", *arguments), arguments, strict=False):
        try:
            argument.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(argument).decode(errors="replace")[:80]
            what = "The message" if before in MESSAGE_OPTIONS else f"The argument {shown!r}"
            return not_utf8(what)
    return None


def _give_up_outputs(error: OSError) -> bool:
    """Whether it was an output that failed; Python would complain of it once more while it exits."""
    given_up = [_give_up(file, error) for file in (sys.stdout, sys.stderr)]
    return any(given_up)


def _give_up(file: TextIO, error: OSError) -> bool:
    try:
        file.flush()
        # Without a buffer nothing is left to be refused a second time.
        broken = error.errno == errno.ENOSPC and error.filename is None and _is_full(file)
    except OSError:
        broken = True
    if broken:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, file.fileno())
            os.close(nowhere)
    return broken


def _is_full(file: TextIO) -> bool:
    try:
        mode = os.fstat(file.fileno()).st_mode
        full = stat.S_ISREG(mode) and os.fstatvfs(file.fileno()).f_bavail == 0
    except (OSError, ValueError):
        return False
    return full or (stat.S_ISCHR(mode) and not file.isatty())


def _fail(sentence: str, error: BaseException, invocation: Invocation) -> int:
    from porch.cli.prose import Prose
    from porch.cli.terminal import is_terminal, neutral, paint

    sentence = as_invoked(sentence)
    if invocation.debug:
        traceback.print_exception(error)
    head = paint("Error:", "red", sys.stderr) + " "
    if is_terminal(sys.stderr) and "\n" not in sentence:
        with contextlib.suppress(OSError):
            Prose(sys.stderr).hanging(head, 7, sentence)
    else:
        # Several lines hold something to copy, such as SQL, which must not be wrapped.
        _say(head + neutral(sentence))
    return FAILED


def _unexpected(error: Exception, invocation: Invocation) -> str:
    from porch.cli.attach import log_file

    try:
        log = log_file(invocation.settings().data_dir)
        where = f" The server's log is {str(log)!r}." if log.exists() else ""
    except (PorchError, OSError):
        where = ""
    return (
        f"Something failed that nobody foresaw: {type(error).__name__}: {error}.{where} "
        "Run the same command with --debug for the details."
    )


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
