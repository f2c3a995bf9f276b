"""Kernel calls of the operators that join, cut and permute: their loops as formulas of the shape.

At O3 the compiler copies bytes by words: on cores with unaligned access every run of seven or more,
on ARMv6-M those between aligned addresses. What is left of such a run goes byte by byte behind it.
Where a turn for a word does not exist (Os), it costs as much as four for bytes, so the levels serve
all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import product

from mcusim.graph import DType, Node, Tensor
from mcusim.kernels.contract import KernelCall, Trips
from mcusim.kernels.memory_copy import ALIGNED_LEVELS, Copy, copy_trips, repeated_copies
from mcusim.kernels.reference.checks import int32_vector

__all__ = [
    "around",
    "concatenation_call",
    "pack_call",
    "reshape_call",
    "shape_copy",
    "simple_call",
    "single_run_call",
    "split_call",
    "strided_slice_call",
    "transpose_call",
    "transposition_trips",
]

#: Runs of at least as many elements are copied by words.
_WORDWISE = 7
#: Turns of a run, short ones byte by byte, and how long ones end.
_RUN_LEVELS = (
    "segment.byte",
    "segment.word",
    "segment.wordwise",
    "wordwise.rest",
    "wordwise.tail",
    "segment.unaligned",
    "unaligned.word",
    "unaligned.rest",
    "unaligned.tail",
)
#: Rows of bytes at least this long are transposed eight at a time.
_WIDE_ROW = 29
#: The same on ARMv6-M.
_LONGER_ROW = 53
_BLOCK = 8
_TRANSPOSITION_LEVELS = (
    "node",
    "row",
    "row.of_matrix",
    "row.of_three",
    "short",
    "short.strided",
    *(
        f"{level}{place}{kind}"
        for level in ("wide", "block", "rest")
        for place in ("", ".longer", ".odd")
        for kind in ("", ".strided")
    ),
    "block.of_three",
    "block.longer.of_three",
    "block.odd.of_three",
    "element",
    "element.strided",
)
#: ``sizeof(StridedSliceParams)``, which the kernel copies to extend it to five dimensions.
_STRIDED_SLICE_PARAMS_BYTES = 84


def _named(node: Node, function: str, dtype: DType, trips: Trips) -> KernelCall:
    return KernelCall(
        f"reference_ops::{function}", f"reference/{node.name.lower()}_{dtype.value}", trips
    )


def simple_call(node: Node) -> KernelCall:
    """A kernel whose loops were never counted: one turn for each element that it writes."""
    function = "".join(word.capitalize() for word in node.name.split("_"))
    elements = sum(t.elements for t in node.outputs)
    return _named(node, function, node.output().dtype, {"call": 1, "element": elements})


def shape_copy(tensor: Tensor) -> Copy:
    """``RuntimeShape`` copies its dimensions with memcpy."""
    return 4 * len(tensor.shape), 0, 0


def around(before: int, after: int) -> dict[str, float]:
    """Turns of the loops that multiply the dimensions before and after an axis."""
    return {
        "before": float(before),
        "before.any": float(before > 0),
        "before.none": float(before == 0),
        "after": float(after),
        "after.any": float(after > 0),
        "after.none": float(after == 0),
    }


def reshape_call(node: Node) -> KernelCall:
    """RESHAPE and SQUEEZE: one memcpy, as input and output lie apart.

    Source: ``EvalReshapeReference`` and ``SqueezeEval``.
    """
    x = node.input(0)
    trips = {"call": 1.0, "dimension": float(len(x.shape))}
    copies = copy_trips([(x.bytes, 0, 0)], ALIGNED_LEVELS)
    return _named(node, node.name.capitalize(), x.dtype, trips | copies)


def single_run_call(node: Node) -> KernelCall:
    """EXPAND_DIMS, FILL and ZEROS_LIKE: one loop over all elements."""
    output = node.output()
    trips = {"call": 1.0, "part": 1.0, "segment": 1.0}
    runs = _runs(Counter([(output.bytes, 0, 0)]), output.dtype.numpy.itemsize)
    function = "".join(word.capitalize() for word in node.name.split("_"))
    return _named(node, function, output.dtype, trips | runs)


def concatenation_call(node: Node) -> KernelCall:
    """Source: ``EvalUnquantized`` and ``reference_ops::Concatenation``."""
    output = node.output()
    tensors = [node.input(i) for i in range(len(node.inputs))]
    axis = node.options.integer("axis") % max(1, len(output.shape))
    outer = math.prod(output.shape[:axis])
    lengths = [t.bytes // outer for t in tensors]

    def of_turn(turn: int) -> Iterator[Copy]:
        target = turn * sum(lengths)
        for length in lengths:
            yield length, turn * length, target
            target += length

    copies = repeated_copies(outer, of_turn)
    for tensor in (output, *tensors, *tensors):
        copies[shape_copy(tensor)] += 1
    trips = {
        "call": 1.0,
        **around(axis, len(output.shape) - 1 - axis),
        "input": float(len(tensors)),
        "input.dimension": float(sum(len(t.shape) for t in tensors)),
        "outer": float(outer),
        "segment": float(outer * len(tensors)),
    }
    return _named(node, "Concatenation", output.dtype, trips | copy_trips(copies))


def _runs(segments: Counter[Copy], size: int) -> dict[str, float]:
    """Turns of a loop that copies element by element, which O3 turns into words.

    Args:
        segments: what the runs of the loop copy, and how often.
        size: bytes of an element.
    """
    turns: Counter[str] = Counter()
    per_word = max(1, 4 // size)
    for (length, source, target), times in segments.items():
        count = length // size
        if size >= 4:
            turns["segment.word"] += times * (length // 4)
        elif count < _WORDWISE:
            turns["segment.byte"] += times * count
        else:
            run = "wordwise" if source % 4 == target % 4 == 0 else "unaligned"
            turns[f"segment.{run}"] += times
            turns[f"{run}.word"] += times * (count // per_word)
            turns[f"{run}.rest"] += times * (count % per_word)
            turns[f"{run}.tail"] += times * (count % per_word > 0)
    turns["segment.word"] += turns.pop("wordwise.word", 0)
    return {level: float(turns[level]) for level in _RUN_LEVELS}


def split_call(node: Node) -> KernelCall:
    """SPLIT and SPLIT_V. Source: ``SplitImpl``."""
    if node.name == "SPLIT":
        x, axis_tensor = node.input(1), node.input(0)
    else:
        x, axis_tensor = node.input(0), node.input(2)
    axis = 0 if axis_tensor.data is None else int32_vector(axis_tensor.data)[0]
    axis %= max(1, len(x.shape))
    outer = math.prod(x.shape[:axis])
    lengths = [t.bytes // outer for t in node.outputs]

    def of_turn(turn: int) -> Iterator[Copy]:
        source = turn * sum(lengths)
        for length in lengths:
            yield length, source, turn * length
            source += length

    segments = repeated_copies(outer, of_turn)
    trips = {
        "call": 1.0,
        **around(axis, len(x.shape) - 1 - axis),
        "outer": float(outer),
        "segment": float(outer * len(lengths)),
    }
    return _named(node, "Split", x.dtype, trips | _runs(segments, x.dtype.numpy.itemsize))


def pack_call(node: Node) -> KernelCall:
    """PACK and UNPACK. Source: ``PackImpl`` and ``UnpackImpl``."""
    if node.name == "PACK":
        whole, parts = node.output(), [node.input(i) for i in range(len(node.inputs))]
    else:
        whole, parts = node.input(0), list(node.outputs)
    axis = node.options.integer("axis") % max(1, len(whole.shape))
    outer = math.prod(whole.shape[:axis])
    length = whole.bytes // (outer * len(parts))

    def of_turn(turn: int) -> Iterator[Copy]:
        for position in range(len(parts)):
            yield length, turn * length, (turn * len(parts) + position) * length

    segments = repeated_copies(outer, of_turn)
    trips = {
        "call": 1.0,
        **around(axis, len(whole.shape) - 1 - axis),
        "part": float(len(parts)),
        "segment": float(outer * len(parts)),
    }
    return _named(
        node,
        node.name.capitalize(),
        whole.dtype,
        trips | _runs(segments, whole.dtype.numpy.itemsize),
    )


def transpose_call(node: Node) -> KernelCall:
    """Source: ``reference_ops::Transpose``."""
    x, output = node.input(0), node.output()
    rank = len(output.shape)
    order = node.input(1).data
    inner = rank - 1 if order is None or not rank else int32_vector(order)[-1]
    strided = math.prod(x.shape[inner + 1 :]) > 1
    trips = {"call": 1.0, "dimension": float(rank)}
    trips |= transposition_trips(output.shape, strided, x.dtype.numpy.itemsize)
    shapes = copy_trips([shape_copy(x), shape_copy(output)], ALIGNED_LEVELS)
    return _named(node, "Transpose", x.dtype, trips | shapes)


def transposition_trips(output: tuple[int, ...], strided: bool, size: int) -> dict[str, float]:
    """Turns of ``TransposeImpl``, which calls itself for each dimension but the last.

    The compiler inlines some of the depths, so that a row costs differently by rank; it makes a
    loop for rows whose elements lie side by side in the input and one for others (``strided``), and
    copies long rows of bytes in blocks of eight, what is left behind one by one (``rest``). On
    ARMv6-M a row must be longer for that (``longer``), and its target aligned (others are ``odd``).

    Args:
        output: shape of the output.
        strided: whether the elements of a row lie apart in the input.
        size: bytes of an element.
    """
    rank = len(output)
    rows, length = math.prod(output[:-1]), output[-1] if rank else 1
    odd = rows - -(-rows // (4 // math.gcd(length, 4)))
    of_rank = {2: ".of_matrix", 3: ".of_three"}.get(rank, "")
    kind = ".strided" if strided else ""
    turns: Counter[str] = Counter()
    turns[f"row{of_rank}"] += rows
    if size > 1 or length < _WIDE_ROW:
        turns[f"short{kind}"] += rows
        turns[f"element{kind}"] += rows * length
    else:
        places = [(".longer", rows - odd), (".odd", odd)] if length >= _LONGER_ROW else [("", rows)]
        for place, times in places:
            turns[f"wide{place}{kind}"] += times
            turns[f"block{place}{kind or '.of_three' * (rank == 3)}"] += times * (length // _BLOCK)
            turns[f"rest{place}{kind}"] += times * (length % _BLOCK)
    turns["node"] += sum(math.prod(output[:depth]) for depth in range(1, rank - 1))
    return {level: float(turns[level]) for level in _TRANSPOSITION_LEVELS}


def strided_slice_call(node: Node, ranges: list[tuple[int, int, int]]) -> KernelCall:
    """Source: ``reference_ops::StridedSlice``, five loops deep.

    Args:
        node: the operator.
        ranges: start, stop and stride of each dimension of its input.
    """
    x, output = node.input(0), node.output()
    size = x.dtype.numpy.itemsize
    five = [(0, 1, 1)] * (5 - len(ranges)) + ranges
    extents = [1] * (5 - len(ranges)) + list(x.shape)
    counts = [len(range(*r)) for r in five]
    start, _, stride = five[4]
    unit = stride == 1

    length = counts[4] * size
    innermost = range(*five[3])

    def rows(first_row: int, first_target: int) -> Counter[Copy]:
        """Copies of the loop over the fourth dimension."""

        def of_turn(turn: int) -> Iterator[Copy]:
            row = first_row + innermost[turn]
            yield length, (row * extents[4] + start) * size, first_target + turn * length

        return repeated_copies(len(innermost), of_turn)

    copies = Counter([(_STRIDED_SLICE_PARAMS_BYTES, 0, 0)])
    copies.update(shape_copy(tensor) for tensor in (x, x, output, output))
    outer = product(*(range(*r) for r in five[:3])) if unit else ()
    for turn, (i0, i1, i2) in enumerate(outer):
        first_row = ((i0 * extents[1] + i1) * extents[2] + i2) * extents[3]
        copies.update(rows(first_row, turn * len(innermost) * length))
    trips = {
        "call": 1.0,
        "dimension": float(len(x.shape)),
        "row": float(sum(math.prod(counts[:depth]) for depth in (1, 2, 3))),
        "column": float(math.prod(counts[:4])),
        "column.copied": float(math.prod(counts[:4]) * unit),
        "element": float(math.prod(counts) * (not unit)),
    }
    return _named(node, "StridedSlice", x.dtype, trips | copy_trips(copies))
