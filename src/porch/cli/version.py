"""`porch version`."""

import json
import platform

import click

from porch import __version__
from porch.cli.invocation import common, current


@click.command(epilog="Example: porch version --json")
@common(json=True)
def version() -> None:
    """Print the version."""
    if current().json:
        print(json.dumps({"porch": __version__, "python": platform.python_version()}))
    else:
        print(__version__)
