"""SOFTMAX as CMSIS-NN computes it, and the glue in TFLM that calls it."""

from __future__ import annotations

from math import prod

from mcusim.graph import Array, DType, Node
from mcusim.kernels.cmsis_nn.contract import (
    CaseCalls,
    Configuration,
    LibraryCase,
    LibraryKernel,
    profile_name,
)
from mcusim.kernels.cmsis_nn.softmax_trips import SoftmaxRows, softmax_s8_trips, softmax_s16_trips
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.fixed_point import quantize_multiplier
from mcusim.kernels.reference.softmax import prepare_softmax
from mcusim.kernels.reference.softmax_scaling import InputScaling

__all__ = ["CASES", "KERNELS"]

_DATA_DECIDES = (
    "the data decides how many inputs of a row are near enough to the largest for an exponential; "
    "the count is for inputs that are all as likely"
)


def _int8_calls(
    softmax: SoftmaxRows,
    x: Array | None,
    configuration: Configuration,
    function: str = "arm_softmax_s8",
) -> tuple[KernelCall, ...]:
    """The function and the one that holds its loops, which were one before 2022."""
    generation = configuration.generation
    loops = function if generation in ("2020", "2020apr", "2021") else "arm_nn_softmax_common_s8"
    wraps = generation == "2020"
    warnings: tuple[str, ...] = ()
    if x is None and -softmax.least_difference < 255:
        warnings = (_DATA_DECIDES,)
    call = KernelCall(
        loops,
        profile_name(loops, configuration),
        softmax_s8_trips(softmax, x, wraps),
        reason=f"int8: {function}, two exponentials for each input",
        warnings=warnings,
    )
    if loops == function:
        return (call,)
    return (call, KernelCall(function, profile_name(function, configuration), {"call": 1}))


def _case_int8(case: LibraryCase, configuration: Configuration) -> tuple[KernelCall, ...]:
    params = case.params
    least = params["diff_min"]
    softmax = SoftmaxRows(
        params["rows"],
        params["cols"],
        params["mult"],
        params["shift"],
        max(least, -128) if configuration.generation == "2020" else least,
    )
    return _int8_calls(softmax, case.arrays.get("x"), configuration)


CASES: dict[str, CaseCalls] = {"softmax_s8": _case_int8}


def _accepts(node: Node, configuration: Configuration) -> bool:
    """TFLM of 2020 does not call the library's softmax."""
    dtype, generation = node.input(0).dtype, configuration.generation
    if generation == "2026":
        return dtype in (DType.INT8, DType.INT16)
    narrow = dtype is DType.INT8 and node.output().dtype is DType.INT8
    return generation in ("2021", "2022") and narrow and configuration.simd == "dsp"


def _bind(node: Node, configuration: Configuration) -> BoundKernel:
    """The reference kernel's bits, but for int16 that is not clamped.

    A row of which one element has all the probability is 32768 there, which wraps to -32768.
    """
    return prepare_softmax(node, configuration.single_rounding, saturates=False)()


def _int16_scaling(node: Node) -> tuple[int, int]:
    """How differences become steps of the table of exponentials, which reaches over ten."""
    real = node.input(0).scale * node.options.real("beta") / (10.0 / 65535.0)
    return quantize_multiplier(real)


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    source = node.input(0)
    rows, depth = prod(source.shape[:-1]), source.shape[-1]
    glue = KernelCall("SoftmaxEval", profile_name("glue_softmax", configuration), {"call": 1})
    if source.dtype is DType.INT16:
        name = "arm_softmax_s16"
        call = KernelCall(
            name,
            profile_name(name, configuration),
            softmax_s16_trips(rows, depth, _int16_scaling(node), source.data),
            reason=f"int16: {name}, exponentials from a table",
        )
        return (call, glue)
    scaling = InputScaling.of(source.scale, node.options.real("beta"))
    softmax = SoftmaxRows(
        rows, depth, scaling.multiplier, scaling.left_shift, scaling.least_difference
    )
    ending = "s8" if node.output().dtype is DType.INT8 else "s8_s16"
    calls = _int8_calls(softmax, source.data, configuration, f"arm_softmax_{ending}")
    return (*calls, glue)


KERNELS: tuple[LibraryKernel, ...] = (LibraryKernel("SOFTMAX", _accepts, _bind, _calls),)
