"""The one place that prints: results on standard output, errors and progress on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = [
    "bar",
    "close_output",
    "explain",
    "fail",
    "progress",
    "show",
    "show_part",
    "terminal_width",
]

#: Wide enough for every table; lines for a file or a pipe are not folded.
_UNBOUNDED = 1_000


def show(*renderables: RenderableType) -> None:
    """Print results: text, or tables, which run over the edge of a terminal rather than be cut."""
    console = _output()
    for renderable in renderables:
        is_text = isinstance(renderable, str)
        console.print(renderable, highlight=False, markup=False, soft_wrap=is_text, crop=False)


def show_part(text: str) -> None:
    """Print what a guest said as it says it, which need not end a line."""
    sys.stdout.write(text)
    sys.stdout.flush()


def terminal_width() -> int | None:
    """Columns of the terminal; None when the output goes elsewhere."""
    console = _output()
    return console.width if console.is_terminal else None


def fail(sentence: str) -> None:
    """Say on standard error what went wrong."""
    explain(f"mcusim: {' '.join(sentence.split())}")


def explain(text: str) -> None:
    """Print text on standard error, if there is one that takes it."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show on the terminal that something takes its time."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show on the terminal how far something is; what is yielded adds to it."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=total)
        yield lambda steps: shown.advance(task, steps)


def close_output() -> None:
    """Give up standard output after its reader has gone, so that Python's exit stays silent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _output() -> Console:
    """Standard output, as wide as the terminal; without a bound where it is none."""
    from rich.console import Console

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    console = Console()
    return console if console.is_terminal else Console(width=_UNBOUNDED)
