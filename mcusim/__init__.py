"""mcusim: what a neural network will do on a microcontroller.

>>> import mcusim
>>> board = mcusim.load_board("nucleo-l496zg")
>>> board.clock.default_hz
80000000
"""

from __future__ import annotations

# Not from typing, whose import would be most of this one's time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mcusim.boards import load_board
    from mcusim.errors import (
        BoardError,
        InputError,
        McusimError,
        ModelError,
        UnsupportedOperatorError,
    )
    from mcusim.estimator import estimate
    from mcusim.graph import Graph
    from mcusim.interpreter import Interpreter, run
    from mcusim.models import load_model

__all__ = [
    "BoardError",
    "Graph",
    "InputError",
    "Interpreter",
    "McusimError",
    "ModelError",
    "UnsupportedOperatorError",
    "__version__",
    "estimate",
    "load_board",
    "load_model",
    "run",
]

__version__ = "0.1.0"

_HOME = {
    "BoardError": "errors",
    "Graph": "graph",
    "InputError": "errors",
    "Interpreter": "interpreter",
    "McusimError": "errors",
    "ModelError": "errors",
    "UnsupportedOperatorError": "errors",
    "estimate": "estimator",
    "load_board": "boards",
    "load_model": "models",
    "run": "interpreter",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import mcusim`` costs nothing."""
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
