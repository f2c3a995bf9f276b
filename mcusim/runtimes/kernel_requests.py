"""What a kernel may ask for while a model is prepared, and what that depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from mcusim.graph import Node
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.runtimes.abi import Abi

__all__ = ["Prepare", "Request", "Target", "per_channel", "scratch"]


@dataclass(frozen=True)
class Target:
    """What a kernel's memory depends on beside the model.

    Attributes:
        abi: sizes of structures.
        cmsis_nn: whether TFLM was built with the CMSIS-NN kernels.
        simd: the core's SIMD instructions, as CMSIS-NN sees them.
    """

    abi: Abi
    cmsis_nn: bool = False
    simd: Simd = "dsp"


@dataclass(frozen=True)
class Request:
    """Memory that a kernel asks for in ``Prepare``.

    Attributes:
        purpose: what it is for, in words.
        bytes: how much, before alignment.
        is_scratch: planned in the head, live only while the operator runs; else kept in the tail.
    """

    purpose: str
    bytes: int
    is_scratch: bool = False


#: ``Prepare`` of a kernel, reduced to the memory that it asks for, in order.
Prepare: TypeAlias = Callable[[Node, Target], Iterator[Request]]


def scratch(purpose: str, size: int) -> Request:
    """A scratch buffer: ``RequestScratchBufferInArena``."""
    return Request(purpose, size, is_scratch=True)


def per_channel(channels: int) -> Iterator[Request]:
    """A fixed-point multiplier for each output channel."""
    yield Request("per-channel multipliers", 4 * channels)
    yield Request("per-channel shifts", 4 * channels)
