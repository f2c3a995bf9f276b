"""Holds single-operator models against the TFLite Micro interpreter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import strategies as st

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import Array, DType, Graph, Options, Tensor
from mcusim.interpreter import Interpreter
from mcusim.tflite import write
from tests import oracles

__all__ = ["assert_agrees", "assert_both_refuse", "bits", "model", "shapes", "values"]


def model(
    name: str,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
    options_type: str = "NONE",
    **options: bool | int | float | str | tuple[int, ...],
) -> Graph:
    """A model of one operator with its options."""
    return oracles.single_operator(name, inputs, outputs, Options(options), options_type)


def bits(array: Array) -> Array:
    """The stored bits, all NaN alike."""
    if array.dtype == np.float32:
        return np.where(np.isnan(array), np.float32(np.nan), array).view(np.uint32)
    return array


def assert_agrees(graph: Graph, inputs: Sequence[Array], *more: Sequence[Array]) -> None:
    """mcusim computes what TFLite Micro does, bit for bit, alone and in a batch.

    Args:
        graph: the model.
        inputs: inputs of a call.
        more: inputs of calls that follow; the batch runs them side by side.
    """
    calls = [inputs, *more]
    expected = [oracles.tflm(write(graph), call)[0] for call in calls]
    for call, outputs in zip(calls, expected, strict=True):
        found = Interpreter(graph).invoke(call).outputs
        for mine, theirs in zip(found, outputs, strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(bits(mine), bits(theirs.reshape(mine.shape)))
    if not inputs:
        return
    stacked = [np.stack(arrays) for arrays in zip(*calls, strict=True)]
    batch = Interpreter(graph).invoke(stacked).outputs
    for position, mine in enumerate(batch):
        theirs = np.stack([o[position].reshape(mine.shape[1:]) for o in expected])
        np.testing.assert_array_equal(bits(mine), bits(theirs))


def assert_both_refuse(graph: Graph, inputs: Sequence[Array], reason: str) -> None:
    """TFLite Micro refuses the model, and so does mcusim, with the reason."""
    assert oracles.tflm_refuses(write(graph), inputs)
    with pytest.raises(UnsupportedOperatorError, match=reason) as caught:
        Interpreter(graph).invoke(inputs)
    assert graph.main.operators[0].name in str(caught.value)


def shapes(least: int = 1, most: int = 4, extent: int = 5) -> st.SearchStrategy[tuple[int, ...]]:
    """Small shapes of a number of dimensions."""
    return st.lists(st.integers(1, extent), min_size=least, max_size=most).map(tuple)


def values(seed: int, shape: Sequence[int], dtype: DType, special: bool = False) -> Array:
    """Random values of a type; floats with zeros, infinities and NaN when they are special."""
    random = np.random.default_rng(seed)
    if dtype is DType.BOOL:
        return random.integers(0, 2, shape).astype(np.bool_)
    if dtype is DType.FLOAT32:
        array = random.normal(0, 4, shape).astype(np.float32)
        if special:
            choice = random.integers(0, 20, shape)
            for position, value in enumerate((0.0, -0.0, np.inf, -np.inf, np.nan)):
                array[choice == position] = value
        return array
    limits = np.iinfo(dtype.numpy)
    return random.integers(limits.min, limits.max, shape, dtype.numpy, endpoint=True)
