"""`porch sign-in`: a link that signs a browser in, once."""

import json
import sys
import webbrowser
from datetime import datetime

import click

from porch.cli.attach import reached
from porch.cli.invocation import common, current, program
from porch.cli.prose import Prose
from porch.cli.start import QuietStart


@click.command(epilog="Example: porch sign-in --open")
@click.option("--open", "browse", is_flag=True, help="Open it in this machine's browser.")
@common(json=True)
def sign_in(browse: bool) -> None:
    """Print a link that signs a browser in to the running server's pages. It works once, for 15 minutes."""
    invocation = current()
    with reached(invocation.resolve(), QuietStart(), start=False) as link:
        made = link.run(link.client.sign_in_links.create())
    url: str | None = made["url"]
    if invocation.json:
        print(json.dumps(made))
    aside = Prose(sys.stderr)
    if url is None:
        aside.line("A link was made, but the answer was lost. Ask for another:", "yellow")
        aside.raw(f"{program()} sign-in{invocation.options}")
        raise click.exceptions.Exit(1)
    if not invocation.json:
        aside.line(f"Open this in a browser; it works once, until {_clock(made['expires_at'])}:", "dim")
        print(url, flush=True)
    if browse and not webbrowser.open(url):
        aside.line(
            "This machine has no browser that can be opened from here; open the link yourself.", "yellow"
        )


def _clock(time: str) -> str:
    return datetime.fromisoformat(time).astimezone().strftime("%H:%M")
