"""The ways from a layer's inputs to one stored output: a sum, and the steps that round it.

Runtimes differ in the order of few steps. For one element this computes every way that a library is
known to go, in plain integers, so that a value can be traced to the way that gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.fixed_point import (
    activation_range_quantized,
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_once,
    multiply_by_quantized_multiplier_wide,
    quantize_multiplier,
    quantize_multipliers,
    saturating_rounding_doubling_high_mul,
)
from mcusim.kernels.reference.conv import conv_shape
from mcusim.kernels.reference.convolution import ConvolutionShape, output_scaling
from mcusim.kernels.reference.dense import product_multiplier
from mcusim.kernels.reference.depthwise_conv import depthwise_shape
from mcusim.kernels.reference.transpose_conv import transposed_shape

__all__ = ["Way", "ways"]

_Position = tuple[int, ...]

_FIFTEEN = "the multiplier cut to 15 bits, rounded once"


@dataclass(frozen=True)
class Way:
    """One way to a stored value.

    Attributes:
        accumulator: the sum before it is scaled.
        sums: how it was summed, where not as the operator asks; empty otherwise.
        step: how it was rounded, in few words.
        rounding: the scaling and rounding with the numbers on the way.
        value: what is stored.
    """

    accumulator: int
    sums: str
    step: str
    rounding: str
    value: int


@dataclass(frozen=True)
class _Scale:
    """Scale of one output element: ``multiplier * 2**(shift - 31)``, then offset and clamp."""

    multiplier: int
    shift: int
    offset: int
    low: int
    high: int

    def stored(self, scaled: int) -> int:
        return min(max(scaled + self.offset, self.low), self.high)


def ways(node: Node, inputs: Sequence[Array | None], position: _Position) -> tuple[Way, ...]:
    """Every way to one element of a layer's output that is known.

    Args:
        node: the layer.
        inputs: its inputs of one inference, without a leading axis; None for what is left out.
        position: index of the element in the output.

    Returns:
        The ways, the one that TFLM's reference kernel goes first; empty where none is known, as for
        float32.
    """
    find = _WAYS.get(node.name)
    if find is None or node.output().dtype not in (DType.INT8, DType.INT16):
        return ()
    return tuple(find(node, inputs, position))


def _conv(node: Node, inputs: Sequence[Array | None], position: _Position) -> Iterator[Way]:
    shape = conv_shape(node)
    channel = position[3]
    group = channel // (shape.out_channels // (shape.in_channels // shape.kernel_channels))
    depth = slice(group * shape.kernel_channels, (group + 1) * shape.kernel_channels)
    yield from _convolution(node, inputs, position, shape, lambda w: w[channel], depth)


def _depthwise(node: Node, inputs: Sequence[Array | None], position: _Position) -> Iterator[Way]:
    shape = depthwise_shape(node)
    channel = position[3]
    source = channel // (shape.out_channels // shape.in_channels)
    depth = slice(source, source + 1)
    yield from _convolution(
        node, inputs, position, shape, lambda w: w[0, :, :, channel : channel + 1], depth
    )


def _convolution(
    node: Node,
    inputs: Sequence[Array | None],
    position: _Position,
    shape: ConvolutionShape,
    filter_of: Callable[[Array], Array],
    depth: slice,
) -> Iterator[Way]:
    x, weights, bias = _operands(inputs)
    parameters = output_scaling(node, node.input(0), node.input(1), shape.out_channels)
    channel = position[3]
    scale = _Scale(
        int(parameters.multipliers[channel]),
        int(parameters.shifts[channel]),
        parameters.output_zero_point,
        parameters.low,
        parameters.high,
    )
    added = 0 if bias is None else int(bias.ravel()[channel])

    def summed(dilated: bool) -> int:
        window = _window(x - parameters.input_zero_point, shape, position, dilated)
        return int((window[:, :, depth] * filter_of(weights)).sum()) + added

    dilations = {True: ""}
    if (shape.vertical.dilation, shape.horizontal.dilation) != (1, 1):
        dilations[False] = "dilation ignored"
    for dilated, said in dilations.items():
        yield from _scaled(node, summed(dilated), said, scale)


def _window(x: Array, shape: ConvolutionShape, position: _Position, dilated: bool) -> Array:
    """Inputs under the kernel, zeros where it reaches beyond the image."""
    batch, out_y, out_x, _ = position
    rows, columns = shape.vertical, shape.horizontal
    if not dilated:
        rows, columns = replace(rows, dilation=1), replace(columns, dilation=1)
    window = np.zeros((rows.kernel, columns.kernel, shape.in_channels), np.int64)
    for tap_y in range(rows.kernel):
        y = out_y * rows.stride - rows.padding + tap_y * rows.dilation
        for tap_x in range(columns.kernel):
            at = out_x * columns.stride - columns.padding + tap_x * columns.dilation
            if 0 <= y < rows.inputs and 0 <= at < columns.inputs:
                window[tap_y, tap_x] = x[batch, y, at]
    return window


def _dense(node: Node, inputs: Sequence[Array | None], position: _Position) -> Iterator[Way]:
    x, weights, bias = _operands(inputs)
    source, filters, output = node.input(0), node.input(1), node.output()
    outputs, depth = output.shape[-1], filters.shape[-1]
    channel = position[-1]
    row = int(np.ravel_multi_index(position, output.shape)) // outputs
    values = x.reshape(-1)[row * depth : (row + 1) * depth] - source.zero_point
    factors = weights.reshape(-1, depth)[channel]
    added = 0 if bias is None else int(bias.ravel()[channel])
    quantization = filters.quantization
    if quantization is not None and quantization.is_per_channel:
        real = np.float64(source.scale) * np.float64(quantization.scales[channel])
        multipliers, shifts = quantize_multipliers([real / np.float64(output.scale)])
        multiplier, shift, zero_point = int(multipliers[0]), int(shifts[0]), 0
    else:
        bias_tensor = node.optional_input(2)
        multiplier, shift = product_multiplier(node, source, filters, bias_tensor, output.scale)
        zero_point = filters.zero_point
    low, high = _range(node)
    scale = _Scale(multiplier, shift, output.zero_point, low, high)
    yield from _scaled(node, int(values @ (factors - zero_point)) + added, "", scale)
    if zero_point:
        said = "the weights' zero point ignored"
        yield from _scaled(node, int(values @ factors) + added, said, scale)


def _product(node: Node, inputs: Sequence[Array | None], position: _Position) -> Iterator[Way]:
    left, right, output = node.input(0), node.input(1), node.output()
    if left.shape != output.shape or right.shape != output.shape:
        return
    a, b, _ = _operands(inputs)
    total = int(a[position] - left.zero_point) * int(b[position] - right.zero_point)
    real = float(np.float64(np.float32(left.scale)) * np.float64(np.float32(right.scale)))
    multiplier, shift = quantize_multiplier(real / float(np.float32(output.scale)))
    yield from _scaled(node, total, "", _Scale(multiplier, shift, output.zero_point, *_range(node)))


#: ``left_shift`` of int8 sums: bits that inputs are moved left before they are scaled.
_SUM_SHIFT = 20


def _sum(node: Node, inputs: Sequence[Array | None], position: _Position) -> Iterator[Way]:
    """ADD of int8: both inputs are scaled to a common scale, and their sum to the output's."""
    left, right, output = node.input(0), node.input(1), node.output()
    if output.dtype is not DType.INT8 or left.shape != output.shape or right.shape != output.shape:
        return
    a, b, _ = _operands(inputs)
    common = 2 * float(np.float32(max(left.scale, right.scale)))
    parts = [
        (int(values[position] - tensor.zero_point) << _SUM_SHIFT, float(np.float32(tensor.scale)))
        for values, tensor in ((a, left), (b, right))
    ]
    multiplier, shift = quantize_multiplier(
        common / ((1 << _SUM_SHIFT) * float(np.float32(output.scale)))
    )
    scale = _Scale(multiplier, shift, output.zero_point, *_range(node))
    for step, scaled in (
        ("rounded twice", multiply_by_quantized_multiplier),
        ("rounded once", multiply_by_quantized_multiplier_once),
    ):
        first, second = (
            int(scaled(value, *quantize_multiplier(own / common))) for value, own in parts
        )
        result = int(scaled(first + second, multiplier, shift))
        value = scale.stored(result)
        text = (
            f"{first} + {second} = {first + second}, × {multiplier} × 2^{shift - 31}, each product "
            f"{step}: {result}, stored as {value}"
        )
        yield Way(first + second, "", step, text, value)


def _transposed(node: Node, inputs: Sequence[Array | None], position: _Position) -> Iterator[Way]:
    """TRANSPOSE_CONV: inputs that a filter scatters to one output."""
    weights, x = inputs[1], inputs[2]
    assert weights is not None
    assert x is not None
    shape = transposed_shape(node)
    source = node.input(2)
    parameters = output_scaling(node, source, node.input(1), shape.out_channels)
    batch, out_y, out_x, channel = position
    bias = inputs[3] if len(inputs) > 3 else None
    total = 0 if bias is None else int(bias.ravel()[channel])
    rows, columns = shape.vertical, shape.horizontal
    for tap_y in range(rows.kernel):
        y, off_y = divmod(out_y + rows.padding - tap_y, rows.stride)
        for tap_x in range(columns.kernel):
            at, off_x = divmod(out_x + columns.padding - tap_x, columns.stride)
            inside = 0 <= y < source.shape[1] and 0 <= at < source.shape[2]
            if inside and not off_y and not off_x:
                pixel = x[batch, y, at].astype(np.int64) - parameters.input_zero_point
                total += int(pixel @ weights[channel, tap_y, tap_x].astype(np.int64))
    scale = _Scale(
        int(parameters.multipliers[channel]),
        int(parameters.shifts[channel]),
        parameters.output_zero_point,
        parameters.low,
        parameters.high,
    )
    yield from _scaled(node, total, "", scale)


def _scaled(node: Node, total: int, sums: str, scale: _Scale) -> Iterator[Way]:
    """The ways that differ in how a sum is scaled."""
    factor = f"{total} × {scale.multiplier} × 2^{scale.shift - 31}"
    exact = total * scale.multiplier * 2.0 ** (scale.shift - 31)
    bias = node.optional_input(3 if node.name == "TRANSPOSE_CONV" else 2)
    wide = node.output().dtype is DType.INT16 and (bias is None or bias.dtype is DType.INT64)
    found = {}
    if abs(total) < 1 << 31:
        left, right = max(scale.shift, 0), max(-scale.shift, 0)
        high = int(saturating_rounding_doubling_high_mul(total << left, scale.multiplier))
        twice = int(multiply_by_quantized_multiplier(total, scale.multiplier, scale.shift))
        once = int(multiply_by_quantized_multiplier_once(total, scale.multiplier, scale.shift))
        found["rounded twice"] = (f" (to {high}, then shifted right by {right})", twice)
        found["rounded once"] = ("", once)
    if node.output().dtype is DType.INT16:
        scaled = int(multiply_by_quantized_multiplier_wide(total, scale.multiplier, scale.shift))
        found[_FIFTEEN] = ("", scaled)
    order = sorted(found, key=lambda name: name != _FIFTEEN) if wide else list(found)
    for name in order:
        how, result = found[name]
        value = scale.stored(result)
        text = f"{factor} = {exact:.4f}, {name}{how}: {result}, stored as {value}"
        yield Way(total, sums, name, text, value)


def _average(node: Node, inputs: Sequence[Array | None], position: _Position) -> Iterator[Way]:
    x, _, _ = _operands(inputs)
    batch, out_y, out_x, channel = position
    options = node.options
    _, height, width, _ = node.input(0).shape
    _, out_h, out_w, _ = node.output().shape
    rows = _span(out_y, height, out_h, options.integer("filter_height"), node, "stride_h")
    columns = _span(out_x, width, out_w, options.integer("filter_width"), node, "stride_w")
    pixels = x[batch, rows, columns, channel]
    total, count = int(pixels.sum()), pixels.size
    low, high = _range(node)

    def stored(value: int) -> int:
        return min(max(value, low), high)

    rounded = _truncated(total + (count // 2 if total > 0 else -(count // 2)), count)
    yield Way(
        total,
        "",
        "one mean of all pixels",
        f"{total} / {count} = {total / count:.4f}, rounded half away from zero: {rounded}",
        stored(rounded),
    )
    means = [_truncated(int(line.sum()), line.size) for line in pixels]
    inner, lines = sum(means), len(means)
    outer = _truncated(inner + (lines // 2 if inner > 0 else -(lines // 2)), lines)
    yield Way(
        total,
        "",
        "the mean of each row truncated, then the mean of the rows rounded",
        f"row means {' '.join(map(str, means))}; {inner} / {lines} = {inner / lines:.4f}, "
        f"rounded half away from zero: {outer}",
        stored(outer),
    )


def _span(out: int, inputs: int, outputs: int, taps: int, node: Node, stride: str) -> slice:
    step = node.options.integer(stride, 1)
    same = node.options.text("padding", "SAME") == "SAME"
    padding = max((outputs - 1) * step + taps - inputs, 0) // 2 if same else 0
    start = out * step - padding
    return slice(max(start, 0), min(start + taps, inputs))


def _truncated(value: int, divisor: int) -> int:
    """C's division."""
    quotient = abs(value) // divisor
    return -quotient if value < 0 else quotient


def _range(node: Node) -> tuple[int, int]:
    output = node.output()
    activation = node.options.text("fused_activation_function", "NONE")
    return activation_range_quantized(activation, output.dtype, output.scale, output.zero_point)


def _operands(inputs: Sequence[Array | None]) -> tuple[Array, Array, Array | None]:
    """The first two inputs in integers that do not overflow, and the third as it is."""
    x = inputs[0]
    assert x is not None
    second = inputs[1] if len(inputs) > 1 else None
    third = inputs[2] if len(inputs) > 2 else None
    wide = np.zeros(0, np.int64) if second is None else second.astype(np.int64)
    return x.astype(np.int64), wide, third


_WAYS: Mapping[str, Callable[[Node, Sequence[Array | None], _Position], Iterator[Way]]] = {
    "ADD": _sum,
    "AVERAGE_POOL_2D": _average,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "MUL": _product,
    "TRANSPOSE_CONV": _transposed,
}
