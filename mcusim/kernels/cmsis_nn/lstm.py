"""UNIDIRECTIONAL_SEQUENCE_LSTM as CMSIS-NN computes it, and the glue in TFLM that calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node
from mcusim.kernels.cmsis_nn.contract import (
    CaseCalls,
    Configuration,
    LibraryKernel,
    profile_name,
)
from mcusim.kernels.cmsis_nn.lstm_trips import lstm_trips
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.fixed_point import (
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_once,
)
from mcusim.kernels.lookup_tables import logistic_int16, tanh_int16
from mcusim.kernels.reference.dense import Rescaling, bind_rows
from mcusim.kernels.reference.lstm import LstmShape, StoredLstm, check_tensors

__all__ = ["CASES", "KERNELS"]

#: Positions of the inputs, and gates in the order of the weights.
_INPUT, _INPUT_WEIGHTS, _RECURRENT_WEIGHTS, _BIASES, _HIDDEN, _CELL = 0, 1, 5, 12, 18, 19
_INPUT_GATE, _FORGET_GATE, _CELL_GATE, _OUTPUT_GATE = range(4)

_FORGETS = (
    "TFLM with CMSIS-NN starts every call from states of zero and never writes the variables: "
    "outputs of the second call on differ from those of the reference kernel"
)

_Wide = npt.NDArray[np.int64]
#: A gate before its function, from rows of inputs and of the hidden state, if there is one.
_Gate = Callable[[Array, Array | None], Array]


def _accepts(node: Node, configuration: Configuration) -> bool:
    return configuration.generation == "2026" and node.input(_INPUT).dtype in (
        DType.INT8,
        DType.INT16,
    )


def _bind(node: Node, configuration: Configuration) -> BoundKernel:
    """Source: ``CMSIS_NN_PortOpData`` and ``arm_lstm_unidirectional_s8``."""
    check_tensors(node)
    shape = LstmShape.of(node)
    step = _step(node, configuration.single_rounding)
    output_type = node.output().dtype.numpy

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        x = inputs[_INPUT]
        assert x is not None
        # Steps first, then the rows of all inferences and batches, which do not touch each other.
        ordered = np.moveaxis(x, 1 if shape.time_major else 2, 0)
        rows = ordered.reshape(shape.steps, -1, shape.inputs)
        hidden: Array | None = None
        cell: Array = np.zeros((rows.shape[1], shape.units), np.int16)
        out = np.empty((shape.steps, *cell.shape), output_type)
        for position in range(shape.steps):
            hidden, cell = step(rows[position], hidden, cell)
            out[position] = hidden
        split = out.reshape(shape.steps, len(x), shape.batches, shape.units)
        return [np.moveaxis(split, 0, 1 if shape.time_major else 2)]

    return run


def _step(
    node: Node, rounds_once: bool
) -> Callable[[Array, Array | None, Array], tuple[Array, Array]]:
    """Source: ``arm_nn_lstm_step_s8`` and ``arm_nn_lstm_step_s16``."""
    quantization = StoredLstm.of(node)
    gates = [_gate(node, i, pair, rounds_once) for i, pair in enumerate(quantization.gates)]
    hidden = node.input(_HIDDEN)
    limits = np.iinfo(hidden.dtype.numpy)
    # A bound of zero or less is none.
    clip = quantization.clip
    low, high = (-32768, 32767) if clip is None or clip <= 0 else (-int(clip), int(clip))
    has_tanh = node.options.text("fused_activation_function", "NONE") == "TANH"
    scale = (
        multiply_by_quantized_multiplier_once if rounds_once else multiply_by_quantized_multiplier
    )

    def multiply(one: Array, other: Array, scaling: tuple[int, int]) -> _Wide:
        product = one.astype(np.int32) * other.astype(np.int32)
        return scale(product, *scaling).astype(np.int64)

    def step(x: Array, state: Array | None, cell: Array) -> tuple[Array, Array]:
        forget = logistic_int16(gates[_FORGET_GATE](x, state), 0, 0)
        kept = _int16(multiply(forget, cell, quantization.forget))
        update = logistic_int16(gates[_INPUT_GATE](x, state), 0, 0)
        # Where the reference kernel takes a function other than tanh for none, this takes sigmoid.
        function = tanh_int16 if has_tanh else logistic_int16
        added = multiply(update, function(gates[_CELL_GATE](x, state), 0, 0), quantization.update)
        cell = np.clip(kept + added, low, high).astype(np.int16)
        shown = logistic_int16(gates[_OUTPUT_GATE](x, state), 0, 0)
        result = multiply(shown, tanh_int16(cell, *quantization.tanh), quantization.result)
        stored = np.clip(result + hidden.zero_point, limits.min, limits.max)
        return stored.astype(hidden.dtype.numpy), cell

    return step


def _int16(x: _Wide) -> npt.NDArray[np.int16]:
    saturated: npt.NDArray[np.int16] = np.clip(x, -32768, 32767).astype(np.int16)
    return saturated


def _gate(
    node: Node, gate: int, rescalings: tuple[Rescaling, Rescaling], rounds_once: bool
) -> _Gate:
    """Source: ``arm_nn_lstm_calculate_gate_s8_s16`` and its twin.

    Products with the inputs are stored as int16; those with the hidden state are added to them in
    int32 and stored again. The library knows no zero point of weights.
    """
    dtype = node.input(_INPUT).dtype
    weights = [node.input(first + gate).data for first in (_INPUT_WEIGHTS, _RECURRENT_WEIGHTS)]
    of_weights, of_recurrent = weights
    assert of_weights is not None
    assert of_recurrent is not None
    own = replace(rescalings[0], filter_offset=0, rounds_once=rounds_once)
    limits = np.iinfo(np.int32)
    recurrent = replace(
        rescalings[1],
        filter_offset=0,
        rounds_once=rounds_once,
        low=int(limits.min),
        high=int(limits.max),
        dtype=DType.INT32,
    )
    of_input = bind_rows(of_weights, node.input(_BIASES + gate).data, own, dtype)
    of_hidden = bind_rows(of_recurrent, None, recurrent, dtype)

    def run(x: Array, state: Array | None) -> Array:
        first = of_input(x)
        return first if state is None else _int16(first.astype(np.int64) + of_hidden(state))

    return run


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    shape = LstmShape.of(node)
    dtype = node.input(_INPUT).dtype
    rows = shape.batches * shape.steps
    products = 4 * rows * shape.units * (shape.inputs + shape.units)
    functions = lstm_trips(shape, dtype, configuration.simd)
    calls = [
        KernelCall(f.function, profile_name(f.profile, configuration), f.trips) for f in functions
    ]
    calls[0] = replace(
        calls[0],
        macs=products,
        reason=f"{dtype.value}: {functions[0].function}, gate by gate",
        warnings=(_FORGETS, *_other_warnings(node)),
    )
    glue = KernelCall(
        "UnidirectionalSequenceLstmEval", profile_name("glue_lstm", configuration), {"call": 1}
    )
    return (*calls, glue)


def _other_warnings(node: Node) -> tuple[str, ...]:
    found: tuple[str, ...] = ()
    positions = (*range(_INPUT_WEIGHTS, 5), *range(_RECURRENT_WEIGHTS, 9))
    if any(node.input(position).zero_point != 0 for position in positions):
        found += ("CMSIS-NN ignores the zero point of these weights, and so do the outputs here",)
    if node.options.text("fused_activation_function", "NONE") != "TANH":
        found += ("CMSIS-NN takes sigmoid for the cell gate, the reference kernel no function",)
    return found


CASES: dict[str, CaseCalls] = {}

KERNELS: tuple[LibraryKernel, ...] = (
    LibraryKernel("UNIDIRECTIONAL_SEQUENCE_LSTM", _accepts, _bind, _calls),
)
