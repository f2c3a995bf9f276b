"""What every kernel offers: results, and the trip counts that price it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from mcusim.graph import Array, Node

__all__ = ["BoundKernel", "Kernel", "KernelCall", "Trips"]

#: How often each loop level of a kernel runs, by level; a fraction is a mean over data.
Trips: TypeAlias = Mapping[str, float]

#: An operator prepared for one node. Every array, in and out, has one extra leading axis: the
#: independent inferences of a batch. A constant input arrives with a leading axis of 1; an input
#: left out is None. Outputs are new arrays (or read-only views) of the outputs' dtypes.
BoundKernel: TypeAlias = Callable[[Sequence[Array | None]], Sequence[Array]]


@dataclass(frozen=True)
class KernelCall:
    """One kernel that a runtime executes for a layer.

    Attributes:
        kernel: the function's name in its library.
        profile: name of the profile that prices it, ``"<library>/<kernel>_<type>"``, the stem of a
            file in the top-level ``kernels/`` folder; empty when there is none.
        trips: how often each loop level of the profile runs.
        macs: multiply-accumulates, those on padding included.
        reason: why the runtime chose this kernel, in words.
        warnings: what a user must know, such as a defect of the library.
    """

    kernel: str
    profile: str
    trips: Trips = field(default_factory=dict)
    macs: int = 0
    reason: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kernel:
    """One operator as a library implements it.

    Attributes:
        operator: the schema's name.
        bind: the library's Prepare: checks the node as the library does, computes multipliers and
            repacks weights once, returns what runs it. Raises
            :class:`~mcusim.errors.UnsupportedOperatorError` where the library refuses the node.
        call: names the kernel and counts its loops; touches no data, allocates nothing.
    """

    operator: str
    bind: Callable[[Node], BoundKernel]
    call: Callable[[Node], KernelCall]
