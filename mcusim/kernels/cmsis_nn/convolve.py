"""CONV_2D as CMSIS-NN computes it: which function for which shape, and what it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mcusim.graph import DType, Node
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import (
    CaseCalls,
    Configuration,
    LibraryCase,
    LibraryKernel,
    profile_name,
)
from mcusim.kernels.cmsis_nn.convolve_arithmetic import Arithmetic, convolution
from mcusim.kernels.cmsis_nn.convolve_trips import (
    FunctionTrips,
    columns_of,
    convolve_1x1_trips,
    convolve_old_s8_trips,
    convolve_one_row_mve_trips,
    convolve_s8_trips,
    convolve_s16_trips,
)
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling, nt_t_s8_trips
from mcusim.kernels.cmsis_nn.one_row_mve import is_unknown, one_row, reads_wrongly
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.reference.conv import conv_shape
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape, output_scaling
from mcusim.kernels.reference.convolution_binding import bound_convolution

__all__ = [
    "CASES",
    "KERNELS",
    "Dispatch",
    "case_shape",
    "convolve_calls",
    "convolve_s16_calls",
    "dispatch",
]


_NO_BIAS_S16 = (
    "TFLM hands an int16 convolution without a bias to CMSIS-NN as one with an int32 bias: some "
    "outputs differ by one from the reference kernel's, as they do here"
)


@dataclass(frozen=True)
class Dispatch:
    """What a wrapper decides.

    Attributes:
        function: the library function.
        reason: why, in words.
        warnings: what a device does wrong there.
    """

    function: str
    reason: str
    warnings: tuple[str, ...] = ()


def dispatch(shape: ConvolutionShape, configuration: Configuration) -> Dispatch:
    """Which function ``arm_convolve_wrapper_s8`` calls.

    In 2020, when there was no wrapper, which one TFLM's glue calls.
    """
    if configuration.generation == "2026":
        return _dispatch_2026(shape, configuration.simd)
    return _dispatch_old(shape, configuration)


def _dispatch_2026(shape: ConvolutionShape, simd: Simd) -> Dispatch:
    rows, columns = shape.vertical, shape.horizontal
    is_one_group = shape.kernel_channels == shape.in_channels
    is_1x1 = (
        is_one_group
        and (rows.kernel, columns.kernel) == (1, 1)
        and (rows.padding, columns.padding) == (0, 0)
        and (rows.dilation, columns.dilation) == (1, 1)
    )
    if is_1x1 and (rows.stride, columns.stride) == (1, 1):
        return Dispatch(
            "arm_convolve_1x1_s8_fast", "1×1, stride 1, no padding: arm_convolve_1x1_s8_fast"
        )
    if is_1x1:
        return Dispatch(
            "arm_convolve_1x1_s8",
            f"1×1, stride {rows.stride}×{columns.stride}, no padding: arm_convolve_1x1_s8, "
            "a matrix product for each row",
        )
    is_row = (
        is_one_group
        and (rows.inputs, rows.kernel, columns.dilation) == (1, 1, 1)
        and columns.stride * shape.in_channels % 4 == 0
    )
    if is_row:
        return _one_row(shape, simd)
    return Dispatch("arm_convolve_s8", _why_general(shape, is_one_group))


def _one_row(shape: ConvolutionShape, simd: Simd) -> Dispatch:
    name = f"1×{shape.horizontal.kernel} on one row, steps of whole words: arm_convolve_1_x_n_s8"
    if simd != "mve":
        return Dispatch("arm_convolve_1_x_n_s8", f"{name}, which without MVE is arm_convolve_s8")
    if not reads_wrongly(shape):
        return Dispatch("arm_convolve_1_x_n_s8", name)
    if one_row(shape).refuses:
        wrong = "refuses this layer and computes nothing: its output is whatever memory held"
    elif is_unknown(shape):
        wrong = "computes other outputs than asked, some from memory beyond its tensors"
    else:
        wrong = "computes other outputs than asked, those given here"
    warning = (
        f"with MVE and a stride of {shape.horizontal.stride}, arm_convolve_1_x_n_s8 of this "
        f"version {wrong}"
    )
    return Dispatch("arm_convolve_1_x_n_s8", name, (warning,))


def _why_general(shape: ConvolutionShape, is_one_group: bool) -> str:
    rows, columns = shape.vertical, shape.horizontal
    size = f"{rows.kernel}×{columns.kernel}"
    if not is_one_group:
        why = f"{shape.in_channels // shape.kernel_channels} groups"
    elif (rows.kernel, columns.kernel) == (1, 1):
        why = "1×1 with padding or dilation"
    else:
        why = size
    return f"{why}: arm_convolve_s8, columns gathered and multiplied two pixels at a time"


def _dispatch_old(shape: ConvolutionShape, configuration: Configuration) -> Dispatch:
    rows, columns = shape.vertical, shape.horizontal
    is_2020 = configuration.generation in ("2020", "2020apr")
    is_1x1 = (
        (rows.kernel, columns.kernel, rows.stride, columns.stride) == (1, 1, 1, 1)
        and (rows.padding, columns.padding) == (0, 0)
        and shape.in_channels % 4 == 0
        and (configuration.generation != "2022" or (rows.dilation, columns.dilation) == (1, 1))
        and (not is_2020 or shape.out_channels % 2 == 0)
    )
    if is_1x1:
        return Dispatch(
            "arm_convolve_1x1_s8_fast",
            "1×1, stride 1, no padding, channels in fours: arm_convolve_1x1_s8_fast",
        )
    warnings: tuple[str, ...] = ()
    if configuration.generation != "2022" and (rows.dilation, columns.dilation) != (1, 1):
        warnings = ("the library of this year ignores dilation: a device computes other outputs",)
    if is_2020 and shape.batches > 2:
        warnings += ("arm_convolve_s8 of 2020 reads beyond its tensors from the third batch on",)
    is_row = (
        not is_2020
        and (rows.inputs, rows.outputs, rows.kernel, shape.batches) == (1, 1, 1, 1)
        and columns.outputs % 4 == 0
        and (configuration.generation != "2022" or columns.dilation == 1)
    )
    if is_row:
        return Dispatch(
            "arm_convolve_1_x_n_s8",
            f"1×{columns.kernel} on one row: arm_convolve_1_x_n_s8, which is arm_convolve_s8",
            warnings,
        )
    return Dispatch("arm_convolve_s8", _why_general(shape, True), warnings)


def convolve_calls(
    shape: ConvolutionShape, configuration: Configuration, scaling: Scaling, wrapper: bool = True
) -> tuple[KernelCall, ...]:
    """The functions that a convolution of int8 by int8 runs, the chosen one first.

    Args:
        shape: of the convolution.
        configuration: of the library.
        scaling: of the outputs.
        wrapper: whether ``arm_convolve_wrapper_s8`` decides.
    """
    chosen = dispatch(shape, configuration)
    return _calls_of(shape, configuration, scaling, chosen, wrapper)


def _calls_of(
    shape: ConvolutionShape,
    configuration: Configuration,
    scaling: Scaling,
    chosen: Dispatch,
    wrapper: bool,
) -> tuple[KernelCall, ...]:
    simd = configuration.simd
    functions: tuple[FunctionTrips, ...]
    around: tuple[FunctionTrips, ...] = ()
    if wrapper:
        around = (("arm_convolve_wrapper_s8", _wrapper_trips(chosen)),)
    if configuration.generation != "2026":
        if chosen.function == "arm_convolve_1x1_s8_fast":
            pixels = shape.pixels
            functions = (
                ("arm_convolve_1x1_s8_fast", {"call": 1.0}),
                (
                    "arm_nn_mat_mult_nt_t_s8",
                    nt_t_s8_trips(
                        [(1, pixels)],
                        shape.out_channels,
                        shape.in_channels,
                        "dsp",
                        scaling,
                        quads=False,
                    ),
                ),
            )
        else:
            functions = convolve_old_s8_trips(shape, scaling)
    elif chosen.function in ("arm_convolve_1x1_s8_fast", "arm_convolve_1x1_s8"):
        functions = convolve_1x1_trips(shape, simd, scaling)
    elif chosen.function == "arm_convolve_1_x_n_s8" and simd == "mve":
        functions = convolve_one_row_mve_trips(shape, scaling)
    else:
        functions = convolve_s8_trips(shape, simd, scaling)
    if chosen.function == "arm_convolve_1_x_n_s8" and simd != "mve":
        around += (("arm_convolve_1_x_n_s8", {"call": 1.0}),)
    macs = shape.pixels * columns_of(shape) * shape.out_channels
    calls = [
        KernelCall(function, profile_name(function, configuration), trips)
        for function, trips in (*functions, *around)
    ]
    calls[0] = KernelCall(
        calls[0].kernel, calls[0].profile, calls[0].trips, macs, chosen.reason, chosen.warnings
    )
    return tuple(calls)


def _wrapper_trips(chosen: Dispatch) -> dict[str, float]:
    """One call, which ends in one of four ways."""
    ways = {
        "fast": "arm_convolve_1x1_s8_fast",
        "strided": "arm_convolve_1x1_s8",
        "row": "arm_convolve_1_x_n_s8",
        "general": "arm_convolve_s8",
    }
    return {way: float(chosen.function == function) for way, function in ways.items()}


def case_shape(params: Mapping[str, Any]) -> ConvolutionShape:
    """Shape of a recorded call."""
    batches, in_h, in_w, channels = params["in_dims"]
    filters, kernel_h, kernel_w, depth = params["f_dims"]
    _, out_h, out_w, _ = params["out_dims"]
    vertical, horizontal = (
        Axis(inputs, outputs, kernel, params["stride"][i], params["dil"][i], params["pad"][i])
        for i, (inputs, outputs, kernel) in enumerate(
            ((in_h, out_h, kernel_h), (in_w, out_w, kernel_w))
        )
    )
    return ConvolutionShape(batches, vertical, horizontal, channels, depth, filters)


def _case_scaling(case: LibraryCase) -> Scaling:
    return Scaling.of_shifts(case.has_bias, case.arrays.get("shift"))


def _case_s8(case: LibraryCase, configuration: Configuration) -> tuple[KernelCall, ...]:
    shape, scaling = case_shape(case.params), _case_scaling(case)
    if case.entry in ("arm_convolve_s8", "arm_convolve_1x1_s8_fast"):
        chosen = Dispatch(case.entry, "called directly")
        return _calls_of(shape, configuration, scaling, chosen, wrapper=False)
    return convolve_calls(shape, configuration, scaling)


def _case_s16(case: LibraryCase, configuration: Configuration) -> tuple[KernelCall, ...]:
    return convolve_s16_calls(
        case_shape(case.params), configuration, _case_scaling(case), wide=True
    )


def convolve_s16_calls(
    shape: ConvolutionShape, configuration: Configuration, scaling: Scaling, wide: bool
) -> tuple[KernelCall, ...]:
    """The functions that a convolution of int16 by int8 runs.

    Args:
        shape: of the convolution.
        configuration: of the library.
        scaling: of the outputs.
        wide: whether sums are taken to 64 bits, as with an int64 bias.
    """
    functions = convolve_s16_trips(shape, configuration.simd, scaling, wide)
    macs = shape.pixels * shape.taps * shape.in_channels * shape.out_channels
    first, *others = (
        KernelCall(function, profile_name(function, configuration), trips)
        for function, trips in (*functions, ("arm_convolve_wrapper_s16", {"call": 1.0}))
    )
    return (
        KernelCall(
            first.kernel,
            first.profile,
            first.trips,
            macs,
            "int16: arm_convolve_s16, columns gathered and multiplied two pixels at a time",
        ),
        *others,
    )


def _accepts(node: Node, configuration: Configuration) -> bool:
    dtype = node.input(0).dtype
    if configuration.generation != "2026":
        return dtype is DType.INT8 and configuration.simd == "dsp"
    return dtype in (DType.INT8, DType.INT16)


def _bind(node: Node, configuration: Configuration) -> BoundKernel:
    shape = conv_shape(node)
    source, bias = node.input(0), node.optional_input(2)
    parameters = output_scaling(node, source, node.input(1), shape.out_channels)
    if configuration.generation in ("2020", "2020apr"):
        # The glue of that day clamps to the whole type whatever activation is fused.
        parameters = replace(parameters, low=-128, high=127)
    # Without a bias the glue calls the library as with one of 32 bits.
    is_wide = bias is not None and bias.dtype is DType.INT64
    arithmetic = Arithmetic(is_wide, source.dtype is DType.INT16)
    prepare = convolution(shape, parameters, arithmetic, configuration)
    return bound_convolution(node, (0, 1, 2), prepare)


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    shape = conv_shape(node)
    bias = node.optional_input(2)
    scaling = Scaling.of_layer(bias is not None, node.input(0), node.input(1), node.output())
    dtype = node.input(0).dtype
    if dtype is DType.INT8:
        wrapper = configuration.generation not in ("2020", "2020apr")
        calls = convolve_calls(shape, configuration, scaling, wrapper)
        if node.input(1).dtype is DType.INT4:
            calls = _with_int4(shape, calls)
    else:
        wide = bias is not None and bias.dtype is DType.INT64
        calls = convolve_s16_calls(shape, configuration, scaling, wide)
        if bias is None:
            calls = (replace(calls[0], warnings=(_NO_BIAS_S16,)), *calls[1:])
    glue_trips = {"call": 1.0}
    if configuration.generation in ("2020", "2020apr"):
        glue_trips["channel"] = float(shape.out_channels)
    glue = KernelCall(
        "ConvEval", profile_name(f"glue_conv_2d_{dtype.value}", configuration), glue_trips
    )
    return (*calls, glue)


def _with_int4(shape: ConvolutionShape, calls: tuple[KernelCall, ...]) -> tuple[KernelCall, ...]:
    """The functions for packed int4 weights, which nobody counted, at the price of those of int8.

    Source: ``arm_convolve_wrapper_s4``, which dispatches as the one for int8 does, but for columns
    of an even length.
    """
    first = calls[0]
    function = first.kernel.replace("_s8", "_s4")
    if function == "arm_convolve_s4" and columns_of(shape) % 2 == 0:
        function = "arm_convolve_even_s4"
    named = replace(
        first,
        kernel=function,
        reason=f"{first.reason.split(':')[0]}, int4 weights: {function}",
        warnings=(
            *first.warnings,
            f"{function} was not counted: it is priced as {first.kernel}, without the unpacking "
            "of its weights",
        ),
    )
    return (named, *calls[1:])


KERNELS: tuple[LibraryKernel, ...] = (LibraryKernel("CONV_2D", _accepts, _bind, _calls),)

CASES: Mapping[str, CaseCalls] = {"conv_s8": _case_s8, "conv_s16": _case_s16}
