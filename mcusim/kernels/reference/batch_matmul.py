"""BATCH_MATMUL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import Binder, BoundKernel, Kernel, KernelCall
from mcusim.kernels.reference.checks import (
    require,
    require_counts,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.dense import Rescaling, accumulate, product_multiplier
from mcusim.kernels.reference.movement_calls import transposition_trips

__all__ = [
    "KERNELS",
    "MatmulShape",
    "MatmulTurns",
    "batch_matmul_mirror",
    "prepare",
    "trips",
]

#: Levels of the transpositions.
_TRANSPOSED = (
    "node",
    "row",
    "row.of_matrix",
    "row.of_three",
    "short",
    "element",
    "short.strided",
    "element.strided",
    *(
        f"{level}{place}.strided"
        for level in ("wide", "block", "rest")
        for place in ("", ".longer", ".odd")
    ),
)


@dataclass(frozen=True)
class MatmulShape:
    """Shape of a product of matrices.

    Attributes:
        left: shape of the left tensor.
        right: shape of the right tensor.
        transpose_left: the left tensor holds columns (``adj_x``).
        transpose_right: the right tensor holds columns (``adj_y``), as the loops want it.
        output: shape of the output.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    transpose_left: bool
    transpose_right: bool
    output: tuple[int, ...]

    @classmethod
    def of(cls, node: Node) -> MatmulShape:
        """Shape of a node, refused where the library refuses it.

        Raises:
            UnsupportedOperatorError: ranks or dimensions do not fit.

        Source: ``BatchMatMulPrepare`` and ``ReshapeOutputTensor``.
        """
        left, right = node.input(0).shape, node.input(1).shape
        for shape, what in ((left, "left"), (right, "right")):
            require(2 <= len(shape) <= 5, node, f"the {what} tensor has {len(shape)} dimensions")
        transposed = node.options.flag("adj_x"), node.options.flag("adj_y")
        rank = max(len(left), len(right))
        extended_left = (1,) * (rank - len(left)) + left
        extended_right = (1,) * (rank - len(right)) + right
        outer = []
        for one, other in zip(extended_left[:-2], extended_right[:-2], strict=True):
            require(
                one == other or 1 in (one, other), node, f"{left} does not broadcast to {right}"
            )
            outer.append(other if one == 1 else one)
        rows, depth = left[-2:][:: -1 if transposed[0] else 1]
        other_depth, columns = right[-2:][:: -1 if transposed[1] else 1]
        require(depth == other_depth, node, f"rows of {depth} elements, columns of {other_depth}")
        output = (*outer, rows, columns)
        declared = node.output().shape
        require(
            len(declared) >= rank and prod(declared) == prod(output),
            node,
            f"the output has shape {declared}, the product {output}",
        )
        return cls(left, right, *transposed, output)

    @property
    def depth(self) -> int:
        """Products of a sum."""
        return self.left[-2 if self.transpose_left else -1]

    @property
    def is_flattened(self) -> bool:
        """Whether one right matrix serves the last of the left tensor's outer dimensions.

        The library then makes one tall matrix of that dimension's.
        """
        return len(self.left) > 2 and len(self.right) > 2 and self.right[-3] == 1


def prepare(
    node: Node, adjust: Callable[[Rescaling], Rescaling] = lambda rescaling: rescaling
) -> Binder:
    """Check a node and prepare it.

    Args:
        node: the operator.
        adjust: what another library's kernel does otherwise with the sums.

    Raises:
        UnsupportedOperatorError: the library refuses the node.

    Source: ``BatchMatMulPrepare`` and ``BatchMatMulEval``.
    """
    require_counts(node, 2)
    left, right, output = node.input(0), node.input(1), node.output()
    allowed = (DType.FLOAT32, DType.INT8, DType.INT16)
    dtype = supported(node, left, allowed, "left tensor")
    supported(node, right, allowed, "right tensor")
    require_same_type(node, left, right, "left and right tensor")
    require_same_type(node, left, output, "left tensor and output")
    rescaling = None if dtype is DType.FLOAT32 else _rescaling(node, left, right, output)
    shape = MatmulShape.of(node)
    if rescaling is None:
        return partial(_bind_float, shape)
    return partial(_bind_stored, shape, adjust(rescaling))


def _rescaling(node: Node, left: Tensor, right: Tensor, output: Tensor) -> Rescaling:
    multiplier, shift = product_multiplier(node, left, right, None, output.scale)
    dtype = left.dtype
    limits = np.iinfo(dtype.numpy)
    if dtype is DType.INT16:
        for tensor in (left, right, output):
            require(tensor.zero_point == 0, node, f"{tensor.name!r} has a zero point")
    return Rescaling(
        input_offset=-left.zero_point,
        filter_offset=-right.zero_point,
        multipliers=np.array([multiplier], np.int32),
        shifts=np.array([shift], np.int32),
        output_offset=output.zero_point,
        low=int(limits.min),
        high=int(limits.max),
        wide=dtype is DType.INT16,
        dtype=dtype,
    )


def _operands(shape: MatmulShape, inputs: Sequence[Array | None]) -> tuple[Array, Array]:
    """Rows of the left and columns of the right, each ``(inferences, outer…, count, depth)``."""
    left, right = inputs[0], inputs[1]
    assert left is not None
    assert right is not None
    rank = len(shape.output)

    def extended(array: Array, own: tuple[int, ...]) -> Array:
        return array.reshape(len(array), *(1,) * (rank - len(own)), *own)

    rows, columns = extended(left, shape.left), extended(right, shape.right)
    return (
        rows.swapaxes(-1, -2) if shape.transpose_left else rows,
        columns if shape.transpose_right else columns.swapaxes(-1, -2),
    )


def _bind_stored(shape: MatmulShape, rescaling: Rescaling) -> BoundKernel:
    """Source: ``reference_ops::BatchMatMul<int8_t, int32_t>`` and ``<int16_t, int64_t>``."""

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        rows, columns = _operands(shape, inputs)
        sums = accumulate(rows, columns, None, rescaling.input_offset, rescaling.filter_offset)
        return [rescaling.stored(sums)]

    return run


def _bind_float(shape: MatmulShape) -> BoundKernel:
    """Source: ``reference_ops::BatchMatMul<float>``."""
    from mcusim.kernels.compiled.dense import dot_products

    infinity = np.float32(np.inf)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        rows, columns = _operands(shape, inputs)
        outer = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
        left = np.broadcast_to(rows, (*outer, *rows.shape[-2:]))
        right = np.broadcast_to(columns, (*outer, *columns.shape[-2:]))
        out = np.empty((prod(outer), *shape.output[-2:]), np.float32)
        dot_products(
            np.ascontiguousarray(left).reshape(-1, *rows.shape[-2:]),
            np.ascontiguousarray(right.swapaxes(-1, -2)).reshape(-1, shape.depth, shape.output[-1]),
            np.zeros((1, shape.output[-1]), np.float32),
            -infinity,
            infinity,
            out,
        )
        return [out.reshape(outer[0], *shape.output)]

    return run


@dataclass
class MatmulTurns:
    """Turns of the loops of a BATCH_MATMUL.

    Attributes:
        transposed_rows: rows written by transpositions.
        transposed: elements written by transpositions.
        matrices: products of two matrices.
        rows: rows of the left matrices.
        outputs: elements of the output.
        products: products of two elements.
    """

    transposed_rows: int = 0
    transposed: int = 0
    matrices: int = 0
    rows: int = 0
    outputs: int = 0
    products: int = 0


def batch_matmul_mirror(
    shape: MatmulShape, left: Array, right: Array, rescaling: Rescaling
) -> tuple[Array, MatmulTurns]:
    """BATCH_MATMUL of stored values, loop by loop as the library computes it.

    Args:
        shape: the shape.
        left: stored, of the left shape.
        right: stored, of the right shape.
        rescaling: of the sums.

    Returns:
        The output and the turns of its loops.

    Source: ``BatchMatMulEval`` and ``reference_ops::BatchMatMul``.
    """
    turns = MatmulTurns()

    def transposed(array: Array) -> Array:
        outer = array.reshape(-1, *array.shape[-2:])
        out = np.empty((len(outer), array.shape[-1], array.shape[-2]), array.dtype)
        for matrix in range(len(outer)):
            for row in range(array.shape[-1]):
                turns.transposed_rows += 1
                for column in range(array.shape[-2]):
                    turns.transposed += 1
                    out[matrix, row, column] = outer[matrix, column, row]
        return out.reshape(*array.shape[:-2], *out.shape[-2:])

    columns = right if shape.transpose_right else transposed(right)
    rows = transposed(left) if shape.transpose_left else left
    if shape.is_flattened:
        rows = rows.reshape(*rows.shape[:-3], -1, shape.depth)
        columns = columns.reshape(*columns.shape[:-3], *columns.shape[-2:])
    outer = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    lefts = np.broadcast_to(rows, (*outer, *rows.shape[-2:])).reshape(-1, *rows.shape[-2:])
    rights = np.broadcast_to(columns, (*outer, *columns.shape[-2:])).reshape(
        -1, *columns.shape[-2:]
    )
    sums = []
    for matrix in range(len(lefts)):
        turns.matrices += 1
        for row in lefts[matrix].tolist():
            turns.rows += 1
            for column in rights[matrix].tolist():
                turns.outputs += 1
                total = 0
                for one, other in zip(row, column, strict=True):
                    turns.products += 1
                    total += (other + rescaling.filter_offset) * (one + rescaling.input_offset)
                sums.append(total)
    return rescaling.stored(np.array(sums, np.int64)).reshape(shape.output), turns


def trips(shape: MatmulShape, size: int = 1) -> dict[str, float]:
    """Loop trip counts of a BATCH_MATMUL whose right tensor is transposed in every call.

    Args:
        shape: of the product.
        size: bytes of an element.
    """
    tensors = []
    if not shape.transpose_right:
        tensors.append(shape.right)
    if shape.transpose_left:
        tensors.append(shape.left)
    transposed: Counter[str] = Counter()
    for extents in tensors:
        turned = (*extents[:-2], extents[-1], extents[-2])
        transposed.update(transposition_trips(turned, extents[-1] > 1, size))
    # Shapes of what is not said to hold columns are turned; those of fewer than four dimensions, 16
    # bytes, are copied in single words or bytes.
    turned_shapes = [
        len(extents)
        for extents, adjoint in (
            (shape.left, shape.transpose_left),
            (shape.right, shape.transpose_right),
        )
        if not adjoint
    ]
    ranks = [len(shape.left), len(shape.right), len(shape.output)]
    matrices = prod(shape.output[:-2])
    if shape.is_flattened:
        matrices //= max(shape.left[-3], 1)
    outputs = prod(shape.output)
    return {
        "call": 1,
        "dimension": sum(ranks),
        "dimension.short": sum(rank for rank in ranks if rank < 4),
        "dimension.long": sum(rank for rank in ranks if rank >= 4),
        "turned": len(turned_shapes),
        "turned.dimension": sum(turned_shapes),
        "turned.short": sum(rank for rank in turned_shapes if rank < 4),
        "turned.long": sum(rank for rank in turned_shapes if rank >= 4),
        "transposition.short": sum(len(s) for s in tensors if len(s) < 4),
        "transposition.long": sum(len(s) for s in tensors if len(s) >= 4),
        "flattening": int(shape.is_flattened),
        "transposition": len(tensors),
        "transposition.dimension": sum(len(extents) for extents in tensors),
        **{f"transposed.{level}": transposed[level] for level in _TRANSPOSED},
        "matrix": matrices,
        "row": outputs // max(shape.output[-1], 1),
        "output": outputs,
        "product": outputs * shape.depth,
        # In soft float the first product is added to zero, at once.
        "sum": outputs * max(0, shape.depth - 1),
    }


def _call(node: Node) -> KernelCall:
    shape = MatmulShape.of(node)
    levels = trips(shape, node.input(0).dtype.numpy.itemsize)
    warnings: tuple[str, ...] = ()
    if node.input(1).is_constant and not shape.transpose_right:
        warnings = ("the constant right tensor is transposed in the first call only",)
    return KernelCall(
        "reference_ops::BatchMatMul",
        f"reference/batch_matmul_{node.input(0).dtype.value}",
        levels,
        macs=int(levels["product"]),
        warnings=warnings,
    )


KERNELS: tuple[Kernel, ...] = (Kernel("BATCH_MATMUL", prepare, _call),)
