"""How CMSIS-NN's functions without weights are called.

Source: ``arm_nnfunctions.h`` and ``arm_nn_types.h`` of CMSIS 5.7.0 to CMSIS-NN 4ab83cc (2026), and
what TFLM's glue passes.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from mcusim.emulator.arguments import Pointer, Struct
from mcusim.emulator.checks.contract import (
    Case,
    FunctionCall,
    LibraryFunction,
    Version,
    context,
    dims,
)
from mcusim.graph import Array, Node
from mcusim.kernels.cmsis_nn.elementwise_arithmetic import product_of, sum_of
from mcusim.kernels.fixed_point import activation_range_quantized, quantize_multiplier
from mcusim.kernels.lookup_tables import int16_table
from mcusim.kernels.reference.pooling import Pooling
from mcusim.kernels.reference.softmax_scaling import InputScaling

__all__ = ["FUNCTIONS"]


def _add(case: Case) -> FunctionCall:
    numbers, output = sum_of(case.node), case.unwritten()
    one, other = numbers.operands
    arguments = (
        case.value(0),
        case.value(1),
        *(numbers.offsets[0], one.multiplier, one.shift),
        *(numbers.offsets[1], other.multiplier, other.shift),
        numbers.left_shift,
        output,
        *(numbers.output_offset, numbers.output.multiplier, numbers.output.shift),
        *numbers.limits,
        output.size,
    )
    return FunctionCall(arguments, output)


def _mul(case: Case) -> FunctionCall:
    numbers, output = product_of(case.node), case.unwritten()
    arguments = (
        case.value(0),
        case.value(1),
        *numbers.offsets,
        output,
        *(numbers.output_offset, numbers.output.multiplier, numbers.output.shift),
        *numbers.limits,
        output.size,
    )
    return FunctionCall(arguments, output)


def _extreme(case: Case) -> FunctionCall:
    output = case.unwritten()
    arguments = (
        context(None),
        case.value(0),
        dims(*case.node.input(0).shape),
        case.value(1),
        dims(*case.node.input(1).shape),
        output,
        dims(*output.shape),
    )
    return FunctionCall(arguments, output)


def _limits(node: Node) -> tuple[int, int]:
    output = node.output()
    activation = node.options.text("fused_activation_function", "NONE")
    return activation_range_quantized(activation, output.dtype, output.scale, output.zero_point)


def _pooling(case: Case) -> FunctionCall:
    pooling = Pooling.of(case.node)
    rows, columns = pooling.height, pooling.width
    scratch, output = case.scratch(), case.unwritten()
    parameters = Struct.of(
        *(columns.stride, rows.stride),
        *(columns.padding, rows.padding),
        *_limits(case.node),
    )
    arguments = (
        context(scratch),
        Pointer(parameters),
        dims(*case.node.input(0).shape),
        case.value(0),
        dims(1, rows.filter, columns.filter, 1),
        dims(*output.shape),
        output,
    )
    return FunctionCall(arguments, output, buffers=(scratch,))


def _rows(case: Case) -> tuple[Array, int, int]:
    shape = case.node.input(0).shape
    return case.value(0), case.expected.size // shape[-1], shape[-1]


def _softmax(case: Case) -> FunctionCall:
    node, output = case.node, case.unwritten()
    scaling = InputScaling.of(node.input(0).scale, node.options.real("beta", 1.0))
    arguments = (
        *_rows(case),
        *(scaling.multiplier, scaling.left_shift, scaling.least_difference),
        output,
    )
    return FunctionCall(arguments, output, returns_status=False)


@cache
def _tables() -> tuple[Array, Array]:
    """exp from -10 to 0 and 1 / (1 + x) from 0 to 1, which TFLM works out in its Prepare.

    Source: ``InitializeLutForInt16``.
    """
    unit = float(np.float32(1) / np.float32(65535))
    ten = float(np.float32(10) / np.float32(65535))
    return (
        int16_table(
            lambda x: np.exp(x.astype(np.float64)).astype(np.float32), ten, 32767, 2 * unit, 0
        ),
        int16_table(lambda x: np.float32(1) / (np.float32(1) + x), unit, -32768, 2 * unit, 0),
    )


def _softmax_by_table(case: Case) -> FunctionCall:
    node, output = case.node, case.unwritten()
    real = node.input(0).scale * node.options.real("beta", 1.0) / (10.0 / 65535.0)
    arguments = (
        *_rows(case),
        *quantize_multiplier(real),
        Pointer(Struct.of(*_tables())),
        output,
    )
    return FunctionCall(arguments, output)


def _pad(case: Case) -> FunctionCall:
    node, output = case.node, case.unwritten()
    edges = case.value(1)
    before, after = (
        Pointer(Struct(tuple(int(edge) for edge in edges[:, side]))) for side in (0, 1)
    )
    arguments = (
        case.value(0),
        output,
        node.output().zero_point,
        dims(*node.input(0).shape),
        before,
        after,
    )
    return FunctionCall(arguments, output)


def _transpose(case: Case) -> FunctionCall:
    node, output = case.node, case.unwritten()
    order = case.value(1).astype(np.uint32)

    def shape_of(extents: tuple[int, ...]) -> Pointer:
        return dims(*extents, *(1,) * (4 - len(extents)))

    arguments = (
        case.value(0),
        output,
        shape_of(node.input(0).shape),
        shape_of(node.output().shape),
        Pointer(Struct.of(order.size, order)),
    )
    return FunctionCall(arguments, output)


_SUM = (
    "input_1_vect",
    "input_2_vect",
    "input_1_offset",
    "input_1_mult",
    "input_1_shift",
    "input_2_offset",
    "input_2_mult",
    "input_2_shift",
    "left_shift",
    "output",
    "out_offset",
    "out_mult",
    "out_shift",
    "out_activation_min",
    "out_activation_max",
    "block_size",
)
_PRODUCT = (*_SUM[:3], "input_2_offset", *_SUM[9:])
_EXTREME = (
    "ctx",
    "input_1_data",
    "input_1_dims",
    "input_2_data",
    "input_2_dims",
    "output_data",
    "output_dims",
)
_POOLING = (
    "ctx",
    "pool_params",
    "input_dims",
    "input_data",
    "filter_dims",
    "output_dims",
    "output_data",
)
_SOFTMAX = ("input", "num_rows", "row_size", "mult", "shift", "diff_min", "output")


def _functions(
    stem: str, operator: str, parameters: tuple[str, ...], call: partial[FunctionCall]
) -> tuple[LibraryFunction, ...]:
    """The function of int8 and that of int16."""
    return tuple(
        LibraryFunction(
            f"{stem}_{ending}", f"{operator} {kind}", (Version(releases, parameters, call),)
        )
        for ending, kind, releases in (
            ("s8", "int8", "CMSIS 5.8.0 and later"),
            ("s16", "int16", "CMSIS 5.9.0 and later"),
        )
    )


FUNCTIONS: tuple[LibraryFunction, ...] = (
    *_functions("arm_elementwise_add", "ADD", _SUM, partial(_add)),
    *_functions("arm_elementwise_mul", "MUL", _PRODUCT, partial(_mul)),
    *_functions("arm_avgpool", "AVERAGE_POOL_2D", _POOLING, partial(_pooling)),
    *_functions("arm_max_pool", "MAX_POOL_2D", _POOLING, partial(_pooling)),
    *(
        LibraryFunction(
            f"arm_{name.lower()}_s8",
            f"{name} int8",
            (Version("CMSIS-NN 7.0.0 and later", _EXTREME, _extreme),),
        )
        for name in ("MAXIMUM", "MINIMUM")
    ),
    LibraryFunction(
        "arm_softmax_s8", "SOFTMAX int8", (Version("CMSIS 5.7.0 and later", _SOFTMAX, _softmax),)
    ),
    LibraryFunction(
        "arm_softmax_s8_s16",
        "SOFTMAX int8 to int16",
        (Version("CMSIS 5.9.0 and later", _SOFTMAX, _softmax),),
    ),
    LibraryFunction(
        "arm_softmax_s16",
        "SOFTMAX int16",
        (
            Version(
                "CMSIS 5.9.0 and later",
                (*_SOFTMAX[:5], "softmax_params", "output"),
                _softmax_by_table,
            ),
        ),
    ),
    LibraryFunction(
        "arm_pad_s8",
        "PAD int8",
        (
            Version(
                "CMSIS-NN 7.0.0 and later",
                ("input", "output", "pad_value", "input_size", "pre_pad", "post_pad"),
                _pad,
            ),
        ),
    ),
    LibraryFunction(
        "arm_transpose_s8",
        "TRANSPOSE int8",
        (
            Version(
                "CMSIS-NN 7.0.0 and later",
                ("input_data", "output_data", "input_dims", "output_dims", "transpose_params"),
                _transpose,
            ),
        ),
    ),
)
