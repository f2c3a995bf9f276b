"""Words that CMSIS-NN loads from addresses that are no multiple of four.

On cores with DSP instructions the kernels load four products at once, whatever the address. Tensors
begin at multiples of 16; a row of a length that is no multiple of four moves the next one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from mcusim.graph import DType, Node
from mcusim.kernels.cmsis_nn.contract import Configuration
from mcusim.kernels.reference.conv import conv_shape
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape
from mcusim.kernels.reference.depthwise_conv import depthwise_shape

__all__ = [
    "Misaligned",
    "misaligned",
    "misaligned_1x1",
    "misaligned_columns",
    "misaligned_dense",
    "misaligned_depthwise_3x3",
    "misaligned_widened_columns",
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
        configuration: of the library; known are those for cores with DSP instructions, the older
            ones for convolutions and dense layers.
    """
    if configuration.simd != "dsp":
        return Misaligned()
    tensors = [t for t in node.inputs[:2] if t is not None]
    if any(tensor.dtype is not DType.INT8 for tensor in tensors):
        return Misaligned()
    if configuration.generation != "2026":
        return _of_older(node, function, configuration)
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


def _of_older(node: Node, function: str, configuration: Configuration) -> Misaligned:
    if function in ("arm_convolve_s8", "arm_convolve_1_x_n_s8"):
        return misaligned_widened_columns(conv_shape(node))
    if function == "arm_fully_connected_s8":
        outputs, inputs = node.output().shape[-1], node.input(1).shape[-1]
        batches = node.output().elements // max(outputs, 1)
        # 2020 loads words only in blocks of 16, and the bytes left over one by one.
        words = inputs // 16 * 4 if configuration.generation == "2020" else inputs // 4
        return misaligned_dense(batches, inputs, outputs, words)
    return Misaligned()


def _rows(lengths: Iterable[tuple[int, float]]) -> Misaligned:
    """Words by the address that they are loaded from, and how many."""
    found: defaultdict[int, float] = defaultdict(float)
    for address, words in lengths:
        found[address % 4] += words
    return Misaligned(found[2], found[1] + found[3])


def _repeated(count: int, step: int, words: float) -> Iterator[tuple[int, float]]:
    """Words that begin at each of ``count`` multiples of ``step``; four addresses say them all."""
    return ((first * step, words * len(range(first, count, 4))) for first in range(4))


def misaligned_columns(shape: ConvolutionShape) -> Misaligned:
    """``arm_convolve_s8``: rows of the filter, and the second column of a pair while it is widened.

    Every row is loaded once for a pair of pixels, and once for the last of an odd number.
    """
    column = shape.taps * shape.kernel_channels
    groups = shape.in_channels // shape.kernel_channels
    pairs, left = divmod(shape.vertical.outputs * shape.horizontal.outputs, 2)
    words = column // 4 * shape.batches
    rows = _repeated(shape.out_channels, column, words * (pairs + left))
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
    weights = _repeated(2 * channel_pairs, depth, words * pixel_pairs)
    pixels = [
        (((batch * down.inputs + y) * across.inputs + x) * depth, times * words * channel_pairs)
        for batch in range(shape.batches)
        for y, of_y in _steps(down).items()
        for x, of_x in _steps(across).items()
        for times in (of_y * of_x,)
    ]
    return _rows([*weights, *pixels])


def misaligned_widened_columns(shape: ConvolutionShape) -> Misaligned:
    """``arm_convolve_s8`` until 2022, which widens tap by tap into columns one behind the other.

    Rows of the filter are loaded as in 2026. A tap's channels are loaded by words where the tap
    lies in the input and stored as two words of int16 for each; an odd number of values in a
    column moves the second one of a pair by half a word, for every pair of filters.
    """
    depth, column = shape.in_channels, shape.taps * shape.in_channels
    pairs, left = divmod(shape.vertical.outputs * shape.horizontal.outputs, 2)
    words = column // 4 * shape.batches
    found = list(_repeated(shape.out_channels, column, float(words * (pairs + left))))
    if column % 2:
        filter_pairs = -(-shape.out_channels // 2)
        found.append((2, 2.0 * words * pairs * filter_pairs))
    if tap_words := depth // 4:
        width = shape.horizontal.inputs
        down, across = _remainders(shape.vertical), _remainders(shape.horizontal)
        for y, of_y in down.items():
            for x, of_x in across.items():
                taps = float(of_y * of_x * shape.batches)
                found.append(((y * width + x) * depth, taps * tap_words))
        if depth % 2:
            found.append((2, 2.0 * tap_words * shape.batches * _odd_taps(shape)))
    return _rows(found)


def _odd_taps(shape: ConvolutionShape) -> int:
    """Taps on the input whose values come to lie behind an odd number of others in the buffer.

    Channels are odd. The second pixel of a pair lies behind the taps of the first.
    """
    down, across = _parities(shape.vertical), _parities(shape.horizontal)
    wide, columns = shape.horizontal.outputs, shape.horizontal.kernel
    return sum(
        of_y * of_x
        for (y, tap_y), of_y in down.items()
        for (x, tap_x), of_x in across.items()
        if ((y * wide + x) % 2 * shape.taps + tap_y * columns + tap_x) % 2
    )


def _parities(axis: Axis) -> Counter[tuple[int, int]]:
    """Output positions and taps modulo two, and how many of them meet on the input."""
    found: Counter[tuple[int, int]] = Counter()
    for output in range(axis.outputs):
        for tap in range(axis.kernel):
            if 0 <= output * axis.stride - axis.padding + tap * axis.dilation < axis.inputs:
                found[output % 2, tap % 2] += 1
    return found


@lru_cache(maxsize=4096)
def _steps(axis: Axis) -> Counter[int]:
    """Positions of a stride's steps, modulo four, and how many steps lie there."""
    return Counter(output * axis.stride % 4 for output in range(axis.outputs))


@lru_cache(maxsize=4096)
def _taps(axis: Axis) -> tuple[int, ...]:
    """How many outputs of an axis have each tap on the input."""
    starts = [output * axis.stride - axis.padding for output in range(axis.outputs)]
    reach = [tap * axis.dilation for tap in range(axis.kernel)]
    return tuple(sum(0 <= start + far < axis.inputs for start in starts) for far in reach)


@lru_cache(maxsize=4096)
def _remainders(axis: Axis) -> Counter[int]:
    """Positions on the input that taps fall on, modulo four, and how many taps fall there."""
    found: Counter[int] = Counter()
    for output in range(axis.outputs):
        for tap in range(axis.kernel):
            position = output * axis.stride - axis.padding + tap * axis.dilation
            if 0 <= position < axis.inputs:
                found[position % 4] += 1
    return found


def misaligned_dense(
    batches: int, inputs: int, outputs: int, words: int | None = None
) -> Misaligned:
    """``arm_nn_vec_mat_mult_t_s8``: rows of the weights, and the vector for each pair of them.

    Args:
        batches: vectors.
        inputs: of each.
        outputs: rows of the weights.
        words: that the kernel loads of a row; one for four inputs when None.
    """
    words = inputs // 4 if words is None else words
    rows = _repeated(outputs, inputs, words * batches)
    vectors = _repeated(batches, inputs, words * -(-outputs // 2))
    return _rows([*rows, *vectors])


def misaligned_depthwise_3x3(shape: ConvolutionShape) -> Misaligned:
    """``arm_depthwise_conv_3x3_s8``: four channels of a pixel and of a tap at a time."""
    rows, columns, channels = shape.vertical, shape.horizontal, shape.out_channels
    words = channels // 4
    if not words or channels % 4 == 0:
        return Misaligned()
    pixels = [
        ((y * columns.inputs + x) * channels, words * of_y * of_x)
        for y, of_y in _remainders(rows).items()
        for x, of_x in _remainders(columns).items()
    ]
    taps = [
        ((tap_y * 3 + tap_x) * channels, words * of_y * of_x)
        for tap_y, of_y in enumerate(_taps(rows))
        for tap_x, of_x in enumerate(_taps(columns))
    ]
    return _rows([*pixels, *taps])
