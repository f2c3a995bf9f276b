"""What TFLM's convolutions share: shapes, padding, quantization, and how taps fall on an input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import DType, Node, Tensor
from mcusim.kernels.fixed_point import (
    Int32Array,
    activation_range_quantized,
    quantize_multipliers,
)
from mcusim.kernels.reference.checks import refuse, require, supported

__all__ = [
    "Axis",
    "ConvolutionShape",
    "OutputScaling",
    "TapTurns",
    "check_arity",
    "check_bias",
    "check_extents",
    "check_filter",
    "check_rank",
    "convolution_shape",
    "output_scaling",
    "paddings",
]


@dataclass(frozen=True)
class Axis:
    """A convolution along one dimension.

    Attributes:
        inputs: extent of the input.
        outputs: extent of the output.
        kernel: extent of the kernel.
        stride: step of the kernel.
        dilation: step between taps.
        padding: zeros before the input.
    """

    inputs: int
    outputs: int
    kernel: int
    stride: int
    dilation: int
    padding: int

    @property
    def starts(self) -> list[int]:
        """Where each output's window begins in the input; below 0 before it."""
        return [output * self.stride - self.padding for output in range(self.outputs)]

    @property
    def before(self) -> int:
        """How many of the ``outputs * kernel`` taps fall before the input."""
        return sum(self._first_not_before(tap) for tap in range(self.kernel))

    @property
    def beyond(self) -> int:
        """How many taps fall beyond the end of the input."""
        return sum(self.outputs - self._first_at(self.inputs, tap) for tap in range(self.kernel))

    @property
    def inside(self) -> int:
        """How many taps fall on the input."""
        return self.outputs * self.kernel - self.before - self.beyond

    @property
    def extent(self) -> int:
        """How much of the padded input the windows reach."""
        return (self.outputs - 1) * self.stride + (self.kernel - 1) * self.dilation + 1

    def _first_not_before(self, tap: int) -> int:
        return self._first_at(0, tap)

    def _first_at(self, position: int, tap: int) -> int:
        """The first output whose tap falls on ``position`` or after it."""
        distance = position + self.padding - tap * self.dilation
        return min(max(-(-distance // self.stride), 0), self.outputs)


@dataclass(frozen=True)
class TapTurns:
    """How the bounds tests of one output channel's taps end, summed over the output pixels.

    The reference tests x first: ``x >= 0``, ``x < width``, ``y >= 0``, ``y < height``.

    Attributes:
        inside: taps on the input.
        left: taps left of it.
        right: taps right of it.
        above: taps within its columns, above it.
        below: taps within its columns, below it.
    """

    inside: int
    left: int
    right: int
    above: int
    below: int


@dataclass(frozen=True)
class ConvolutionShape:
    """Shape of a convolution.

    Attributes:
        batches: of input and output.
        vertical: rows.
        horizontal: columns.
        in_channels: of the input.
        kernel_channels: of one filter: fewer than the input's in a grouped convolution.
        out_channels: of the output.
    """

    batches: int
    vertical: Axis
    horizontal: Axis
    in_channels: int
    kernel_channels: int
    out_channels: int

    @property
    def pixels(self) -> int:
        """Output pixels over the batch."""
        return self.batches * self.vertical.outputs * self.horizontal.outputs

    @property
    def taps(self) -> int:
        """Taps of a filter."""
        return self.vertical.kernel * self.horizontal.kernel

    @property
    def steps(self) -> tuple[int, int, int, int, int, int]:
        """Strides, dilations and paddings, each by rows and by columns."""
        rows, columns = self.vertical, self.horizontal
        return (
            rows.stride,
            columns.stride,
            rows.dilation,
            columns.dilation,
            rows.padding,
            columns.padding,
        )

    @property
    def tap_turns(self) -> TapTurns:
        """How the bounds tests of all taps end, for one output channel."""
        rows, columns = self.vertical, self.horizontal
        per_row = self.batches * rows.outputs * rows.kernel
        return TapTurns(
            inside=self.batches * rows.inside * columns.inside,
            left=per_row * columns.before,
            right=per_row * columns.beyond,
            above=self.batches * rows.before * columns.inside,
            below=self.batches * rows.beyond * columns.inside,
        )


@dataclass(frozen=True, eq=False)
class OutputScaling:
    """Quantization of a convolution as its Prepare function leaves it.

    Attributes:
        multipliers: int32, one for each output channel.
        shifts: int32, positive to the left.
        input_zero_point: subtracted from the input: 0 for int16, whose own is ignored.
        output_zero_point: added to the output, likewise.
        low: least stored value.
        high: largest stored value.
    """

    multipliers: Int32Array
    shifts: Int32Array
    input_zero_point: int
    output_zero_point: int
    low: int
    high: int


def paddings(
    padding: str,
    inputs: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int]:
    """Rows of padding above and columns to the left; a pair is (rows, columns).

    Source: ``ComputePaddingHeightWidth``.
    """
    effective = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if padding == "VALID":
        # None where the windows fit, and where they do not the library sets none either.
        return 0, 0
    totals = [
        max((-(-size // step) - 1) * step + reach - size, 0)
        for size, reach, step in zip(inputs, effective, stride, strict=True)
    ]
    return totals[0] // 2, totals[1] // 2


def check_filter(node: Node, weights: Tensor) -> None:
    """Refuse a filter of so many rows or columns that the library's int16 paddings overflow.

    Raises:
        UnsupportedOperatorError: it has.
    """
    require(
        max(weights.shape[1:3]) < 1 << 15,
        node,
        f"a filter of {weights.shape[1]} x {weights.shape[2]} needs paddings beyond int16",
    )


def check_extents(
    node: Node,
    inputs: tuple[int, int],
    outputs: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> None:
    """Refuse an output, rows and columns, that the windows over an input do not make.

    TFLite Micro does not look: it computes windows that lie partly or wholly beside the input.

    Raises:
        UnsupportedOperatorError: the extents are others.

    Source: ``ComputeOutSize``.
    """
    same = node.options.text("padding", "SAME") == "SAME"
    made = tuple(
        -(-(size if same else size - (k - 1) * d) // step)
        for size, k, step, d in zip(inputs, kernel, stride, dilation, strict=True)
    )
    require(
        made == tuple(outputs),
        node,
        f"windows of {kernel[0]} x {kernel[1]} on {inputs[0]} x {inputs[1]} make "
        f"{max(made[0], 0)} x {max(made[1], 0)} outputs, not {outputs[0]} x {outputs[1]}",
    )


def check_rank(node: Node, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not four-dimensional or empty.

    Raises:
        UnsupportedOperatorError: one is; the message names it by its key.
    """
    for part, tensor in tensors.items():
        require(
            len(tensor.shape) == 4,
            node,
            f"the {part} has {len(tensor.shape)} dimensions instead of 4",
        )
        require(tensor.elements > 0, node, f"the {part} is empty")


def check_arity(node: Node, required: int) -> None:
    """Refuse a node unless it has its inputs, perhaps a bias more, and one output.

    Raises:
        UnsupportedOperatorError: it has not.
    """
    require(
        len(node.inputs) in (required, required + 1) and len(node.outputs) == 1,
        node,
        f"it has {len(node.inputs)} inputs and {len(node.outputs)} outputs instead of "
        f"{required} or {required + 1} and 1",
    )


def convolution_shape(node: Node, of_depth: int, of_channels: int) -> ConvolutionShape:
    """Shape of a CONV_2D or DEPTHWISE_CONV_2D, from its tensors and options.

    Args:
        node: the operator; inputs are the input and the filter.
        of_depth: dimension of the filter that runs over input channels.
        of_channels: dimension of the filter that runs over output channels.

    Raises:
        UnsupportedOperatorError: a tensor has another rank, batches or channels of the tensors do
            not agree, or a stride or dilation is not positive.
    """
    source, weights, result = node.input(0), node.input(1), node.output()
    check_rank(node, {"input": source, "filter": weights, "output": result})
    kernel_channels, out_channels = weights.shape[of_depth], weights.shape[of_channels]
    stride, dilation = (
        (
            node.options.integer(f"{name}_h{end}", least),
            node.options.integer(f"{name}_w{end}", least),
        )
        for name, end, least in (("stride", "", 0), ("dilation", "_factor", 1))
    )
    require(min(*stride, *dilation) > 0, node, "strides and dilations must be positive")
    check_filter(node, weights)
    require(
        source.shape[0] == result.shape[0],
        node,
        f"the input has {source.shape[0]} batches, the output {result.shape[0]}",
    )
    require(
        result.shape[3] == out_channels,
        node,
        f"the filter has {out_channels} output channels, the output {result.shape[3]}",
    )
    inputs, kernel = source.shape[1:3], weights.shape[1:3]
    padding = paddings(
        node.options.text("padding", "SAME"),
        (inputs[0], inputs[1]),
        (kernel[0], kernel[1]),
        stride,
        dilation,
    )
    check_extents(
        node, (inputs[0], inputs[1]), result.shape[1:3], (kernel[0], kernel[1]), stride, dilation
    )
    vertical, horizontal = (
        Axis(inputs[i], result.shape[1 + i], kernel[i], stride[i], dilation[i], padding[i])
        for i in range(2)
    )
    return ConvolutionShape(
        source.shape[0], vertical, horizontal, source.shape[3], kernel_channels, out_channels
    )


def check_bias(
    node: Node, position: int, channels: int, allowed: tuple[DType, ...]
) -> Tensor | None:
    """The optional bias, one element for each output channel.

    Raises:
        UnsupportedOperatorError: its type or its size is another, or it stands in the inputs but is
            left out.
    """
    bias = node.optional_input(position)
    require(
        bias is not None or len(node.inputs) <= position,
        node,
        "its bias is tensor -1, which TFLite Micro reads all the same",
    )
    if bias is not None:
        supported(node, bias, allowed, "bias")
        require(
            bias.elements == channels,
            node,
            f"the bias has {bias.elements} elements for {channels} output channels",
        )
    return bias


def output_scaling(node: Node, source: Tensor, weights: Tensor, channels: int) -> OutputScaling:
    """Quantization of an integer convolution.

    Args:
        node: the operator.
        source: its input.
        weights: its filter.
        channels: its output channels.

    Raises:
        UnsupportedOperatorError: input or filter has no scale, the filter's scales are as many as
            neither 1 nor ``channels``, or a multiplier is not finite.

    Source: ``PopulateConvolutionQuantizationParams``.
    """
    result = node.output()
    if source.dtype is DType.INT8:
        require(
            -128 <= source.zero_point <= 127,
            node,
            f"the input's zero point {source.zero_point} is not an int8",
        )
    scales = _scales(node, weights, "filter")
    source_scale = _scales(node, source, "input")[0]
    require(
        scales.size in (1, channels),
        node,
        f"the filter has {scales.size} scales for {channels} output channels",
    )
    quantization = weights.quantization
    if quantization is not None and scales.size > 1:
        axis = quantization.axis
        require(
            0 <= axis < len(weights.shape) and weights.shape[axis] == channels,
            node,
            f"the filter's scales run along dimension {axis}, not along its output channels",
        )
    if result.scale == 0:
        refuse(node, "the output has no scale, or a scale of 0")
    effective = (
        np.float64(source_scale) * np.broadcast_to(scales, (channels,)).astype(np.float64)
    ) / np.float64(result.scale)
    try:
        multipliers, shifts = quantize_multipliers(effective)
        low, high = activation_range_quantized(
            node.options.text("fused_activation_function", "NONE"),
            result.dtype,
            result.scale,
            result.zero_point,
        )
    except UnsupportedOperatorError as error:
        refuse(node, str(error))
    has_offsets = source.dtype is DType.INT8
    return OutputScaling(
        multipliers,
        shifts,
        source.zero_point if has_offsets else 0,
        result.zero_point if has_offsets else 0,
        low,
        high,
    )


def _scales(node: Node, tensor: Tensor, part: str) -> npt.NDArray[np.float32]:
    quantization = tensor.quantization
    if quantization is None or not (quantization.scales.size and quantization.zero_points.size):
        refuse(node, f"the {part} has no scale and zero point")
    return quantization.scales
