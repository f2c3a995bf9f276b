"""How the kernels of ``kernels/device`` are called, so that a build of them can be checked."""

from __future__ import annotations

import numpy as np

from mcusim.calibration.device_layers import Field, device_layer
from mcusim.emulator.arguments import Argument, Pointer, Struct
from mcusim.emulator.checks.contract import Case, FunctionCall, LibraryFunction, Version

__all__ = ["FUNCTIONS"]


def _struct(fields: tuple[Field, ...]) -> Struct:
    return Struct(tuple(_struct(f) if isinstance(f, tuple) else f for f in fields))


def _call(case: Case) -> FunctionCall:
    layer = device_layer(case.node)
    assert layer is not None
    output = case.unwritten()
    is_weighted = layer.weights is not None
    arguments: list[Argument] = [Pointer(_struct(layer.fields))]
    arguments += case.values[: 1 if is_weighted else None]
    column = np.full(layer.column_bytes, 0xA5, np.uint8)
    if is_weighted:
        arguments += [layer.weights, layer.bias]
    if layer.function == "mcusim_convolve_s8":
        arguments.append(column)
    arguments.append(output)
    return FunctionCall(tuple(arguments), output, buffers=(column,), returns_status=False)


def _function(name: str, cases: str, *parameters: str) -> LibraryFunction:
    return LibraryFunction(
        name, cases, (Version("kernels/device", ("shape", *parameters, "output"), _call),)
    )


_WEIGHTED = ("input", "weights", "bias")

#: The functions of ``kernels/device/source/kernels.h``.
FUNCTIONS: tuple[LibraryFunction, ...] = (
    _function("mcusim_convolve_s8", "CONV_2D int8", *_WEIGHTED, "column"),
    _function("mcusim_depthwise_s8", "DEPTHWISE_CONV_2D int8", *_WEIGHTED),
    _function("mcusim_dense_s8", "FULLY_CONNECTED int8", *_WEIGHTED),
    _function("mcusim_average_pool_s8", "AVERAGE_POOL_2D int8", "input"),
    _function("mcusim_max_pool_s8", "MAX_POOL_2D int8", "input"),
    _function("mcusim_add_s8", "ADD int8", "first", "second"),
    _function("mcusim_softmax_s8", "SOFTMAX int8", "input"),
)
