"""CMSIS-NN's SVDF, loop by loop as the library runs it, with every turn counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from mcusim.graph import Array, DType
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.vector_matrix_mirror import (
    vec_mat_mult_t_s8,
    vec_mat_mult_t_svdf_s8,
)
from mcusim.kernels.fixed_point import multiply_by_quantized_multiplier
from mcusim.kernels.reference.dense import Rescaling
from mcusim.kernels.reference.svdf import SvdfParameters, SvdfShape

__all__ = ["svdf_mirror"]


def svdf_mirror(
    shape: SvdfShape,
    parameters: SvdfParameters,
    tensors: tuple[Array, Array, Array, Array, Array],
    simd: Simd,
    feature_range: tuple[int, int] = (-32768, 32767),
) -> tuple[Array, Array, Counter[str], Counter[str]]:
    """``arm_svdf_s8`` or ``arm_svdf_state_s16_s8``, by the type of the state.

    Args:
        shape: the shape.
        parameters: the quantization.
        tensors: input, weights, weights of time, bias and state.
        simd: of the core.
        feature_range: to which features are clamped.

    Returns:
        The output, the new state, turns of the function and of the product that it calls.
    """
    x, feature, time, bias, state = tensors
    turns: Counter[str] = Counter({"call": 1, "ranked": int(shape.rank > 1)})
    inner: Counter[str] = Counter()
    size = state.dtype.itemsize
    values = state.ravel().tolist()
    values = values[1:] + values[-1:]
    if simd == "mve":
        turns["moved_block"] += -(-(len(values) - 1) * size // 16)
    rescaling = _rescaling(parameters, feature_range)
    for batch in range(shape.batches):
        turns["batch"] += 1
        if size == 1:
            row, counted = vec_mat_mult_t_s8(
                x[batch].tolist(), feature.tolist(), None, rescaling, simd
            )
        else:
            row, counted = vec_mat_mult_t_svdf_s8(
                x[batch].tolist(), feature.tolist(), rescaling, simd
            )
        inner += counted
        for position, value in enumerate(row):
            place = (batch * shape.filters + position + 1) * shape.memory - 1
            values[place] = int(np.int64(value).astype(state.dtype))
    weights = time.ravel().tolist()
    out = np.empty((shape.batches, shape.units), np.int8)
    for batch in range(shape.batches):
        sums = []
        for position in range(shape.filters):
            turns["filter"] += 1
            start = (batch * shape.filters + position) * shape.memory
            total = 0
            for step in _steps(turns, shape.memory, 4 // size, simd):
                total += weights[position * shape.memory + step] * values[start + step]
            sums.append(total)
        for unit in range(shape.units):
            turns["flat" if shape.rank == 1 else "unit"] += 1
            total = int(bias[unit])
            for position in range(unit * shape.rank, (unit + 1) * shape.rank):
                turns["unit.rank"] += shape.rank > 1
                total += sums[position]
            turns["output"] += 1
            turns["output.right_shift"] += parameters.result[1] < 0
            turns["output.no_shift"] += parameters.result[1] == 0
            wrapped = np.int64(total).astype(np.int32)
            scaled = int(multiply_by_quantized_multiplier(wrapped, *parameters.result))
            out[batch, unit] = min(max(scaled + parameters.output_zero_point, -128), 127)
    if simd == "mve":
        turns["four"] += -(-out.size // 4)
    return out, np.array(values, state.dtype).reshape(state.shape), turns, inner


def _rescaling(parameters: SvdfParameters, feature_range: tuple[int, int]) -> Rescaling:
    multiplier, shift = parameters.feature
    low, high = feature_range
    return Rescaling(
        input_offset=-parameters.input_zero_point,
        filter_offset=0,
        multipliers=np.array([multiplier], np.int32),
        shifts=np.array([shift], np.int32),
        output_offset=0,
        low=low,
        high=high,
        wide=False,
        dtype=DType.INT16,
    )


def _steps(turns: Counter[str], memory: int, together: int, simd: Simd) -> Iterator[int]:
    """Steps in time, with DSP as many at a time as a word holds."""
    if simd != "dsp":
        for step in range(memory):
            turns["filter.step"] += 1
            yield step
        return
    words = memory // together
    turns["filter.no_word"] += words == 0
    for word in range(words):
        turns["filter.word"] += 1
        yield from range(word * together, (word + 1) * together)
    turns["filter.lefts"] += memory % together > 0
    for step in range(words * together, memory):
        turns["filter.left"] += 1
        yield step
