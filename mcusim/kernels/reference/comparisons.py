"""Comparisons, logical operators and SELECT_V2 as TFLM's reference kernels compute them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import Binder, Kernel
from mcusim.kernels.fixed_point import (
    multiply_by_quantized_multiplier,
    quantize_multiplier_smaller_than_one,
)
from mcusim.kernels.reference.broadcasting import aligned, require_broadcast
from mcusim.kernels.reference.checks import (
    require,
    require_counts,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.elementwise_call import binary_call, select_call
from mcusim.kernels.reference.pairs import operands, run_pairs

__all__ = ["KERNELS"]

_COMPARISONS: dict[str, Callable[[Array, Array], Array]] = {
    "EQUAL": np.equal,
    "NOT_EQUAL": np.not_equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
}
_NUMBERS = (DType.FLOAT32, DType.INT32, DType.INT64, DType.INT8)


def _prepare_comparison(node: Node) -> Binder:
    """Compare, int8 after bringing both to real units with 8 bits to spare.

    Source: ``ComparisonsPrepare`` and ``ComparisonWithScaling``. GREATER has a case for int16 whose
    multipliers the library never sets; its result is whatever they happen to be, so it is refused.
    """
    first, second, output = operands(node)
    undefined = node.name == "GREATER" and first.dtype is DType.INT16
    require(not undefined, node, "compares int16 with multipliers that TFLite Micro never sets")
    equality = node.name in ("EQUAL", "NOT_EQUAL")
    supported(node, first, (*_NUMBERS, DType.BOOL) if equality else _NUMBERS, "input")
    supported(node, output, (DType.BOOL,), "output")
    compare = _COMPARISONS[node.name]
    if first.dtype is not DType.INT8:
        return run_pairs(node, compare)
    scaled = [_scaled(tensor) for tensor in (first, second)]
    return run_pairs(node, lambda a, b: compare(scaled[0](a), scaled[1](b)))


def _scaled(tensor: Tensor) -> Callable[[Array], Array]:
    multiplier, shift = quantize_multiplier_smaller_than_one(tensor.scale)

    def scale(values: Array) -> Array:
        centred = (values.astype(np.int64) - tensor.zero_point) << 8
        return multiply_by_quantized_multiplier(centred.astype(np.int32), multiplier, shift)

    return scale


def _prepare_logical(node: Node) -> Binder:
    """Source: ``LogicalImpl``."""
    first, _, output = operands(node)
    supported(node, first, (DType.BOOL,), "input")
    supported(node, output, (DType.BOOL,), "output")
    return run_pairs(node, np.logical_and if node.name == "LOGICAL_AND" else np.logical_or)


def _prepare_select(node: Node) -> Binder:
    """Source: ``SelectPrepare``, ``Select`` and ``BroadcastSelect5DSlow``."""
    require_counts(node, 3)
    tensors, output = [node.input(i) for i in range(3)], node.output()
    condition, when_true, when_false = tensors
    supported(node, condition, (DType.BOOL,), "condition")
    supported(node, when_true, (DType.FLOAT32, DType.INT8, DType.INT16), "input")
    require_same_type(node, when_true, when_false, "the inputs")
    require_same_type(node, when_true, output, "input and output")
    single = all(t.elements == 1 for t in (*tensors, output))
    shapes = {t.shape for t in tensors}
    if not single:
        rank = max(len(shape) for shape in shapes)
        require(len(output.shape) == rank, node, f"the output needs {rank} dimensions")
        require_broadcast(node, tensors, output)
    rank, shape = len(output.shape), output.shape

    def run(inputs: Sequence[Array | None]) -> list[Array]:
        arrays = [array for array in inputs if array is not None]
        if single:
            arrays = [array.reshape(len(array), *shape) for array in arrays]
        result = np.where(*(aligned(array, rank) for array in arrays))
        return [result.reshape(len(result), *shape)]

    return lambda: run


KERNELS: tuple[Kernel, ...] = (
    *(Kernel(name, _prepare_comparison, binary_call) for name in _COMPARISONS),
    Kernel("LOGICAL_AND", _prepare_logical, binary_call),
    Kernel("LOGICAL_OR", _prepare_logical, binary_call),
    Kernel("SELECT_V2", _prepare_select, select_call),
)
