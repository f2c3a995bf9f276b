"""How CMSIS-NN's functions with a memory are called: SVDF and LSTM.

Source: ``arm_nnfunctions.h`` and ``arm_nn_types.h`` of CMSIS 5.9.0 to CMSIS-NN 4ab83cc (2026), and
what TFLM's glue passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from mcusim.emulator.arguments import Argument, Pointer, Struct
from mcusim.emulator.checks.contract import (
    Case,
    FunctionCall,
    LibraryFunction,
    Version,
    context,
    dims,
)
from mcusim.graph import Array
from mcusim.kernels.reference.lstm import LstmShape, StoredLstm
from mcusim.kernels.reference.svdf import stored_parameters

__all__ = ["FUNCTIONS"]

_STATE = 4
_WEIGHTS, _RECURRENT_WEIGHTS, _BIASES, _HIDDEN = 1, 5, 12, 18
#: Gates by position among the weights: input, forget, cell, output.
_INPUT_GATE, _FORGET_GATE, _CELL_GATE, _OUTPUT_GATE = range(4)
_SIGMOID, _TANH = 0, 1


def _svdf(case: Case, *, sums: Sequence[Argument] = ()) -> FunctionCall:
    node = case.node
    shape, parameters = stored_parameters(node)
    state, output = case.value(_STATE).copy(), case.unwritten()
    buffers = [
        np.full(4 * shape.batches * count, 0xA5, np.uint8) for count in (shape.filters, shape.units)
    ]
    settings = Struct.of(
        node.options.integer("rank", 1),
        parameters.input_zero_point,
        parameters.output_zero_point,
        *(-32768, 32767),
        *(-128, 127),
    )
    arguments = (
        *sums,
        *(context(buffer) for buffer in buffers),
        Pointer(settings),
        Pointer(Struct.of(*parameters.feature)),
        Pointer(Struct.of(*parameters.result)),
        dims(*case.value(0).shape, 1, 1),
        case.value(0),
        dims(*state.shape, 1, 1),
        state,
        dims(*case.value(1).shape, 1, 1),
        case.value(1),
        dims(*case.value(2).shape, 1, 1),
        case.value(2),
        dims(shape.units, 1, 1, 1),
        case.value(3),
        dims(*output.shape, 1, 1),
        output,
    )
    states = {"state": (state, case.kept[_STATE])}
    return FunctionCall(arguments, output, states, tuple(buffers))


def _sums(weights: Array, offset: int, bias: Array | None, kind: type[np.generic]) -> Array:
    """``arm_vector_sum_s8``: what an offset of the input adds to each sum, with the bias."""
    total = weights.astype(np.int64).sum(axis=1) * offset
    return np.asarray((total if bias is None else total + bias).astype(kind))


def _lstm(case: Case) -> FunctionCall:
    node = case.node
    shape, quantization = LstmShape.of(node), StoredLstm.of(node)
    source, hidden = node.input(0), node.input(_HIDDEN)
    output = case.unwritten()
    kind = np.int32 if output.dtype == np.int8 else np.int64

    def gate(position: int, activation: int) -> Struct:
        weights = case.value(_WEIGHTS + position)
        recurrent = case.value(_RECURRENT_WEIGHTS + position)
        bias = case.value(_BIASES + position)
        of_input, of_hidden = quantization.gates[position]
        return Struct.of(
            *(int(of_input.multipliers[0]), int(of_input.shifts[0])),
            *(weights, _sums(weights, -source.zero_point, bias, kind)),
            *(int(of_hidden.multipliers[0]), int(of_hidden.shifts[0])),
            *(recurrent, _sums(recurrent, -hidden.zero_point, None, kind)),
            *(bias, activation),
        )

    parameters = Struct.of(
        int(shape.time_major),
        *(shape.batches, shape.steps, shape.inputs, shape.units),
        -source.zero_point,
        *quantization.forget,
        *quantization.update,
        int(quantization.clip or 32767),
        # The library adds 12, the fraction bits of tanh's argument.
        quantization.tanh[1] - 12,
        *quantization.result,
        hidden.zero_point,
        gate(_FORGET_GATE, _SIGMOID),
        gate(_INPUT_GATE, _SIGMOID),
        gate(_CELL_GATE, _TANH),
        gate(_OUTPUT_GATE, _SIGMOID),
    )
    buffers = [np.full(2 * shape.batches * shape.units, 0xA5, np.uint8) for _ in range(3)]
    arguments = (
        case.value(0),
        output,
        Pointer(parameters),
        Pointer(Struct.of(*buffers, None)),
    )
    return FunctionCall(arguments, output, buffers=tuple(buffers))


_SVDF = (
    "input_ctx",
    "output_ctx",
    "svdf_params",
    "input_quant_params",
    "output_quant_params",
    "input_dims",
    "input_data",
    "state_dims",
    "state_data",
    "weights_feature_dims",
    "weights_feature_data",
    "weights_time_dims",
    "weights_time_data",
    "bias_dims",
    "bias_data",
    "output_dims",
    "output_data",
)

FUNCTIONS: tuple[LibraryFunction, ...] = (
    LibraryFunction(
        "arm_svdf_s8",
        "SVDF, state of int8",
        (
            Version(
                "CMSIS-NN 5.0.0 and later", ("ctx", *_SVDF), partial(_svdf, sums=(context(None),))
            ),
            Version("CMSIS 5.9.0 to CMSIS-NN 4.0.0", _SVDF, _svdf),
        ),
    ),
    LibraryFunction(
        "arm_svdf_state_s16_s8",
        "SVDF, state of int16",
        (Version("CMSIS 5.9.0 and later", _SVDF, _svdf),),
    ),
    *(
        LibraryFunction(
            f"arm_lstm_unidirectional_{ending}",
            f"UNIDIRECTIONAL_SEQUENCE_LSTM {kind}",
            (Version("CMSIS-NN 6.0.0 and later", ("input", "output", "params", "buffers"), _lstm),),
        )
        for ending, kind in (("s8", "int8"), ("s16", "int16"))
    ),
)
