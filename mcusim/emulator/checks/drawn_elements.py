"""Draws layers without weights: element by element, windows, rows, and what only moves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mcusim.emulator.checks.drawing import Draw, one_operator, quantized, tensor
from mcusim.graph import DType, Graph, OptionValue, Tensor

__all__ = [
    "add",
    "average_pool_2d",
    "max_pool_2d",
    "maximum",
    "minimum",
    "mul",
    "pad",
    "softmax",
    "transpose",
]


def add(dtype: DType) -> Callable[[Draw], Graph]:
    """ADD of two tensors of one shape."""

    def drawn(draw: Draw) -> Graph:
        shape = (1, draw.between(1, 100))
        first, second = draw.fed(shape, dtype), draw.fed(shape, dtype)
        scale = max(first.scale, second.scale) * float(2.0 ** draw.random.uniform(-1, 1.5))
        output = tensor(shape, dtype, draw.quantization(dtype, scale))
        options: dict[str, OptionValue] = {
            "fused_activation_function": draw.activation(),
            "pot_scale_int16": False,
        }
        return one_operator("ADD", [first, second], output, options, "AddOptions")

    return drawn


def mul(dtype: DType) -> Callable[[Draw], Graph]:
    """MUL of two tensors of one shape."""

    def drawn(draw: Draw) -> Graph:
        shape = (1, draw.between(1, 100))
        first, second = draw.fed(shape, dtype), draw.fed(shape, dtype)
        reach = 128 if dtype is DType.INT8 else 32768
        scale = first.scale * second.scale * reach * float(2.0 ** draw.random.uniform(-3, 1))
        output = tensor(shape, dtype, draw.quantization(dtype, scale))
        options = {"fused_activation_function": draw.activation()}
        return one_operator("MUL", [first, second], output, options, "MulOptions")

    return drawn


def _extreme(name: str) -> Callable[[Draw], Graph]:
    def drawn(draw: Draw) -> Graph:
        shape = [draw.one_of(1, 1, 2), draw.between(1, 6), draw.between(1, 6), draw.between(1, 12)]
        other = list(shape)
        kind = draw.one_of("same", "scalar", "channel", "outer", "some", "some", "some", "some")
        if kind == "scalar":
            other = [1, 1, 1, 1]
        elif kind == "channel":
            other[:3] = [1, 1, 1]
        elif kind == "outer":
            other[3] = 1
        elif kind == "some":
            shape = [2, draw.between(2, 4), draw.between(2, 4), draw.between(1, 9)]
            repeated = draw.one_of((0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3))
            other = [1 if axis in repeated else extent for axis, extent in enumerate(shape)]
        pair = [shape, other] if draw.chance(0.5) else [other, shape]
        quantization = draw.quantization(DType.INT8)
        inputs = [tensor(extents, DType.INT8, quantization) for extents in pair]
        output = tensor(shape, DType.INT8, quantization)
        return one_operator(name, inputs, output, {}, "MaximumMinimumOptions")

    return drawn


maximum = _extreme("MAXIMUM")
minimum = _extreme("MINIMUM")


def _pooling(name: str) -> Callable[[DType], Callable[[Draw], Graph]]:
    def of_type(dtype: DType) -> Callable[[Draw], Graph]:
        def drawn(draw: Draw) -> Graph:
            kernel = (int(draw.random.integers(1, 5)), int(draw.random.integers(1, 5)))
            windows = draw.windows(kernel)
            channels, batches = draw.between(1, 34), draw.one_of(1, 1, 1, 2)
            quantization = draw.quantization(dtype)
            options = windows.options | {"filter_height": kernel[0], "filter_width": kernel[1]}
            return one_operator(
                name,
                [tensor((batches, *windows.inputs, channels), dtype, quantization)],
                tensor((batches, *windows.outputs, channels), dtype, quantization),
                options,
                "Pool2DOptions",
            )

        return drawn

    return of_type


average_pool_2d = _pooling("AVERAGE_POOL_2D")
max_pool_2d = _pooling("MAX_POOL_2D")


def softmax(dtype: DType, result: DType) -> Callable[[Draw], Graph]:
    """SOFTMAX of a type, with outputs of the same or a wider one."""
    of_output = {
        (DType.INT8, DType.INT8): quantized(1 / 256, -128),
        (DType.INT8, DType.INT16): quantized(1 / 65536, -32768),
        (DType.INT16, DType.INT16): quantized(1 / 32768),
    }[dtype, result]

    def drawn(draw: Draw) -> Graph:
        shape = (draw.one_of(1, 1, 2, 3), draw.between(1, 60))
        source = draw.fed(shape, dtype)
        return one_operator(
            "SOFTMAX",
            [source],
            tensor(shape, result, of_output),
            {"beta": 1.0},
            "SoftmaxOptions",
        )

    return drawn


def _constant(values: list[int] | list[list[int]]) -> Tensor:
    array = np.array(values, np.int32)
    return tensor(array.shape, DType.INT32, None, array)


def pad(draw: Draw) -> Graph:
    """PAD of int8, on all sides of four dimensions."""
    shape = [draw.one_of(1, 1, 2), draw.between(1, 6), draw.between(1, 6), draw.between(1, 20)]
    edges = [[draw.one_of(0, 0, 1, 2, 3), draw.one_of(0, 0, 1, 2)] for _ in shape]
    if draw.chance(0.6):
        edges[0] = edges[3] = [0, 0]
    quantization = draw.quantization(DType.INT8)
    made = [extent + sum(edge) for extent, edge in zip(shape, edges, strict=True)]
    return one_operator(
        "PAD",
        [tensor(shape, DType.INT8, quantization), _constant(edges)],
        tensor(made, DType.INT8, quantization),
        {},
        "PadOptions",
    )


def transpose(draw: Draw) -> Graph:
    """TRANSPOSE of int8 in one to four dimensions."""
    rank = draw.one_of(1, 2, 3, 3, 4, 4, 4)
    shape = [draw.between(1, 9) for _ in range(rank)]
    order = [int(i) for i in draw.random.permutation(rank)]
    quantization = draw.quantization(DType.INT8)
    return one_operator(
        "TRANSPOSE",
        [tensor(shape, DType.INT8, quantization), _constant(order)],
        tensor([shape[i] for i in order], DType.INT8, quantization),
        {},
        "TransposeOptions",
    )
