"""BATCH_MATMUL as CMSIS-NN computes it, and the glue in TFLM that calls it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod

import numpy as np

from mcusim.graph import DType, Node
from mcusim.kernels.cmsis_nn.contract import (
    CaseCalls,
    Configuration,
    LibraryCase,
    LibraryKernel,
    profile_name,
)
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling
from mcusim.kernels.cmsis_nn.memory_calls import copies_call
from mcusim.kernels.cmsis_nn.vector_matrix_trips import (
    VectorByMatrix,
    vec_mat_mult_t_s8_trips,
    vec_mat_mult_t_s16_trips,
    vector_sum_trips,
)
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.reference.batch_matmul import MatmulShape, prepare, trips
from mcusim.kernels.reference.checks import require
from mcusim.kernels.reference.dense import Rescaling

__all__ = ["CASES", "KERNELS"]

_MOST_DIMENSIONS = 4
#: The compiler turns a row of so many elements in one turn of a loop.
_UNROLLED = 16
_TRANSPOSITION = (
    *("transposition", "transposed_matrix", "transposed_row"),
    *("deep_transposition", "deep_transposed_outer", "deep_transposed_matrix"),
    *("deep_transposed_row", "transposed_long_row", "transposed_block", "transposed_element"),
)


def _library_calls(
    batches: int,
    matrices: int,
    rows: int,
    product: VectorByMatrix,
    is_wide: bool,
    moves_input: bool,
    configuration: Configuration,
) -> tuple[KernelCall, ...]:
    """The product of matrices, a vector by a matrix for each row of the left.

    Args:
        batches: turns of the loop around matrices.
        matrices: products, of a left matrix by a right one.
        rows: of a left matrix.
        product: of one row.
        is_wide: int16.
        moves_input: the left tensor has a zero point.
        configuration: of the library.
    """
    name = "arm_batch_matmul_s16" if is_wide else "arm_batch_matmul_s8"
    inner = "arm_nn_vec_mat_mult_t_s16_s16" if is_wide else product.function
    profile = inner if is_wide else product.profile
    count = vec_mat_mult_t_s16_trips if is_wide else vec_mat_mult_t_s8_trips
    calls = [
        KernelCall(
            name,
            profile_name(name, configuration),
            {"call": 1, "batch": batches, "matrix": matrices, "row": matrices * rows},
            reason=f"{'int16' if is_wide else 'int8'}: {name}, its right matrices transposed",
        ),
        KernelCall(
            inner,
            profile_name(profile, configuration),
            count(matrices * rows, product, configuration.simd),
            macs=matrices * rows * product.outputs * product.columns,
        ),
    ]
    if configuration.simd == "mve" and not is_wide:
        calls.append(
            KernelCall(
                "arm_vector_sum_s8",
                profile_name("arm_vector_sum_s8", configuration),
                vector_sum_trips(matrices, product.outputs, product.columns, moves_input),
            )
        )
    return tuple(calls)


def _case_int8(case: LibraryCase, configuration: Configuration) -> tuple[KernelCall, ...]:
    params = case.params
    _, _, rows, _ = params["lhs_dims"]
    _, _, outputs, columns = params["rhs_dims"]
    scaling = Scaling.of_shifts(False, np.array([params["shift"]]))
    product = VectorByMatrix(outputs, columns, params["f_off"] != 0, scaling=scaling)
    batches, height, *_ = params["out_dims"]
    moves_input = params["in_off"] != 0
    return _library_calls(
        batches, batches * height, rows, product, False, moves_input, configuration
    )


CASES: dict[str, CaseCalls] = {"bmm_s8": _case_int8}


def _accepts(node: Node, configuration: Configuration) -> bool:
    return configuration.generation == "2026" and node.input(0).dtype in (DType.INT8, DType.INT16)


def _bind(node: Node, configuration: Configuration) -> BoundKernel:
    """Source: ``Prepare`` and ``EvalInt8`` of TFLM's ``cmsis_nn/batch_matmul.cc``."""
    _check(node)

    def adjust(rescaling: Rescaling) -> Rescaling:
        return replace(rescaling, rounds_once=configuration.single_rounding)

    return prepare(node, adjust)()


def _check(node: Node) -> None:
    for position, what in ((0, "left"), (1, "right")):
        rank = len(node.input(position).shape)
        require(
            rank <= _MOST_DIMENSIONS,
            node,
            f"CMSIS-NN takes four dimensions, the {what} tensor has {rank}",
        )


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    _check(node)
    shape = MatmulShape.of(node)
    reference = trips(shape)
    matrices = int(reference["matrix"])
    rows = int(reference["row"]) // max(matrices, 1)
    left, right = node.input(0), node.input(1)
    scaling = Scaling.of_layer(False, left, right, node.output())
    product = VectorByMatrix(shape.output[-1], shape.depth, right.zero_point != 0, scaling=scaling)
    is_wide = left.dtype is DType.INT16
    levels = {"call": 1, "flattening": reference["flattening"], **_transposition_trips(shape)}
    warnings: tuple[str, ...] = ()
    if right.is_constant and not shape.transpose_right:
        warnings = ("the constant right tensor is transposed in the first call only",)
    glue = KernelCall(
        "BatchMatMulEval",
        profile_name("glue_batch_matmul", configuration),
        levels,
        warnings=warnings,
    )
    moves_input = left.zero_point != 0
    calls = _library_calls(
        _batches(shape), matrices, rows, product, is_wide, moves_input, configuration
    )
    return (*calls, copies_call(_shape_copies(shape), configuration), glue)


def _batches(shape: MatmulShape) -> int:
    """Turns of the outermost of four loops, over a dimension in front of the matrices'."""
    outer = shape.output[: -3 if shape.is_flattened else -2]
    return prod(outer[:-1])


def _transposition_trips(shape: MatmulShape) -> dict[str, float]:
    """Turns of the glue's transpositions; four dimensions are a recursion deeper, in other loops.

    Source: ``TransposeRowsColumns`` and ``reference_ops::Transpose``.
    """
    trips: Counter[str] = Counter()
    for tensor, is_turned in (
        (shape.right, not shape.transpose_right),
        (shape.left, shape.transpose_left),
    ):
        if is_turned:
            deep = "deep_" if len(tensor) == _MOST_DIMENSIONS else ""
            rows, (blocks, left) = prod(tensor[:-2]) * tensor[-1], divmod(tensor[-2], _UNROLLED)
            trips[f"{deep}transposition"] += 1
            trips[f"{deep}transposed_matrix"] += prod(tensor[:-2])
            trips[f"{deep}transposed_row"] += rows
            trips["deep_transposed_outer"] += tensor[0] if deep else 0
            trips["transposed_long_row"] += rows * (blocks > 0)
            trips["transposed_block"] += rows * blocks
            trips["transposed_element"] += rows * left
    return {level: float(trips[level]) for level in _TRANSPOSITION}


def _shape_copies(shape: MatmulShape) -> Counter[tuple[int, int, int]]:
    """Shapes that the glue copies: each tensor's, two for each transposition, two flattened ones.

    Source: ``PopulateEvalData``.
    """
    left, right, output = (len(s) for s in (shape.left, shape.right, shape.output))
    copies = Counter((4 * rank, 0, 0) for rank in (left, right, output))
    copies[4 * right, 0, 0] += 0 if shape.transpose_right else 2
    copies[4 * left, 0, 0] += 2 if shape.transpose_left else 0
    if shape.is_flattened:
        for rank in (left, right, output):
            copies[4 * (rank - 1), 0, 0] += 2
    return copies


KERNELS: tuple[LibraryKernel, ...] = (LibraryKernel("BATCH_MATMUL", _accepts, _bind, _calls),)
