"""Compiled firmware, executed: images, the machine that runs them, and what their blocks cost.

Nothing of it is imported before it is used: Unicorn takes longer to load than an estimate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcusim.emulator.arguments import Pointer, Struct
    from mcusim.emulator.firmware import power_on
    from mcusim.emulator.images import load_image
    from mcusim.emulator.machine import Machine

__all__ = ["Machine", "Pointer", "Struct", "load_image", "power_on"]

_HOME = {
    "Machine": "machine",
    "Pointer": "arguments",
    "Struct": "arguments",
    "load_image": "images",
    "power_on": "firmware",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
