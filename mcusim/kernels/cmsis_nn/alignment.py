"""Words that CMSIS-NN loads from addresses that are no multiple of four.

On cores with DSP instructions the kernels load four products at once, whatever the address. Tensors
begin at multiples of 16; a row of a length that is no multiple of four moves the next one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from mcusim.graph import DType, Node
from mcusim.kernels.cmsis_nn.contract import Configuration
from mcusim.kernels.reference.conv import conv_shape
from mcusim.kernels.reference.convolution import ConvolutionShape
from mcusim.kernels.reference.depthwise_conv import depthwise_shape

__all__ = [
    "Misaligned",
    "misaligned",
    "misaligned_1x1",
    "misaligned_columns",
    "misaligned_dense",
    "misaligned_depthwise_3x3",
]


@dataclass(frozen=True)
class Misaligned:
    """Words loaded from where no word begins.

    Attributes:
        half: at an even address: two accesses of memory.
        odd: at an odd address: three.
    """

    half: float = 0.0
    odd: float = 0.0

    @property
    def further_accesses(self) -> float:
        """Accesses beyond the one that an aligned word takes."""
        return self.half + 2 * self.odd


def misaligned(node: Node, function: str, configuration: Configuration) -> Misaligned:
    """Misaligned words that a layer loads; none where that is not known.

    Args:
        node: the layer, of int8.
        function: the function of the library that runs it.
        configuration: of the library; known are those of 2026 for cores with DSP instructions.
    """
    if (configuration.simd, configuration.generation) != ("dsp", "2026"):
        return Misaligned()
    tensors = [t for t in node.inputs[:2] if t is not None]
    if any(tensor.dtype is not DType.INT8 for tensor in tensors):
        return Misaligned()
    if function in ("arm_convolve_s8", "arm_convolve_1_x_n_s8"):
        return misaligned_columns(conv_shape(node))
    if function in ("arm_convolve_1x1_s8_fast", "arm_convolve_1x1_s8"):
        return misaligned_1x1(conv_shape(node))
    if function == "arm_depthwise_conv_3x3_s8":
        return misaligned_depthwise_3x3(depthwise_shape(node))
    if function in ("arm_fully_connected_s8", "arm_fully_connected_per_channel_s8"):
        weights, output = node.input(1), node.output()
        outputs, inputs = output.shape[-1], weights.shape[-1]
        return misaligned_dense(output.elements // max(outputs, 1), inputs, outputs)
    return Misaligned()


def _rows(lengths: Iterable[tuple[int, float]]) -> Misaligned:
    """Words by the address that they are loaded from, and how many."""
    found: defaultdict[int, float] = defaultdict(float)
    for address, words in lengths:
        found[address % 4] += words
    return Misaligned(found[2], found[1] + found[3])


def misaligned_columns(shape: ConvolutionShape) -> Misaligned:
    """``arm_convolve_s8``: rows of the filter, and the second column of a pair while it is widened.

    Every row is loaded once for a pair of pixels, and once for the last of an odd number.
    """
    column = shape.taps * shape.kernel_channels
    groups = shape.in_channels // shape.kernel_channels
    pairs, left = divmod(shape.vertical.outputs * shape.horizontal.outputs, 2)
    words = column // 4 * shape.batches
    rows = [(row * column, words * (pairs + left)) for row in range(shape.out_channels)]
    return _rows([*rows, (column, words * pairs * groups)])


def misaligned_1x1(shape: ConvolutionShape) -> Misaligned:
    """``arm_nn_mat_mult_nt_t_s8``: rows of both matrices; an odd output channel loads bytes.

    A row of weights is loaded once for a pair of pixels, a pixel once for a pair of rows. With a
    stride each row of pixels is a product of its own.
    """
    depth = shape.in_channels
    words = depth // 4
    if not words or depth % 4 == 0:
        return Misaligned()
    down, across = shape.vertical, shape.horizontal
    if (down.stride, across.stride) == (1, 1):
        pixel_pairs = -(-shape.pixels // 2)
    else:
        pixel_pairs = shape.batches * down.outputs * -(-across.outputs // 2)
    channel_pairs = shape.out_channels // 2
    weights = [(row * depth, words * pixel_pairs) for row in range(2 * channel_pairs)]
    pixels = [
        (((batch * down.inputs + y) * across.inputs + x) * depth, words * channel_pairs)
        for batch in range(shape.batches)
        for y in range(0, down.outputs * down.stride, down.stride)
        for x in range(0, across.outputs * across.stride, across.stride)
    ]
    return _rows([*weights, *pixels])


def misaligned_dense(batches: int, inputs: int, outputs: int) -> Misaligned:
    """``arm_nn_vec_mat_mult_t_s8``: rows of the weights, and the vector for each pair of them."""
    words = inputs // 4
    rows = [(row * inputs, words * batches) for row in range(outputs)]
    vectors = [(batch * inputs, words * -(-outputs // 2)) for batch in range(batches)]
    return _rows([*rows, *vectors])


def misaligned_depthwise_3x3(shape: ConvolutionShape) -> Misaligned:
    """``arm_depthwise_conv_3x3_s8``: four channels of a pixel and of a tap at a time."""
    rows, columns, channels = shape.vertical, shape.horizontal, shape.out_channels
    words = channels // 4
    if not words or channels % 4 == 0:
        return Misaligned()
    found = []
    for out_y in range(rows.outputs):
        for out_x in range(columns.outputs):
            for tap_y in range(3):
                y = out_y * rows.stride - rows.padding + tap_y
                if not 0 <= y < rows.inputs:
                    continue
                for tap_x in range(3):
                    x = out_x * columns.stride - columns.padding + tap_x
                    if 0 <= x < columns.inputs:
                        found.append(((y * columns.inputs + x) * channels, words))
                        found.append(((tap_y * 3 + tap_x) * channels, words))
    return _rows(found)
