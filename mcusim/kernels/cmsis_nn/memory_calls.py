"""Calls of memcpy that kernels of CMSIS-NN and the glue around them share a profile for."""

from __future__ import annotations

from collections.abc import Mapping

from mcusim.kernels.cmsis_nn.column_trips import copy_trips
from mcusim.kernels.cmsis_nn.contract import Configuration, profile_name
from mcusim.kernels.contract import KernelCall

__all__ = ["copies_call"]


def copies_call(
    copies: Mapping[tuple[int, int, int], int],
    configuration: Configuration,
    *,
    accesses: float = 0,
    structures: int = 0,
) -> KernelCall:
    """memcpy as a kernel of its own.

    Args:
        copies: how often so many bytes are copied from and to an address (both modulo four).
        configuration: of the library.
        accesses: words that the code reads and writes through memcpy, a call each where words must
            be aligned (ARMv6-M), a single instruction elsewhere.
        structures: structures copied, a call each on ARMv6-M only.
    """
    trips = copy_trips(copies) | {"copy.access": accesses, "copy.structure": structures}
    return KernelCall("memcpy", profile_name("memcpy", configuration), trips)
