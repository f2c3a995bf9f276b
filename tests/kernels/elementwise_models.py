"""Draws what elementwise operators are searched with: broadcast shapes, quantizations, values."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from mcusim.graph import Array, DType, Graph, Quantization
from mcusim.interpreter import Interpreter
from mcusim.tflite import write
from tests import oracles

__all__ = ["assert_within_one_unit", "broadcast_shapes", "floats", "quantizations"]

Shape = tuple[int, ...]


@st.composite
def broadcast_shapes(
    draw: st.DrawFn, operands: int = 2, rank: int = 5, extent: int = 4
) -> tuple[tuple[Shape, ...], Shape]:
    """Shapes of operands, and the shape that they broadcast to."""
    whole = draw(st.lists(st.integers(1, extent), max_size=rank))
    shapes = []
    for _ in range(operands):
        kept = draw(st.integers(0, len(whole)))
        narrow = draw(st.lists(st.booleans(), min_size=kept, max_size=kept))
        tail = whole[len(whole) - kept :]
        shapes.append(tuple(1 if one else n for one, n in zip(narrow, tail, strict=True)))
    return tuple(shapes), tuple(int(n) for n in np.broadcast_shapes(*shapes))


def quantizations(
    dtype: DType, least: float = 1e-3, most: float = 1.0
) -> st.SearchStrategy[Quantization]:
    """Scales evenly on a logarithm, with powers of two; zero points where the type has any."""
    exponents = st.floats(math.log2(least), math.log2(most), exclude_max=True)
    scales = st.one_of(exponents, exponents.map(math.floor)).map(
        lambda e: float(np.float32(2.0**e))
    )
    if dtype is DType.INT16:
        return st.builds(oracles.quantized, scales)
    limits = np.iinfo(dtype.numpy)
    return st.builds(oracles.quantized, scales, st.integers(int(limits.min), int(limits.max)))


def floats(seed: int, shape: Shape) -> Array:
    """Float32 of all kinds: halves, huge, tiny, any bits at all, zeros, infinities and NaN."""
    random = np.random.default_rng(seed)
    plain = random.uniform(-10, 10, shape)
    kinds = [
        plain,
        np.round(plain * 2) / 2,
        plain * 10.0 ** random.integers(-30, 30, shape),
        random.integers(0, 1 << 32, shape, np.uint64).astype(np.uint32).view(np.float32),
        random.choice([0.0, -0.0, np.inf, -np.inf, np.nan], shape),
    ]
    with np.errstate(all="ignore"):
        singles = [np.asarray(kind, np.float64).astype(np.float32) for kind in kinds]
    choice = random.choice(len(kinds), shape, p=[0.5, 0.2, 0.1, 0.1, 0.1])
    return np.choose(choice, singles).astype(np.float32)


def assert_within_one_unit(graph: Graph, array: Array) -> None:
    """Floats that the C library computed for TFLite Micro and mcusim's are neighbours at most."""
    theirs = oracles.tflm(write(graph), [array])[0][0]
    mine = Interpreter(graph).invoke([array]).outputs[0]
    np.testing.assert_array_equal(np.isnan(mine), np.isnan(theirs))
    steps = _ordered(mine) - _ordered(theirs)
    assert np.abs(steps[~np.isnan(mine)]).max(initial=0) <= 1


def _ordered(array: Array) -> Array:
    """Whole numbers in the order of the floats, one apart for neighbours."""
    bits = array.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
