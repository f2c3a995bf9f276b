"""DEPTHWISE_CONV_2D with CMSIS-NN: which function runs and why, and TFLM's glue around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mcusim.graph import DType, Node
from mcusim.kernels.cmsis_nn import buffers
from mcusim.kernels.cmsis_nn.contract import (
    CaseCalls,
    Configuration,
    LibraryCase,
    LibraryKernel,
    profile_name,
)
from mcusim.kernels.cmsis_nn.convolve import Dispatch, convolve_calls
from mcusim.kernels.cmsis_nn.depthwise_arithmetic import depthwise_conv_s8
from mcusim.kernels.cmsis_nn.depthwise_trips import (
    CHANNELS_PER_BLOCK_MVE,
    depthwise_conv_3x3_s8_trips,
    depthwise_conv_s8_mult_4_trips,
    depthwise_conv_s8_opt_fills,
    depthwise_conv_s8_opt_mve_trips,
    depthwise_conv_s8_opt_trips,
    depthwise_conv_s8_trips,
    depthwise_conv_s16_trips,
    is_tiled,
    word_reads_3x3,
)
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling, widening_trips
from mcusim.kernels.cmsis_nn.memory_calls import copies_call
from mcusim.kernels.cmsis_nn.transposition import transpose_trips
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.fixed_point import activation_range_quantized
from mcusim.kernels.reference import KERNELS as REFERENCE
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape, output_scaling, paddings
from mcusim.kernels.reference.convolution_binding import bound_convolution
from mcusim.kernels.reference.depthwise_conv import depthwise_shape

__all__ = [
    "CASES",
    "KERNELS",
    "case_shape",
    "depthwise_dispatch",
    "depthwise_scratch_bytes",
    "shapes_copied",
]

_WRAPPER = "arm_depthwise_conv_wrapper_s8"
_SMALL = "arm_depthwise_conv_3x3_s8"
_OPT = "arm_depthwise_conv_s8_opt"
_BASIC = "arm_depthwise_conv_s8"
_TILED = "depthwise_conv_s8_mult_4"
_WIDE = "arm_depthwise_conv_s16"
_AS_CONVOLUTION = "arm_convolve_wrapper_s8"
#: Generations that do not know of dilation.
_UNDILATED = ("2020", "2020apr", "2021")


def depthwise_dispatch(
    shape: ConvolutionShape, configuration: Configuration, entry: str = ""
) -> Dispatch:
    """What ``arm_depthwise_conv_wrapper_s8`` chooses.

    Args:
        shape: of the convolution.
        configuration: of the library.
        entry: the function called instead, where there is no wrapper yet (2020): by TFLM's glue
            the one for one filter a channel wherever it can.
    """
    function, reason = _choice(shape, configuration)
    if configuration.generation in ("2020", "2020apr"):
        one_filter = shape.out_channels == shape.in_channels
        function, reason = (
            (_OPT, "one filter a channel")
            if one_filter
            else (_BASIC, f"{shape.out_channels // shape.in_channels} filters a channel")
        )
    if entry.startswith("arm_") and "wrapper" not in entry:
        function, reason = entry, "called directly"
    return Dispatch(function, f"{reason}: {function}")


def _choice(shape: ConvolutionShape, configuration: Configuration) -> tuple[str, str]:
    simd, generation = configuration.simd, configuration.generation
    rows, columns = shape.vertical, shape.horizontal
    multiplier = shape.out_channels // shape.in_channels
    if simd == "mve" and generation == "2026" and shape.in_channels == 1 and multiplier > 1:
        return _AS_CONVOLUTION, "one input channel with MVE: weights transposed at every call"
    undilated = generation in _UNDILATED or (rows.dilation, columns.dilation) == (1, 1)
    if multiplier == 1 and shape.batches == 1 and undilated:
        kernel = f"{rows.kernel}×{columns.kernel}"
        padded = rows.padding > 1 or (columns.padding > 1 and generation != "2021")
        if simd != "mve" and kernel == "3×3" and not padded:
            return _SMALL, "3×3, one filter a channel, padding of at most 1"
        why = "padding over 1" if padded and kernel == "3×3" else kernel
        return _OPT, f"one filter a channel, {why}"
    if is_tiled(shape):
        return _BASIC, f"{multiplier} filters a channel, four at a time"
    if shape.batches > 1:
        return _BASIC, f"{shape.batches} images, one output at a time"
    if not undilated:
        return _BASIC, f"dilation {rows.dilation}×{columns.dilation}, one output at a time"
    return _BASIC, f"{multiplier} filters a channel, not divisible by 4, one output at a time"


def depthwise_scratch_bytes(
    shape: ConvolutionShape, configuration: Configuration, entry: str = ""
) -> int:
    """Bytes of the buffer that the library asks for; arguments as of :func:`depthwise_dispatch`."""
    function = depthwise_dispatch(shape, configuration, entry).function
    if configuration.generation == "2026":
        return buffers.depthwise_wrapper_s8_bytes(buffer_shape(shape), configuration.simd)
    if configuration.generation in ("2020", "2020apr"):
        return 2 * shape.in_channels * shape.taps if function == _OPT else 0
    fits = function in (_SMALL, _OPT)  # The wrapper asks without looking at the kernel.
    return 2 * shape.in_channels * shape.taps if fits else 0


def buffer_shape(shape: ConvolutionShape) -> buffers.ConvolutionShape:
    """The shape as the library's size functions see it."""
    rows, columns = shape.vertical, shape.horizontal
    return buffers.ConvolutionShape(
        shape.batches,
        rows.inputs,
        columns.inputs,
        shape.in_channels,
        rows.kernel,
        columns.kernel,
        shape.kernel_channels,
        columns.outputs,
        shape.out_channels,
        rows.stride,
        columns.stride,
        rows.padding,
        columns.padding,
        rows.dilation,
        columns.dilation,
    )


def _library_calls(
    shape: ConvolutionShape, scaling: Scaling, configuration: Configuration, entry: str = ""
) -> tuple[KernelCall, ...]:
    """What runs in the library, the chosen function first, the wrapper last."""
    calls = _function_calls(shape, scaling, configuration, entry)
    if configuration.generation in ("2020", "2020apr"):
        return calls
    paths = {path: float(calls[0].kernel == path) for path in (_SMALL, _OPT, _BASIC)}
    return (
        *calls,
        KernelCall(_WRAPPER, profile_name(_WRAPPER, configuration), {"call": 1.0, **paths}),
    )


def _function_calls(
    shape: ConvolutionShape, scaling: Scaling, configuration: Configuration, entry: str
) -> tuple[KernelCall, ...]:
    dispatch = depthwise_dispatch(shape, configuration, entry)
    macs = shape.pixels * shape.taps * shape.out_channels
    simd = configuration.simd

    def call(function: str, trips: dict[str, float], reason: str = "") -> KernelCall:
        return KernelCall(function, profile_name(function, configuration), trips, reason=reason)

    def first(trips: dict[str, float], function: str = dispatch.function) -> KernelCall:
        return replace(call(function, trips, dispatch.reason), macs=macs)

    match dispatch.function:
        case "arm_depthwise_conv_3x3_s8":
            small = first(depthwise_conv_3x3_s8_trips(shape, scaling))
            if simd == "dsp" or shape.in_channels < 4:
                return (small,)
            return (small, copies_call({}, configuration, accesses=word_reads_3x3(shape)))
        case "arm_depthwise_conv_s8_opt" if simd == "dsp":
            inside = shape.vertical.inside * shape.horizontal.inside
            return (
                first(depthwise_conv_s8_opt_trips(shape, scaling)),
                call("arm_q7_to_q15_with_offset", widening_trips(inside, shape.in_channels, "dsp")),
                call("memset", depthwise_conv_s8_opt_fills(shape)),
            )
        case "arm_depthwise_conv_s8_opt" if simd == "mve":
            trips = depthwise_conv_s8_opt_mve_trips(shape)
            return (replace(first(trips), warnings=_beyond_the_bias(shape, scaling)),)
        case "arm_depthwise_conv_s8_opt":
            trips = depthwise_conv_s8_trips(shape, scaling, simd, through_opt=True)
            return (first(trips, _BASIC),)
        case "arm_convolve_wrapper_s8":
            chosen, *others = convolve_calls(shape, configuration, scaling)
            filters = (1, shape.vertical.kernel, shape.horizontal.kernel, shape.out_channels)
            turned = transpose_trips(filters, (3, 1, 2, 0), simd)
            return (
                replace(chosen, reason=f"{dispatch.reason}, {chosen.reason}"),
                *others,
                call("arm_transpose_s8", turned),
            )
    basic = first(depthwise_conv_s8_trips(shape, scaling, simd))
    if is_tiled(shape):
        return (basic, call(_TILED, depthwise_conv_s8_mult_4_trips(shape, scaling)))
    return (basic,)


def _beyond_the_bias(shape: ConvolutionShape, scaling: Scaling) -> tuple[str, ...]:
    if scaling.has_bias or shape.in_channels <= CHANNELS_PER_BLOCK_MVE:
        return ()
    return (
        f"without a bias the library adds what lies from address {4 * CHANNELS_PER_BLOCK_MVE} on "
        f"to the channels from {CHANNELS_PER_BLOCK_MVE} on",
    )


def case_shape(case: LibraryCase) -> ConvolutionShape:
    """Shape of a library call; filters are ``[channel][row][column][depth]``, or depthwise."""
    params = case.params
    inputs, kernel, outputs = params["in_dims"], params["f_dims"], params["out_dims"]
    rows, columns = (
        Axis(
            inputs[1 + i],
            outputs[1 + i],
            kernel[1 + i],
            params["stride"][i],
            params["dil"][i],
            params["pad"][i],
        )
        for i in (0, 1)
    )
    depth = 1 if "ch_mult" in params else kernel[3]
    return ConvolutionShape(inputs[0], rows, columns, inputs[3], depth, outputs[3])


def _case(case: LibraryCase, configuration: Configuration) -> tuple[KernelCall, ...]:
    shape = case_shape(case)
    return _library_calls(shape, Scaling.of_case(case, configuration), configuration, case.entry)


def _accepts(node: Node, configuration: Configuration) -> bool:
    kinds = node.input(0).dtype, node.input(1).dtype
    if configuration.generation == "2026":
        return kinds[0] in (DType.INT8, DType.INT16)
    if configuration.simd != "dsp" or kinds != (DType.INT8, DType.INT8):
        return False
    dilation = [node.options.integer(f"dilation_{axis}_factor", 1) for axis in "hw"]
    # TFLM of 2021 leaves dilation to its own kernel; that of 2020 does not look.
    return configuration.generation != "2021" or dilation == [1, 1]


def _node_shape(node: Node, configuration: Configuration) -> ConvolutionShape:
    shape = depthwise_shape(node)
    if configuration.generation not in _UNDILATED:
        return shape
    rows, columns = shape.vertical, shape.horizontal
    padding = paddings(
        node.options.text("padding", "SAME"),
        (rows.inputs, columns.inputs),
        (rows.kernel, columns.kernel),
        (rows.stride, columns.stride),
        (1, 1),
    )
    return replace(
        shape,
        vertical=replace(rows, dilation=1, padding=padding[0]),
        horizontal=replace(columns, dilation=1, padding=padding[1]),
    )


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    shape = _node_shape(node, configuration)
    source, weights = node.input(0), node.input(1)
    has_bias = node.optional_input(2) is not None
    scaling = Scaling.of_layer(has_bias, source, weights, node.output())
    if source.dtype is DType.INT16:
        calls: tuple[KernelCall, ...] = (_wide_call(shape, scaling, configuration),)
    elif weights.dtype is DType.INT4:
        calls = _int4_calls(shape, scaling, configuration)
    else:
        calls = _library_calls(shape, scaling, configuration)
    warnings = (*calls[0].warnings, *_warnings(node, shape, configuration))
    has_buffer = source.dtype is DType.INT8 and (depthwise_scratch_bytes(shape, configuration) > 0)
    own = replace(calls[0], warnings=warnings)
    glue = (
        _glue_of_2020(shape, configuration)
        if configuration.generation in ("2020", "2020apr")
        else (
            copies_call(shapes_copied(has_bias), configuration),
            KernelCall(
                "DepthwiseConvEval",
                profile_name(f"glue_depthwise_conv_2d_{source.dtype.value}", configuration),
                {"call": 1.0, "buffer": float(has_buffer)},
            ),
        )
    )
    return (own, *calls[1:], *glue)


def shapes_copied(has_bias: bool) -> dict[tuple[int, int, int], int]:
    """Copies that TFLM's glue makes: shapes of the input, the filter, the output and the bias."""
    return {(16, 0, 0): 3, (4, 0, 0): int(has_bias)}


def _glue_of_2020(shape: ConvolutionShape, configuration: Configuration) -> tuple[KernelCall, ...]:
    """In 2020 the glue works out a multiplier and shift for each channel at every call.

    It does so with the function that CONV_2D's glue calls, by which it is priced.
    """
    profile = profile_name("glue_depthwise_conv_2d_int8", configuration)
    channels = KernelCall(
        "PopulateConvolutionQuantizationParams",
        profile_name("glue_conv_2d_int8", configuration),
        {"call": 0.0, "channel": float(shape.out_channels)},
    )
    return (KernelCall("DepthwiseConvEval", profile, {"call": 1.0}), channels)


def _wide_call(
    shape: ConvolutionShape, scaling: Scaling, configuration: Configuration
) -> KernelCall:
    return KernelCall(
        _WIDE,
        profile_name(_WIDE, configuration),
        depthwise_conv_s16_trips(shape, scaling, configuration.simd),
        macs=shape.pixels * shape.taps * shape.out_channels,
        reason=f"int16, one output at a time on every core: {_WIDE}",
    )


def _int4_calls(
    shape: ConvolutionShape, scaling: Scaling, configuration: Configuration
) -> tuple[KernelCall, ...]:
    """``arm_depthwise_conv_wrapper_s4``, priced as the int8 functions with the most like loops."""
    is_opt = (
        shape.out_channels == shape.in_channels
        and shape.batches == 1
        and (shape.vertical.dilation, shape.horizontal.dilation) == (1, 1)
    )
    like, *others = _function_calls(shape, scaling, configuration, _OPT if is_opt else _BASIC)
    function = "arm_depthwise_conv_s4_opt" if is_opt else "arm_depthwise_conv_s4"
    warning = "int4 weights were not counted: this is the cost of int8 ones"
    return (
        replace(
            like,
            kernel=function,
            reason=f"int4 weights: {function}",
            warnings=(*like.warnings, warning),
        ),
        *others,
    )


def _warnings(node: Node, shape: ConvolutionShape, configuration: Configuration) -> tuple[str, ...]:
    found = []
    if configuration.generation in ("2020", "2020apr"):
        if shape.batches > 1:
            found.append("CMSIS-NN of 2020 computes the first image only")
        if node.optional_input(2) is None:
            found.append("CMSIS-NN of 2020 reads a bias that is left out from address 0")
    if configuration.generation in _UNDILATED:
        dilation = [node.options.integer(f"dilation_{axis}_factor", 1) for axis in "hw"]
        if dilation != [1, 1]:
            found.append(f"dilation is ignored in CMSIS-NN of {configuration.generation}")
        result = node.output()
        fused = node.options.text("fused_activation_function", "NONE")
        clamp = activation_range_quantized(fused, result.dtype, result.scale, result.zero_point)
        if clamp != (-128, 127):
            found.append(
                f"TFLM's glue of {configuration.generation} clamps to -128..127, where the "
                f"activation {fused} asks for {clamp[0]}..{clamp[1]}"
            )
    return tuple(found)


def _bind(node: Node, configuration: Configuration) -> BoundKernel:
    is_wide = node.input(0).dtype is DType.INT16
    if configuration.generation in ("2022", "2026") and (
        is_wide or not configuration.single_rounding
    ):
        # Exact integers, rounded alike: the order of the sums does not show.
        return REFERENCE[node.name].bind(node)
    shape = _node_shape(node, configuration)
    scaling = output_scaling(node, node.input(0), node.input(1), shape.out_channels)
    if configuration.generation in _UNDILATED:
        scaling = replace(scaling, low=-128, high=127)
    return bound_convolution(node, (0, 1, 2), depthwise_conv_s8(shape, scaling, configuration))


KERNELS: tuple[LibraryKernel, ...] = (LibraryKernel("DEPTHWISE_CONV_2D", _accepts, _bind, _calls),)

CASES: Mapping[str, CaseCalls] = {"dwconv_s8": _case}
