"""What every CMSIS-NN kernel offers: as the reference kernels do, for a library built many ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mcusim.graph import Node
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.contract import BoundKernel, KernelCall

__all__ = ["Configuration", "Generation", "LibraryKernel"]

#: Year of the library: 2020 is what TensorFlow 2.2.0 vendors, 2021 CMSIS 5.8.0, 2022 CMSIS 5.9.0,
#: 2026 CMSIS-NN 4ab83cc.
Generation: TypeAlias = Literal["2020", "2021", "2022", "2026"]


@dataclass(frozen=True)
class Configuration:
    """How the library was built, as far as bits, dispatch or loops depend on it.

    Attributes:
        simd: SIMD instructions of the core.
        generation: year of the library and of the glue in TFLM around it.
        single_rounding: built with ``CMSIS_NN_USE_SINGLE_ROUNDING``.
    """

    simd: Simd = "dsp"
    generation: Generation = "2026"
    single_rounding: bool = False


@dataclass(frozen=True)
class LibraryKernel:
    """One operator as TFLM runs it with CMSIS-NN.

    Attributes:
        operator: the schema's name.
        accepts: whether TFLM's glue calls the library for this node; if not, it runs its own
            reference kernel.
        bind: prepares the node, returns what runs it with the library's bits.
        calls: the library functions that run, dispatch explained in ``reason``, and the glue
            around them; touches no data, allocates nothing.
    """

    operator: str
    accepts: Callable[[Node, Configuration], bool]
    bind: Callable[[Node, Configuration], BoundKernel]
    calls: Callable[[Node, Configuration], tuple[KernelCall, ...]]
