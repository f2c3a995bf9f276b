"""The command line. Each command is a module that is imported when it runs."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module

import click

from mcusim import __version__

__all__ = ["commands", "main"]

#: Commands and what ``--help`` says of them; the module of each is imported only when it runs.
_COMMANDS = {
    "advise": "Try what would make a model faster or thriftier on a board.",
    "bench": "Plan measurements on a physical board, and read them from it.",
    "boards": "List the boards, or show one with the source of each number.",
    "calibrate": "Fit a board to runs that were measured on it.",
    "compare": "Compare what two revisions of a model take, layer by layer.",
    "debug": "Show where quantization hurts, layer by layer.",
    "exec": "Run firmware, or one function of it: output, time and energy by function.",
    "kernels": "Check the kernels within a firmware image: bits and instructions.",
    "networks": "List the networks of the zoo.",
    "reproduce": "Reproduce a published experiment, published beside predicted.",
    "run": "Estimate what a model takes on a board, and run it on inputs.",
    "sweep": "Price models x boards x settings into one file, and find the best under limits.",
    "verify": "Compare the bits of two runtimes, and say why they differ.",
}

#: Packages that running firmware takes, without which mcusim is installed by default.
_OF_FIRMWARE = ("capstone", "elftools", "intelhex", "unicorn")


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
        _listen()
        code = commands.main(arguments, prog_name="mcusim", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        console.explain(error.format_message())
    except click.UsageError as error:
        place = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        console.fail(f"{error.format_message()}{place}")
    except click.ClickException as error:
        console.fail(error.format_message())
    except McusimError as error:
        console.fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _OF_FIRMWARE:
            raise
        console.fail(f"running firmware needs {package}: pip install 'mcusim[exec]'")
    except (BrokenPipeError, SystemExit):
        # The reader of the output has gone, for which both Click and Rich exit with 1.
        console.close_output()
        return 0
    except OSError as error:
        name = f"{error.filename}: " if error.filename else "standard output: "
        console.fail(f"{name}{error.strerror or error}")
    except (click.Abort, KeyboardInterrupt):
        # Another interrupt finds nothing left to stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        console.fail("interrupted")
        return 130
    return 2


def _listen() -> None:
    """Take interrupts as KeyboardInterrupt, unless they are ignored, and lose none.

    Python only reports an exception in a callback from C, such as the compiler's, and goes on.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = _end_if_interrupted


def _end_if_interrupted(unraisable: sys.UnraisableHookArgs) -> None:
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    from mcusim.cli import console

    console.fail("interrupted")
    os._exit(130)
