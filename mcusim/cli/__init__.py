"""The command line. Each command is a module that is imported when it runs."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from mcusim import __version__

__all__ = ["commands", "main"]

#: Commands and what ``--help`` says of them; the module of each is imported only when it runs.
_COMMANDS = {
    "boards": "List the boards, or show one with the source of each number.",
    "networks": "List the networks of the zoo.",
    "run": "Estimate what a model takes on a board, and run it on inputs.",
    "verify": "Compare the bits of two runtimes, and say why they differ.",
}


class _LazyGroup(click.Group):
    """A group that knows its commands' help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"mcusim.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="mcusim %(version)s")
def commands() -> None:
    """What a neural network will do on a microcontroller: time, energy, memory, exact outputs."""


def main() -> None:
    """Run the command line; every error that a user can cause is one sentence.

    Exit codes: 0 done, 1 a check failed, 2 input or usage was wrong, 130 interrupted.
    """
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    from mcusim.cli import console
    from mcusim.errors import McusimError

    try:
        code = commands.main(arguments, prog_name="mcusim", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.UsageError as error:
        place = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        console.fail(f"{error.format_message()}{place}")
    except click.ClickException as error:
        console.fail(error.format_message())
    except McusimError as error:
        console.fail(str(error))
    except BrokenPipeError:
        console.close_output()
        return 0
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        console.fail(f"{name}{error.strerror or error}")
    except (click.Abort, KeyboardInterrupt):
        console.fail("interrupted")
        return 130
    return 2
