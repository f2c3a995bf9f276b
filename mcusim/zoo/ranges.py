"""Activation ranges of the zoo's networks, kept as data.

They come from our own calibration pass (:mod:`mcusim.zoo.calibrate`) and are stored so that
building a network to estimate it runs no inference; a test holds the file against the pass.
"""

from __future__ import annotations

import json
from functools import cache

from mcusim.errors import ModelError
from mcusim.resources import data_path

__all__ = ["RANGES_PATH", "stored_ranges"]

RANGES_PATH = data_path("calibration", "zoo_ranges.json")


def stored_ranges(name: str) -> dict[int, tuple[float, float]]:
    """Range of each computed tensor of a network, by index.

    Raises:
        ModelError: none is stored for this network.
    """
    stored = _stored().get(name)
    if stored is None:
        raise ModelError(f"{RANGES_PATH.name} has no ranges for the network {name!r}")
    return {int(index): (low, high) for index, (low, high) in stored.items()}


@cache
def _stored() -> dict[str, dict[str, tuple[float, float]]]:
    content = json.loads(RANGES_PATH.read_text())
    ranges: dict[str, dict[str, tuple[float, float]]] = content["ranges"]
    return ranges
