"""BATCH_MATMUL as CMSIS-NN computes it, and the glue in TFLM that calls it."""

from __future__ import annotations

from dataclasses import replace

from mcusim.graph import DType, Node
from mcusim.kernels.cmsis_nn.contract import (
    CaseCalls,
    Configuration,
    LibraryCase,
    LibraryKernel,
    profile_name,
)
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


def _library_calls(
    matrices: int,
    rows: int,
    product: VectorByMatrix,
    is_wide: bool,
    moves_input: bool,
    configuration: Configuration,
) -> tuple[KernelCall, ...]:
    """The product of matrices, a vector by a matrix for each row of the left.

    Args:
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
            {"call": 1, "matrix": matrices, "row": matrices * rows},
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
    product = VectorByMatrix(outputs, columns, moves_filter=params["f_off"] != 0)
    matrices = params["out_dims"][0] * params["out_dims"][1]
    return _library_calls(matrices, rows, product, False, params["in_off"] != 0, configuration)


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
        require(rank <= 4, node, f"CMSIS-NN takes four dimensions, the {what} tensor has {rank}")


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    _check(node)
    shape = MatmulShape.of(node)
    reference = trips(shape)
    matrices = int(reference["matrix"])
    rows = int(reference["row"]) // max(matrices, 1)
    left, right = node.input(0), node.input(1)
    product = VectorByMatrix(shape.output[-1], shape.depth, moves_filter=right.zero_point != 0)
    is_wide = left.dtype is DType.INT16
    levels = {
        name: count
        for name, count in reference.items()
        if name.startswith("transpos") or name in ("call", "flattening")
    }
    warnings: tuple[str, ...] = ()
    if right.is_constant and not shape.transpose_right:
        warnings = ("the constant right tensor is transposed in the first call only",)
    glue = KernelCall(
        "BatchMatMulEval",
        profile_name("glue_batch_matmul", configuration),
        levels,
        warnings=warnings,
    )
    calls = _library_calls(matrices, rows, product, is_wide, left.zero_point != 0, configuration)
    return (*calls, glue)


KERNELS: tuple[LibraryKernel, ...] = (LibraryKernel("BATCH_MATMUL", _accepts, _bind, _calls),)
