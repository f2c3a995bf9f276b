"""SVDF as CMSIS-NN computes it, and the glue in TFLM that calls it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import (
    CaseCalls,
    Configuration,
    LibraryCase,
    LibraryKernel,
    profile_name,
)
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling
from mcusim.kernels.cmsis_nn.vector_matrix_trips import (
    VectorByMatrix,
    vec_mat_mult_t_s8_trips,
    vec_mat_mult_t_svdf_s8_trips,
)
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.fixed_point import (
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_once,
)
from mcusim.kernels.reference.dense import accumulate
from mcusim.kernels.reference.svdf import SvdfParameters, SvdfShape, stored_parameters

__all__ = ["CASES", "KERNELS", "svdf", "trips"]


def trips(shape: SvdfShape, state_bytes: int, simd: Simd, shift: int = -1) -> dict[str, float]:
    """Loop turns of ``arm_svdf_s8`` (state of int8) and ``arm_svdf_state_s16_s8``.

    Args:
        shape: the shape.
        state_bytes: of an element of the state.
        simd: of the core.
        shift: of the outputs, positive to the left.
    """
    filters, units = shape.batches * shape.filters, shape.batches * shape.units
    ranked = shape.rank > 1
    levels: dict[str, float] = {
        "call": 1,
        "batch": shape.batches,
        "filter": filters,
        "ranked": ranked,
        "flat": filters * (not ranked),
        "unit": units * ranked,
        "unit.rank": filters * ranked,
        "output": units,
        "output.right_shift": units * (shift < 0),
        "output.no_shift": units * (shift == 0),
    }
    if simd != "dsp":
        levels["filter.step"] = filters * shape.memory
        if simd == "mve":
            moved = (filters * shape.memory - 1) * state_bytes
            levels |= {"moved_block": -(-moved // 16), "four": -(-units // 4)}
        return levels
    # Steps in time are taken as many at a time as a word holds.
    together = 4 // state_bytes
    words, left = divmod(shape.memory, together)
    return levels | {
        "filter.word": filters * words,
        "filter.no_word": filters * (words == 0),
        "filter.left": filters * left,
        "filter.lefts": filters * (left > 0),
    }


def _library_calls(
    shape: SvdfShape, state: DType, shifts: tuple[int, int], configuration: Configuration
) -> tuple[KernelCall, ...]:
    """What runs in the library.

    Args:
        shape: the shape.
        state: type of the state.
        shifts: of the features and of the outputs, positive to the left.
        configuration: of the library.
    """
    is_narrow = state is DType.INT8
    name = "arm_svdf_s8" if is_narrow else "arm_svdf_state_s16_s8"
    inner = "arm_nn_vec_mat_mult_t_s8" if is_narrow else "arm_nn_vec_mat_mult_t_svdf_s8"
    count = vec_mat_mult_t_s8_trips if is_narrow else vec_mat_mult_t_svdf_s8_trips
    product = VectorByMatrix(
        shape.filters, shape.inputs, scaling=Scaling.of_shifts(False, np.array(shifts[:1]))
    )
    filters = shape.batches * shape.filters
    size = state.bits // 8
    # With a state of int16 nobody counted the loops of MVE.
    ending = "" if is_narrow or configuration.simd != "mve" else "_mve"
    calls = [
        KernelCall(
            name,
            profile_name(name + ending, configuration),
            trips(shape, size, configuration.simd, shifts[1]),
            reason=f"state of {state.value}: {name}",
            macs=filters * shape.memory,
        ),
        KernelCall(
            inner,
            profile_name(inner + ending, configuration),
            count(shape.batches, product, configuration.simd),
            macs=filters * shape.inputs,
        ),
    ]
    if configuration.simd != "mve":
        # From an odd place, so the C library moves byte by byte.
        moved = (filters * shape.memory - 1) * size
        calls.append(
            KernelCall(
                "memmove", profile_name("memmove", configuration), {"call": 1, "byte": moved}
            )
        )
    return tuple(calls)


def _case_int8(case: LibraryCase, configuration: Configuration) -> tuple[KernelCall, ...]:
    params = case.params
    shape = SvdfShape(
        params["batches"],
        params["input"],
        params["units"] * params["rank"],
        params["memory"],
        params["rank"],
    )
    return _library_calls(shape, DType.INT8, (params["s1"], params["s2"]), configuration)


CASES: dict[str, CaseCalls] = {"svdf_s8": _case_int8}


def _accepts(node: Node, configuration: Configuration) -> bool:
    return configuration.generation == "2026" and node.input(0).dtype is DType.INT8


def _bind(node: Node, configuration: Configuration) -> BoundKernel:
    """Source: ``CmsisNnPrepareSvdf`` and ``EvalIntegerSVDF``."""
    shape, parameters = stored_parameters(node)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        x, feature, time, bias, state = (array for array in inputs if array is not None)
        out, moved = svdf(shape, parameters, (x, feature, time, bias, state), configuration)
        state[...] = moved
        return [out]

    return run


def svdf(
    shape: SvdfShape,
    parameters: SvdfParameters,
    tensors: tuple[Array, Array, Array, Array | None, Array],
    configuration: Configuration,
    feature_range: tuple[int, int] = (-32768, 32767),
) -> tuple[Array, Array]:
    """``arm_svdf_s8`` or ``arm_svdf_state_s16_s8``, by the type of the state.

    Args:
        shape: the shape.
        parameters: the quantization; the library knows no zero point of the state.
        tensors: input, weights, weights of time, bias and state; each has a leading axis of
            inferences, or of 1.
        configuration: of the library.
        feature_range: to which features are clamped: TFLM's glue gives int16's also where the
            state is int8, into which they then wrap.

    Returns:
        The output and the new state.
    """
    scale = (
        multiply_by_quantized_multiplier_once
        if configuration.single_rounding
        else multiply_by_quantized_multiplier
    )
    x, feature, time, bias, state = tensors
    memory = state.reshape(len(state), shape.batches, shape.filters, shape.memory)
    memory = np.concatenate([memory[..., 1:], memory[..., :1]], axis=-1)
    products = accumulate(x, feature, None, -parameters.input_zero_point, 0)
    features = np.clip(scale(products.astype(np.int32), *parameters.feature), *feature_range)
    memory[..., -1] = features.astype(state.dtype)
    sums = (memory.astype(np.int64) * time[:, np.newaxis].astype(np.int64)).sum(axis=-1)
    totals = sums.reshape(*sums.shape[:2], shape.units, shape.rank).sum(axis=-1)
    if bias is not None:
        totals = totals + bias[:, np.newaxis]
    scaled = scale(totals.astype(np.int32), *parameters.result).astype(np.int64)
    out = np.clip(scaled + parameters.output_zero_point, -128, 127).astype(np.int8)
    return out, memory.reshape(state.shape)


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    shape, parameters = stored_parameters(node)
    state, shifts = node.input(2).dtype, (parameters.feature[1], parameters.result[1])
    warnings: tuple[str, ...] = ()
    if node.input(4).zero_point != 0:
        warnings = ("CMSIS-NN ignores the zero point of the state, and so do the outputs here",)
    glue = KernelCall(
        "EvalIntegerSVDF", profile_name("glue_svdf", configuration), {"call": 1}, warnings=warnings
    )
    return (*_library_calls(shape, state, shifts, configuration), glue)


KERNELS: tuple[LibraryKernel, ...] = (LibraryKernel("SVDF", _accepts, _bind, _calls),)
