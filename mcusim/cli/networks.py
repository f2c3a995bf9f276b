"""``mcusim networks``: the networks that need no file."""

from __future__ import annotations

import click

from mcusim import zoo
from mcusim.cli import console

__all__ = ["command"]


@click.command()
def command() -> None:
    """List the networks of the zoo, each of which MODEL may name."""
    console.show("\n".join(zoo.names()))
