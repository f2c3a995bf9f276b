"""Operators on height and width against the TFLite Micro interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mcusim.graph import DType
from mcusim.interpreter import Interpreter
from mcusim.tflite import write
from tests import oracles
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, values
from tests.oracles import activation, constant, quantized

INT8, INT16, FLOAT32, INT32 = DType.INT8, DType.INT16, DType.FLOAT32, DType.INT32
TWO_TYPES = st.sampled_from((INT8, FLOAT32))
EXTENT = st.integers(1, 4)
SEEDS = st.integers(0, 1 << 30)


@settings(max_examples=25)
@given(dtype=TWO_TYPES, shape=st.tuples(EXTENT, EXTENT, EXTENT, EXTENT), block=EXTENT, seed=SEEDS)
def test_space_and_depth(
    dtype: DType, shape: tuple[int, int, int, int], block: int, seed: int
) -> None:
    n, height, width, depth = shape
    wide = (n, height * block, width * block, depth)
    deep = (n, height, width, depth * block * block)
    for name, before, after, options in (
        ("SPACE_TO_DEPTH", wide, deep, "SpaceToDepthOptions"),
        ("DEPTH_TO_SPACE", deep, wide, "DepthToSpaceOptions"),
    ):
        graph = model(
            name, [activation(before, dtype)], [activation(after, dtype)], options, block_size=block
        )
        assert_agrees(graph, [values(seed, before, dtype)], [values(seed + 1, before, dtype)])


def test_space_to_depth_of_int16_is_refused() -> None:
    graph = model(
        "SPACE_TO_DEPTH",
        [activation((1, 2, 2, 1), INT16)],
        [activation((1, 1, 1, 4), INT16)],
        "SpaceToDepthOptions",
        block_size=2,
    )
    assert_both_refuse(graph, [np.zeros((1, 2, 2, 1), np.int16)], "the output is int16")


@settings(max_examples=50)
@given(
    dtype=TWO_TYPES,
    n=st.integers(1, 2),
    blocks=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    tiles=st.tuples(EXTENT, EXTENT),
    edges=st.tuples(*[st.integers(0, 2)] * 4),
    depth=EXTENT,
    flat=st.booleans(),
    zero=st.integers(-128, 127),
    seed=SEEDS,
)
def test_space_and_batch(
    dtype: DType,
    n: int,
    blocks: tuple[int, int],
    tiles: tuple[int, int],
    edges: tuple[int, int, int, int],
    depth: int,
    flat: bool,
    zero: int,
    seed: int,
) -> None:
    dimensions = 1 if flat else 2
    padded = [b * t for b, t in zip(blocks, tiles, strict=True)][:dimensions]
    pairs = np.array(edges, np.int32).reshape(2, 2)[:dimensions]
    inner = [e - int(p.sum()) for e, p in zip(padded, pairs, strict=True)]
    assume(min(inner) > 0)
    space = (n, *inner, depth)
    batch = (n * int(np.prod(blocks[:dimensions])), *tiles[:dimensions], depth)
    quantization = quantized(0.5, zero) if dtype is INT8 else None
    block_tensor = constant(np.array(blocks[:dimensions], np.int32))
    for name, before, after, options in (
        ("SPACE_TO_BATCH_ND", space, batch, "SpaceToBatchNDOptions"),
        ("BATCH_TO_SPACE_ND", batch, space, "BatchToSpaceNDOptions"),
    ):
        graph = model(
            name,
            [activation(before, dtype, quantization), block_tensor, constant(pairs)],
            [activation(after, dtype, quantization)],
            options,
        )
        x = values(seed, before, dtype)
        if name == "BATCH_TO_SPACE_ND" or not pairs.any():
            assert_agrees(graph, [x], [values(seed + 1, before, dtype)])
            continue
        # TFLM never sets its padding value: zero where memory starts as zeros, as on a device.
        (mine,), ((theirs,),) = (
            Interpreter(graph).invoke(x).outputs,
            oracles.tflm(write(graph), [x]),
        )
        inside = Interpreter(graph).invoke(np.ones_like(x)).outputs[0] != 0
        np.testing.assert_array_equal(mine[inside], theirs[inside])
        assert not mine[~inside].any()
        assert np.count_nonzero(inside) == x.size


@st.composite
def resizes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], bool, bool]:
    shape = (
        draw(st.integers(1, 2)),
        draw(st.integers(1, 7)),
        draw(st.integers(1, 7)),
        draw(EXTENT),
    )
    output = (shape[0], draw(st.integers(1, 15)), draw(st.integers(1, 15)), shape[3])
    align, half = draw(st.sampled_from(((False, False), (True, False), (False, True))))
    return shape, output, align, half


@pytest.mark.parametrize("name", ["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
@settings(max_examples=80)
@given(
    dtype=st.sampled_from((INT8, FLOAT32, INT16)),
    resize=resizes(),
    both=st.booleans(),
    seed=SEEDS,
)
def test_resize(
    name: str,
    dtype: DType,
    resize: tuple[tuple[int, ...], tuple[int, ...], bool, bool],
    both: bool,
    seed: int,
) -> None:
    shape, output, align, half = resize
    bilinear = name == "RESIZE_BILINEAR"
    if bilinear and dtype is INT16:
        return
    if both and not bilinear:
        align = half = True
    graph = model(
        name,
        [activation(shape, dtype), constant(np.array(output[1:3], np.int32))],
        [activation(output, dtype)],
        "ResizeBilinearOptions" if bilinear else "ResizeNearestNeighborOptions",
        align_corners=align,
        half_pixel_centers=half,
    )
    calls = [[values(seed + c, shape, dtype)] for c in (0, 1)]
    if bilinear and dtype is INT8:
        calls.append([np.full(shape, -128, np.int8)])
    assert_agrees(graph, *calls)


@pytest.mark.parametrize(
    ("dtype", "align", "half", "reason"),
    [(INT16, False, False, "the output is int16"), (INT8, True, True, "exclude each other")],
)
def test_resize_bilinear_refuses(dtype: DType, align: bool, half: bool, reason: str) -> None:
    graph = model(
        "RESIZE_BILINEAR",
        [activation((1, 2, 2, 1), dtype), constant(np.array([4, 4], np.int32))],
        [activation((1, 4, 4, 1), dtype)],
        "ResizeBilinearOptions",
        align_corners=align,
        half_pixel_centers=half,
    )
    assert_both_refuse(graph, [values(0, (1, 2, 2, 1), dtype)], reason)


def test_computed_sizes_are_refused() -> None:
    graph = model(
        "RESIZE_NEAREST_NEIGHBOR",
        [activation((1, 2, 2, 1), INT8), activation((2,), INT32)],
        [activation((1, 4, 4, 1), INT8)],
        "ResizeNearestNeighborOptions",
    )
    inputs = [np.zeros((1, 2, 2, 1), np.int8), np.array([4, 4], np.int32)]
    assert_both_refuse(graph, inputs, "not a constant")
