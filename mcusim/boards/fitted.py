"""What was fitted to published runs for the boards and cores that come with mcusim."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mcusim.boards.toml_origins import Origin
from mcusim.resources import data_path

__all__ = ["FittedValues", "fitted_values"]


@dataclass(frozen=True)
class FittedValues:
    """Tables that lie over those of a board's or core's file.

    Attributes:
        values: as in a file.
        origins: place and evidence of each key.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)


def fitted_values(folder: str, *names: str) -> FittedValues:
    """What was fitted for the first of some names that has anything; empty where none has.

    Args:
        folder: ``"boards"`` or ``"cores"``.
        names: of files in it, without their ending.
    """
    for name in names:
        path = data_path("calibration", folder, f"{name}.json")
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            values: dict[str, Any] = content["values"]
            evidence = Origin(path.name, 1, content["evidence"])
            return FittedValues(values, dict.fromkeys(_keys(values), evidence))
    return FittedValues()


def _keys(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Dotted keys of the values, and of the tables that hold them."""
    for key, value in values.items():
        yield above + key
        if isinstance(value, Mapping):
            yield from _keys(value, f"{above}{key}.")
