"""What every CMSIS-NN kernel offers: as the reference kernels do, for a library built many ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from mcusim.graph import Array, Node
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.contract import BoundKernel, KernelCall

__all__ = [
    "SIMD_OF_CORE",
    "CaseCalls",
    "Configuration",
    "Generation",
    "LibraryCase",
    "LibraryKernel",
    "profile_name",
]

#: Year of the library: 2020 is what TensorFlow 2.2.0 vendors (February), 2020apr CMSIS 5.7.0, 2021
#: CMSIS 5.8.0, 2022 CMSIS 5.9.0, 2026 CMSIS-NN 4ab83cc.
Generation: TypeAlias = Literal["2020", "2020apr", "2021", "2022", "2026"]

#: SIMD instructions that CMSIS-NN uses on a core.
SIMD_OF_CORE: Mapping[str, Simd] = {
    "m0plus": "none",
    "m3": "none",
    "m4": "dsp",
    "m7": "dsp",
    "m33": "dsp",
    "m55": "mve",
    "m85": "mve",
}


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


def profile_name(function: str, configuration: Configuration) -> str:
    """Profile of a library function: ``"cmsis_nn/arm_convolve_s8"``, ``"cmsis_nn@2020/…"``."""
    generation = configuration.generation
    folder = "cmsis_nn" if generation == "2026" else f"cmsis_nn@{generation}"
    return f"{folder}/{function}"


def _keeps_inputs(node: Node, configuration: Configuration) -> BoundKernel | None:
    return None


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
        overwritten: for a kernel that works in place, what computes from its inputs what the first
            of them holds afterwards, which other layers that read it see; None where it stays.
    """

    operator: str
    accepts: Callable[[Node, Configuration], bool]
    bind: Callable[[Node, Configuration], BoundKernel]
    calls: Callable[[Node, Configuration], tuple[KernelCall, ...]]
    overwritten: Callable[[Node, Configuration], BoundKernel | None] = _keeps_inputs


@dataclass(frozen=True, eq=False)
class LibraryCase:
    """One call of a library function outside TFLM, as it was counted and recorded.

    Attributes:
        id: name of the case.
        op: kind of call, such as ``"conv_s8"``.
        params: arguments: ``in_dims``, ``f_dims`` and ``out_dims`` are [n, h, w, c], pairs [h, w].
        has_bias: whether it is given a bias.
        entry: the function called; empty for the newest library's, which is the wrapper.
        arrays: tensors by name, ``x``, ``w``, ``mult``, ``shift``, ``y`` and so on, where they were
            recorded; for kernels whose loops depend on data.
    """

    id: str
    op: str
    params: Mapping[str, Any]
    has_bias: bool = True
    entry: str = ""
    arrays: Mapping[str, Array] = field(default_factory=dict)


#: The library functions that one case runs, as ``LibraryKernel.calls`` names them for a layer, but
#: without the glue; empty where the library does not run the case. A family module exports
#: ``CASES: Mapping[str, CaseCalls]`` by kind of case, and takes ``arrays`` into account only where
#: they are there.
CaseCalls: TypeAlias = Callable[[LibraryCase, Configuration], tuple[KernelCall, ...]]
