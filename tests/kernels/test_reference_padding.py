"""PAD, PADV2 and MIRROR_PAD against the TFLite Micro interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.graph import DType
from tests.kernels.agreement import assert_agrees, assert_both_refuse, model, shapes, values
from tests.oracles import activation, constant, quantized

INT8, INT16, FLOAT32, INT32 = DType.INT8, DType.INT16, DType.FLOAT32, DType.INT32


@settings(max_examples=80)
@given(
    dtype=st.sampled_from((INT8, INT16, INT32, FLOAT32)),
    shape=shapes(1, 5, 4),
    zero=st.integers(-128, 127),
    valued=st.booleans(),
    least=st.sampled_from((0, 0, -1)),
    data=st.data(),
)
def test_pad(
    dtype: DType,
    shape: tuple[int, ...],
    zero: int,
    valued: bool,
    least: int,
    data: st.DataObject,
) -> None:
    """Negative paddings too: TFLM does not crop, it goes on reading in memory order."""
    paddings = [(data.draw(st.integers(least, 3)), data.draw(st.integers(least, 3))) for _ in shape]
    output = [n + a + b for n, (a, b) in zip(shape, paddings, strict=True)]
    if min(output) < 1:
        return
    quantization = quantized(0.5, zero) if dtype is INT8 else None
    inputs = [
        activation(shape, dtype, quantization),
        constant(np.array(paddings, np.int32)),
    ]
    calls = [[values(seed, shape, dtype)] for seed in (1, 2)]
    if valued:
        inputs.append(activation((1,), dtype, quantization))
        calls = [[*call, values(seed, (1,), dtype)] for seed, call in enumerate(calls)]
    graph = model(
        "PADV2" if valued else "PAD",
        inputs,
        [activation(output, dtype, quantization)],
        "PadV2Options" if valued else "PadOptions",
    )
    assert_agrees(graph, *calls)


def test_the_padding_value_has_the_scale_of_the_output() -> None:
    graph = model(
        "PADV2",
        [
            activation((2,), INT8, quantized(0.5)),
            constant(np.array([[1, 1]], np.int32)),
            activation((1,), INT8, quantized(0.25)),
        ],
        [activation((4,), INT8, quantized(0.5))],
        "PadV2Options",
    )
    assert_both_refuse(graph, [np.zeros(2, np.int8), np.zeros(1, np.int8)], "padding value")


def test_computed_paddings_are_refused() -> None:
    graph = model(
        "PAD",
        [activation((2,), INT8, quantized(0.5)), activation((1, 2), INT32)],
        [activation((4,), INT8, quantized(0.5))],
        "PadOptions",
    )
    inputs = [np.zeros(2, np.int8), np.array([[1, 1]], np.int32)]
    assert_both_refuse(graph, inputs, "not a constant")


@settings(max_examples=60)
@given(
    dtype=st.sampled_from((INT8, FLOAT32)),
    shape=shapes(1, 4, 5),
    mode=st.sampled_from(("REFLECT", "SYMMETRIC")),
    index=st.sampled_from((np.int32, np.int64)),
    constant_paddings=st.booleans(),
    data=st.data(),
)
def test_mirror_pad(
    dtype: DType,
    shape: tuple[int, ...],
    mode: str,
    index: type[np.signedinteger],
    constant_paddings: bool,
    data: st.DataObject,
) -> None:
    most = 1 if mode == "REFLECT" else 0
    paddings = np.array(
        [[data.draw(st.integers(0, extent - most)) for _ in range(2)] for extent in shape], index
    )
    output = [n + int(p.sum()) for n, p in zip(shape, paddings, strict=True)]
    matrix = (
        constant(paddings)
        if constant_paddings
        else activation(paddings.shape, DType(paddings.dtype.name))
    )
    graph = model(
        "MIRROR_PAD",
        [activation(shape, dtype), matrix],
        [activation(output, dtype)],
        "MirrorPadOptions",
        mode=mode,
    )
    given_paddings = [] if constant_paddings else [paddings]
    assert_agrees(
        graph,
        [values(1, shape, dtype), *given_paddings],
        [values(2, shape, dtype), *given_paddings],
    )


@pytest.mark.parametrize("dtype", [INT16, INT32])
def test_mirror_pad_refuses(dtype: DType) -> None:
    graph = model(
        "MIRROR_PAD",
        [activation((3,), dtype), constant(np.array([[1, 1]], np.int32))],
        [activation((5,), dtype)],
        "MirrorPadOptions",
    )
    assert_both_refuse(graph, [values(0, (3,), dtype)], f"the output is {dtype.value}")
