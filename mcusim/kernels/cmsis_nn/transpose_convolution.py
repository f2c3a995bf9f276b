"""TRANSPOSE_CONV with CMSIS-NN: which function runs and why, and TFLM's glue around it.

TFLM of August 2026 brings CMSIS-NN 4ab83cc, of June 2026; library calls outside TFLM were recorded
with the library of July 2026, which puts right what ``arm_transpose_conv_s8`` did wrong before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mcusim.graph import Array, DType, Node
from mcusim.kernels.cmsis_nn.contract import (
    CaseCalls,
    Configuration,
    LibraryCase,
    LibraryKernel,
    profile_name,
)
from mcusim.kernels.cmsis_nn.convolve import Dispatch
from mcusim.kernels.cmsis_nn.convolve_trips import convolve_s8_trips
from mcusim.kernels.cmsis_nn.depthwise import shapes_copied
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling
from mcusim.kernels.cmsis_nn.memory_calls import copies_call
from mcusim.kernels.cmsis_nn.transpose_convolution_arithmetic import (
    is_exact,
    rows_written,
    transpose_conv_s8,
)
from mcusim.kernels.cmsis_nn.transpose_convolution_trips import (
    reversal_trips,
    transpose_conv_copies,
    transpose_conv_fills,
    transpose_conv_row_trips,
    transpose_conv_s8_trips,
    upscaled_gather_trips,
    upscaled_shape,
)
from mcusim.kernels.contract import BoundKernel, KernelCall, Trips
from mcusim.kernels.reference import KERNELS as REFERENCE
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape, output_scaling
from mcusim.kernels.reference.convolution_binding import ImageKernel, bound_convolution
from mcusim.kernels.reference.transpose_conv import transposed_shape

__all__ = ["CASES", "KERNELS", "case_shape", "transpose_dispatch"]

_WRAPPER = "arm_transpose_conv_wrapper_s8"
_DIRECT = "arm_transpose_conv_s8"
_ROW = "arm_nn_transpose_conv_row_s8_s32"
_REVERSED = "arm_convolve_s8"
#: Input channels beyond which the filter is turned around.
_EFFICIENT_ABOVE = 16
#: What profiles call ``arm_convolve_s8`` where it stretches its input: another loop.
_UPSCALED = "arm_convolve_s8_upscaled"
#: Whether the library that TFLM brings finishes the first rows one by one.
_TFLM_FLUSHES_PARTLY = False


def transpose_dispatch(shape: ConvolutionShape, flushes_partly: bool) -> Dispatch:
    """What ``arm_transpose_conv_wrapper_s8`` chooses, on every core alike.

    Args:
        shape: of the convolution that the transposed one turns around.
        flushes_partly: whether the library is of July 2026 or later.
    """
    strides = shape.vertical.stride, shape.horizontal.stride
    stride = f"{strides[0]}×{strides[1]}"
    if max(strides) > 2:
        return Dispatch(
            _DIRECT, f"stride {stride} over 2: {_DIRECT}", _defects(shape, flushes_partly)
        )
    if shape.in_channels <= _EFFICIENT_ABOVE:
        why = f"{shape.in_channels} input channels, not over {_EFFICIENT_ABOVE}"
        return Dispatch(_DIRECT, f"{why}: {_DIRECT}", _defects(shape, flushes_partly))
    why = f"stride {stride}, {shape.in_channels} input channels: the filter turned around"
    return Dispatch(_REVERSED, f"{why}, {_REVERSED}")


def _defects(shape: ConvolutionShape, flushes_partly: bool) -> tuple[str, ...]:
    rows, columns = shape.vertical, shape.horizontal
    found = []
    if not flushes_partly and rows.padding % rows.stride:
        missing = rows.inputs - rows_written(rows, flushes_partly)
        found.append(
            f"{_DIRECT} before July 2026 puts rows in wrong places where the padding above "
            f"({rows.padding}) is no multiple of the stride ({rows.stride}): outputs are far from "
            f"the reference's, and {missing} of {rows.inputs} rows are left as they were in memory"
        )
    elif rows_written(rows, flushes_partly) > rows.inputs:
        found.append(f"{_DIRECT} writes rows beyond the output")
    if columns.stride > max(columns.kernel, rows.stride):
        found.append(
            f"{_DIRECT} writes beyond its buffer, whose size is worked out from the vertical stride"
        )
    return tuple(found)


def _library_calls(
    shape: ConvolutionShape, scaling: Scaling, configuration: Configuration, flushes_partly: bool
) -> tuple[KernelCall, ...]:
    """What runs in the library, the chosen function first, the wrapper last."""
    chosen = transpose_dispatch(shape, flushes_partly)
    is_reversed = chosen.function == _REVERSED
    if is_reversed:
        calls = _reversed_calls(shape, scaling, configuration)
    else:
        calls = _direct_calls(shape, scaling, configuration, flushes_partly)
    first = replace(
        calls[0],
        macs=shape.pixels * shape.taps * shape.in_channels * shape.out_channels,
        reason=chosen.reason,
        warnings=chosen.warnings,
    )
    turned, copies = reversal_trips(shape)
    wrapper = {level: turns * is_reversed for level, turns in turned.items()}
    around = [_call(_WRAPPER, {"call": 1.0, **wrapper}, configuration)]
    if is_reversed and configuration.simd != "mve":
        around.append(copies_call(copies, configuration))
    return (first, *calls[1:], *around)


def _call(
    function: str, trips: Trips, configuration: Configuration, profile: str = ""
) -> KernelCall:
    return KernelCall(function, profile_name(profile or function, configuration), trips)


def _direct_calls(
    shape: ConvolutionShape, scaling: Scaling, configuration: Configuration, flushes_partly: bool
) -> tuple[KernelCall, ...]:
    simd = configuration.simd
    calls = (
        _call(
            _DIRECT, transpose_conv_s8_trips(shape, simd, scaling, flushes_partly), configuration
        ),
        _call(_ROW, transpose_conv_row_trips(shape, simd), configuration),
    )
    if simd == "mve":
        return calls
    if scaling.has_bias:
        copies = transpose_conv_copies(shape, flushes_partly)
        return (*calls, copies_call(copies, configuration))
    fills = transpose_conv_fills(shape, flushes_partly)
    return (*calls, _call("memset", fills, configuration))


def _reversed_calls(
    shape: ConvolutionShape, scaling: Scaling, configuration: Configuration
) -> tuple[KernelCall, ...]:
    wide = upscaled_shape(shape)
    simd = configuration.simd
    functions = convolve_s8_trips(wide, simd, scaling)
    if (shape.vertical.stride, shape.horizontal.stride) == (1, 1):
        return tuple(_call(function, trips, configuration) for function, trips in functions)
    (_, ordinary), *products = functions
    own, fills, copies = upscaled_gather_trips(shape)
    # What follows once a column is gathered is the ordinary convolution's.
    kept = {
        level: turns if level in ("pair", "product") or level.startswith("left") else 0.0
        for level, turns in ordinary.items()
    }
    if simd == "mve":
        column = wide.taps * wide.in_channels
        own |= {
            "fill_step": own["pixel"] * -(-column // 16),
            "copy_step": own["tap_inside"] * -(-wide.in_channels // 16),
        }
    calls = [_call(_REVERSED, own, configuration, _UPSCALED)]
    calls.append(_call(_REVERSED, kept, configuration))
    calls += [_call(function, trips, configuration) for function, trips in products]
    if simd != "mve":
        calls += [_call("memset", fills, configuration), copies_call(copies, configuration)]
    return tuple(calls)


def case_shape(case: LibraryCase) -> ConvolutionShape:
    """Shape of the convolution that a library call turns around."""
    params = case.params
    inputs, kernel, outputs = params["in_dims"], params["f_dims"], params["out_dims"]
    rows, columns = (
        Axis(outputs[1 + i], inputs[1 + i], kernel[1 + i], params["stride"][i], 1, params["pad"][i])
        for i in (0, 1)
    )
    return ConvolutionShape(inputs[0], rows, columns, inputs[3], inputs[3], outputs[3])


def _case(case: LibraryCase, configuration: Configuration) -> tuple[KernelCall, ...]:
    if configuration.generation != "2026":
        return ()
    scaling = Scaling.of_shifts(case.has_bias, case.arrays.get("shift"))
    return _library_calls(case_shape(case), scaling, configuration, flushes_partly=True)


def _accepts(node: Node, configuration: Configuration) -> bool:
    return configuration.generation == "2026" and node.input(2).dtype is DType.INT8


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    shape = transposed_shape(node)
    has_bias = node.optional_input(3) is not None
    scaling = Scaling.of_layer(has_bias, node.input(2), node.input(1), node.output())
    glue = _call("TransposeConvEval", {"call": 1.0}, configuration, "glue_transpose_conv_int8")
    copies = copies_call(shapes_copied(has_bias), configuration)
    return (*_library_calls(shape, scaling, configuration, _TFLM_FLUSHES_PARTLY), copies, glue)


def _bind(node: Node, configuration: Configuration) -> BoundKernel:
    shape = transposed_shape(node)
    chosen = transpose_dispatch(shape, _TFLM_FLUSHES_PARTLY)
    exact = chosen.function == _REVERSED or is_exact(shape.vertical, _TFLM_FLUSHES_PARTLY)
    if exact and not configuration.single_rounding:
        return REFERENCE[node.name].bind(node)
    scaling = output_scaling(node, node.input(2), node.input(1), shape.out_channels)

    def prepare(weights: Array, bias: Array | None) -> ImageKernel:
        def run(x: Array, out: Array) -> None:
            inferences = x.reshape(-1, shape.batches, *x.shape[1:])
            computed = transpose_conv_s8(
                inferences,
                weights,
                bias,
                shape,
                scaling,
                single_rounding=configuration.single_rounding,
                flushes_partly=exact,
            )
            out[:] = computed.reshape(out.shape)

        return run

    return bound_convolution(node, (2, 1, 3), prepare)


KERNELS: tuple[LibraryKernel, ...] = (LibraryKernel("TRANSPOSE_CONV", _accepts, _bind, _calls),)

CASES: Mapping[str, CaseCalls] = {"tconv_s8": _case}
