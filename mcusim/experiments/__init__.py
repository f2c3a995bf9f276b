"""Published experiments: each number beside ours, each conclusion confirmed or not."""

from __future__ import annotations

import difflib
from importlib import import_module

from mcusim.errors import InputError
from mcusim.experiments.reproduction import Claim, Figure, Reproduction, Row, Series

__all__ = ["Claim", "Figure", "Reproduction", "Row", "Series", "names", "reproduce"]

#: Modules by what ``mcusim reproduce`` calls them; each has a function ``reproduce()``.
_MODULES = {
    "deutel": "deutel",
    "heim": "heim",
    "mlperf-tiny": "mlperf_tiny",
    "profentzas": "profentzas",
    "svoboda": "svoboda",
}


def names() -> tuple[str, ...]:
    """Every experiment."""
    return tuple(_MODULES)


def reproduce(name: str) -> Reproduction:
    """Run one experiment.

    Args:
        name: one of :func:`names`.

    Raises:
        InputError: there is no such experiment.
    """
    if name not in _MODULES:
        close = difflib.get_close_matches(name, _MODULES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(_MODULES)}"
        raise InputError(f"there is no experiment {name!r}; {hint}")
    found: Reproduction = import_module(f"mcusim.experiments.{_MODULES[name]}").reproduce()
    return found
