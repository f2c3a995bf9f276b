"""Networks of MLPerf Tiny and of the papers, built in code: the first command needs no file."""

from __future__ import annotations

import difflib
from functools import cache

from mcusim.errors import ModelError
from mcusim.graph import Graph
from mcusim.tflite import read, write
from mcusim.zoo.description import described, is_description
from mcusim.zoo.networks import NETWORKS
from mcusim.zoo.quantization import quantized
from mcusim.zoo.ranges import stored_ranges

__all__ = ["build", "described", "is_description", "names"]

_FLOAT = ":float32"


def names() -> tuple[str, ...]:
    """Every network's name; the int8 form. ``"<name>:float32"`` is the float32 form."""
    return tuple(NETWORKS)


@cache
def build(name: str) -> Graph:
    """Build a network of the zoo.

    Args:
        name: one of :func:`names`, or with ``:float32`` behind it.

    Returns:
        The int8 network, with weights seeded and ranges from our own calibration pass; or the
        float32 one it was quantized from.

    Raises:
        ModelError: there is no network of this name.
    """
    stem = name.removesuffix(_FLOAT)
    if stem not in NETWORKS:
        close = difflib.get_close_matches(stem, NETWORKS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(NETWORKS)}"
        raise ModelError(f"{name!r} is neither a file nor a network of the zoo; {hint}")
    graph = NETWORKS[stem]().graph()
    if not name.endswith(_FLOAT):
        graph = quantized(graph, stored_ranges(stem))
    return read(write(graph), name)
