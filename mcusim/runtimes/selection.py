"""Which library runs a layer: CMSIS-NN of a generation, or TFLM's reference kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from mcusim.errors import InputError
from mcusim.graph import DType, Node
from mcusim.kernels.cmsis_nn import KERNELS as CMSIS_NN_KERNELS
from mcusim.kernels.cmsis_nn.contract import SIMD_OF_CORE, Configuration, Generation
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.dnnruntime import NAME as DNNRUNTIME
from mcusim.kernels.dnnruntime import library as dnnruntime_library
from mcusim.kernels.library import KernelLibrary
from mcusim.kernels.profile import load_profile
from mcusim.kernels.reference import KERNELS as REFERENCE_KERNELS
from mcusim.kernels.tflm_ncs import LIBRARY as TFLM_NCS_LIBRARY
from mcusim.kernels.tflm_ncs import NAME as TFLM_NCS
from mcusim.kernels.utensor import LIBRARY as UTENSOR_LIBRARY
from mcusim.kernels.utensor import NAME as UTENSOR
from mcusim.runtimes import legacy_q7, tflm_2020
from mcusim.runtimes.closed import closed_names, closed_runtime

__all__ = [
    "RUNTIMES",
    "Runtime",
    "canonical_runtime",
    "known_runtimes",
    "library_configuration",
    "select",
]

#: Runtimes that compute a model, without their generations.
RUNTIMES: tuple[str, ...] = ("tflm", "cmsis-nn", UTENSOR, DNNRUNTIME)

#: Generations of each runtime, the newest first.
_GENERATIONS: Mapping[str, tuple[Generation, ...]] = {
    "tflm": ("2026", "2020"),
    "cmsis-nn": ("2026", "2022", "2021", "2020"),
}

#: Runtimes with kernels of their own, of which one generation is known.
_LIBRARIES: Mapping[str, Callable[[Configuration], KernelLibrary]] = {
    TFLM_NCS: lambda configuration: TFLM_NCS_LIBRARY,
    UTENSOR: lambda configuration: UTENSOR_LIBRARY,
    DNNRUNTIME: lambda configuration: dnnruntime_library(configuration.simd != "none"),
}


@dataclass(frozen=True)
class Runtime:
    """A runtime as built for a core.

    Attributes:
        base: one of :data:`RUNTIMES`.
        configuration: how the library is built; its generation is TFLM's, too.
        library: what it runs where that is neither TFLM's nor CMSIS-NN's.
    """

    base: str
    configuration: Configuration
    library: KernelLibrary | None = None

    @property
    def name(self) -> str:
        """Canonical name: the generation stands in it unless it is the newest."""
        generation = self.configuration.generation
        return self.base if generation == "2026" else f"{self.base}@{generation}"

    @property
    def has_cmsis_nn(self) -> bool:
        """Whether TFLM is built with the kernels of CMSIS-NN."""
        return self.base == "cmsis-nn"

    def supports(self, operator: str) -> bool:
        """Whether mcusim has a kernel of the operator."""
        if self.library is not None:
            return self.library.supports(operator)
        return operator in REFERENCE_KERNELS

    def check(self, node: Node) -> None:
        """Raise what :meth:`bind` and :meth:`calls` raise.

        Prepare of TFLM's kernels around CMSIS-NN makes the checks of its reference kernels.

        Raises:
            UnsupportedOperatorError: the runtime refuses the node.
            ModelError: the node makes no sense.
        """
        if self.library is not None:
            self.library.check(node)
            return
        if self._is_2020:
            tflm_2020.check(node)
        REFERENCE_KERNELS[node.name].check(node)

    def bind(self, node: Node) -> BoundKernel:
        """Prepare a node with the kernel that the runtime chooses.

        Raises:
            UnsupportedOperatorError: the runtime refuses the node.
            ModelError: the node makes no sense.
        """
        if self.library is not None:
            return self.library.bind(node)
        self.check(node)
        kernel = CMSIS_NN_KERNELS.get(node.name) if self.has_cmsis_nn else None
        if kernel is not None and kernel.accepts(node, self.configuration):
            return kernel.bind(node, self.configuration)
        return REFERENCE_KERNELS[node.name].bind(node)

    def overwritten(self, node: Node) -> BoundKernel | None:
        """What computes what a node's first input holds afterwards, for kernels that overwrite it.

        Other layers that read it read that; None where the kernel leaves its input alone.
        """
        kernel = CMSIS_NN_KERNELS.get(node.name) if self.has_cmsis_nn else None
        if kernel is None or not kernel.accepts(node, self.configuration):
            return None
        return kernel.overwritten(node, self.configuration)

    def calls(self, node: Node) -> Iterator[KernelCall]:
        """The functions that run for a node, the one that was chosen first, with its reason.

        Raises:
            UnsupportedOperatorError: the runtime refuses the node.
            ModelError: the node makes no sense.
        """
        if self.library is not None:
            yield from self.library.calls(node)
            return
        self.check(node)
        if not self.has_cmsis_nn:
            call = REFERENCE_KERNELS[node.name].count(node)
            yield tflm_2020.reference_call(node, call) if self._is_2020 else call
            return
        kernel = CMSIS_NN_KERNELS.get(node.name)
        if kernel is not None and kernel.accepts(node, self.configuration):
            yield from kernel.calls(node, self.configuration)
        else:
            yield self._reference_call(node)

    def _reference_call(self, node: Node) -> KernelCall:
        """The reference kernel in a build with CMSIS-NN, and why it runs."""
        call = REFERENCE_KERNELS[node.name].count(node)
        if self._is_2020:
            call = tflm_2020.reference_call(node, call)
        elif self.configuration.generation != "2026":
            call = replace(
                call,
                warnings=(
                    *call.warnings,
                    f"TFLM of {self.configuration.generation} was not counted: its reference "
                    "kernel is priced as that of 2026",
                ),
            )
        elif node.name in CMSIS_NN_KERNELS:
            call = _compiled_beside(call)
        return replace(call, reason=f"{self._why_not(node)}: TFLM's reference kernel")

    def _why_not(self, node: Node) -> str:
        """Why CMSIS-NN does not run a layer."""
        if node.name not in CMSIS_NN_KERNELS:
            return "CMSIS-NN has no kernel for it"
        tensors = [t for t in (*node.inputs, *node.outputs) if t is not None and not t.is_constant]
        if tensors and tensors[0].dtype not in (DType.INT8, DType.INT16):
            return f"CMSIS-NN has no {tensors[0].dtype.value} kernel for it"
        if self.configuration.generation == "2026":
            return "CMSIS-NN does not take these shapes or types"
        if self.configuration.simd == "none":
            return "TFLM of 2020 calls CMSIS-NN only on cores with DSP instructions"
        return f"TFLM of {self.configuration.generation} does not call CMSIS-NN for it"

    @property
    def _is_2020(self) -> bool:
        return self.configuration.generation == "2020"


def select(name: str, core: str = "m4", single_rounding: bool = False) -> Runtime:
    """Find a runtime by name.

    Args:
        name: ``"tflm"`` or ``"cmsis-nn"``, which mean the newest generation, or with it:
            ``"tflm@2026"``, ``"cmsis-nn@2020"``; ``"utensor"`` or ``"dnnruntime"``.
        core: the device's core: ``"m0plus"``, ``"m3"``, ``"m4"``, ``"m7"``, ``"m33"``, ``"m55"``
            or ``"m85"``, with or without ``"-soft"``. The SIMD instructions that CMSIS-NN uses
            depend on it.
        single_rounding: CMSIS-NN is built with ``CMSIS_NN_USE_SINGLE_ROUNDING``.

    Raises:
        InputError: there is no such runtime, generation or core, it has no single rounding, or
            nothing is known of an older library on that core.
    """
    if name == legacy_q7.RUNTIME:
        raise InputError(
            f"runtime {name!r} is priced only: its tensors are scaled by powers of two, so that it "
            "does not compute what the model does"
        )
    if closed := closed_runtime(name, core):
        raise InputError(
            f"runtime {closed.name!r} is priced only: its kernels are not published, so that its "
            "outputs are not known"
        )
    if name in _LIBRARIES:
        if single_rounding:
            raise InputError(f"runtime {name!r} has no build that rounds once")
        own = library_configuration(core)
        return Runtime(name, own, _LIBRARIES[name](own))
    base, at, generation = name.partition("@")
    known = _GENERATIONS.get(base, ())
    if not known or (at and generation not in known):
        raise InputError(f"runtime {name!r} is not known; there are {', '.join(known_runtimes())}")
    year = next(g for g in known if generation in ("", g))
    if single_rounding and (base != "cmsis-nn" or year in ("2020", "2021")):
        raise InputError(f"runtime {name!r} has no build that rounds once")
    configuration = library_configuration(core, year, single_rounding)
    # Without DSP instructions the TFLM of 2020 runs its own kernels.
    is_known = year == "2026" or (year, configuration.simd) == ("2020", "none")
    if configuration.simd != "dsp" and not is_known:
        raise InputError(
            f"runtime {name!r} is known only for cores with DSP instructions (m4, m7, m33), "
            f"not for {core}"
        )
    return Runtime(base, configuration)


def known_runtimes() -> tuple[str, ...]:
    """Every runtime with its generation, those that are only priced last."""
    generations = (f"{base}@{year}" for base, years in _GENERATIONS.items() for year in years)
    return (*generations, *_LIBRARIES, legacy_q7.RUNTIME, *closed_names())


def canonical_runtime(name: str) -> str:
    """The runtime's canonical name: ``"cmsis-nn@2026"`` is ``"cmsis-nn"``.

    Raises:
        InputError: there is no such runtime or generation.
    """
    return select(name).name


def library_configuration(
    core: str, generation: Generation = "2026", single_rounding: bool = False
) -> Configuration:
    """How CMSIS-NN is built for a core; M33 with the DSP extension.

    Raises:
        InputError: there is no such core.
    """
    simd = {"m0": SIMD_OF_CORE["m0plus"], **SIMD_OF_CORE}.get(core.removesuffix("-soft"))
    if simd is None:
        known = ", ".join(("m0", *SIMD_OF_CORE))
        raise InputError(f"core {core!r} is not known; there are {known}")
    return Configuration(simd, generation, single_rounding)


def _compiled_beside(call: KernelCall) -> KernelCall:
    """The reference kernel as the compiler lays it out in the file of the glue, where counted."""
    beside = call.profile.replace("reference/", "cmsis_nn/reference_")
    return call if load_profile(beside) is None else replace(call, profile=beside)
