"""UNIDIRECTIONAL_SEQUENCE_LSTM; its hidden state and its cell state are variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import Binder, BoundKernel, Kernel, KernelCall
from mcusim.kernels.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from mcusim.kernels.lookup_tables import logistic_int16, tanh_int16
from mcusim.kernels.reference.checks import is_quantized, refuse, require, supported
from mcusim.kernels.reference.dense import Rescaling, bind_rows, product_multiplier

__all__ = ["KERNELS", "LstmShape", "StoredLstm", "check_tensors", "trips"]

#: Positions of the inputs: of weights and biases the first of four, by gate.
_INPUT, _INPUT_WEIGHTS, _RECURRENT_WEIGHTS, _BIASES, _HIDDEN, _CELL = 0, 1, 5, 12, 18, 19
#: Gates in the order of the weights.
_INPUT_GATE, _FORGET_GATE, _CELL_GATE, _OUTPUT_GATE = range(4)
#: Inputs of variants that the kernel does not have: peepholes, projection, layer normalization.
_VARIANTS = (9, 10, 11, 16, 17, 20, 21, 22, 23)

#: Scales of what goes into a gate's function, and of what comes out.
_FUNCTION_INPUT, _FUNCTION_OUTPUT = 2.0**-12, 2.0**-15

#: Computes a step: from rows of inputs, hidden and cell state to both states.
_Cell = Callable[[Array, Array, Array], tuple[Array, Array]]

#: Computes a gate, before its function, from rows of inputs and rows of the hidden state.
_Gate = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class LstmShape:
    """Shape of an LSTM.

    Attributes:
        batches: sequences.
        steps: elements of a sequence.
        inputs: extent of an element.
        units: extent of the states.
        time_major: steps come before batches in input and output; the library then computes all
            batches of a step at once.
    """

    batches: int
    steps: int
    inputs: int
    units: int
    time_major: bool

    @classmethod
    def of(cls, node: Node) -> LstmShape:
        """Shape of a node, refused where the library refuses it.

        Raises:
            UnsupportedOperatorError: shapes do not fit each other.

        Source: ``CreateLstmSizeInfo`` and ``ValidateTensorSize``.
        """
        require(len(node.inputs) == 24, node, f"has {len(node.inputs)} inputs, not 24")
        require(len(node.outputs) == 1, node, f"has {len(node.outputs)} outputs, not 1")
        source, hidden, cell = node.input(_INPUT), node.input(_HIDDEN), node.input(_CELL)
        require(len(source.shape) == 3, node, f"the input has shape {source.shape}")
        require(len(hidden.shape) == 2, node, f"the hidden state has shape {hidden.shape}")
        time_major = node.options.flag("time_major")
        steps, batches = source.shape[:2] if time_major else source.shape[1::-1]
        shape = cls(batches, steps, source.shape[2], hidden.shape[1], time_major)
        expected = {
            _INPUT_WEIGHTS: (shape.units, shape.inputs),
            _RECURRENT_WEIGHTS: (shape.units, shape.units),
            _BIASES: (shape.units,),
        }
        for first, wanted in expected.items():
            for position in range(first, first + 4):
                actual = node.input(position).shape
                require(actual == wanted, node, f"input {position} is {actual}, not {wanted}")
        for state, what in ((hidden, "hidden state"), (cell, "cell state")):
            require(
                state.elements == shape.batches * shape.units,
                node,
                f"the {what} has shape {state.shape}",
            )
        output = node.output().shape
        require(output == (*source.shape[:2], shape.units), node, f"the output has shape {output}")
        return shape


def _prepare(node: Node) -> Binder:
    """Source: ``UnidirectionalSequenceLstmPrepare``."""
    check_tensors(node)
    shape = LstmShape.of(node)
    if node.input(_INPUT).dtype is DType.FLOAT32:
        return partial(_bind, node, shape, partial(_bind_float, node))
    return partial(_bind, node, shape, partial(_bind_stored, node, StoredLstm.of(node)))


def _bind(node: Node, shape: LstmShape, bind_cell: Callable[[], _Cell]) -> BoundKernel:
    """Source: ``EvalLstm``."""
    dtype = node.input(_INPUT).dtype
    cell = bind_cell()
    output_type = dtype.numpy

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        x, hidden_state, cell_state = inputs[_INPUT], inputs[_HIDDEN], inputs[_CELL]
        assert x is not None
        assert hidden_state is not None
        assert cell_state is not None
        # Steps first, then the rows of all inferences and batches, which do not touch each other.
        ordered = np.moveaxis(x, 1 if shape.time_major else 2, 0)
        rows = ordered.reshape(shape.steps, -1, shape.inputs)
        hidden = hidden_state.reshape(-1, shape.units)
        memory = cell_state.reshape(-1, shape.units)
        out = np.empty((shape.steps, len(hidden), shape.units), output_type)
        for step in range(shape.steps):
            hidden, memory = cell(rows[step], hidden, memory)
            out[step] = hidden
        hidden_state[...] = hidden.reshape(hidden_state.shape)
        cell_state[...] = memory.reshape(cell_state.shape)
        split = out.reshape(shape.steps, len(x), shape.batches, shape.units)
        return [np.moveaxis(split, 0, 1 if shape.time_major else 2)]

    return run


def check_tensors(node: Node) -> None:
    """Check types and presence of all tensors.

    Raises:
        UnsupportedOperatorError: the library refuses one.

    Source: ``LstmTensors::ValidateTensorStatus``.
    """
    require(len(node.inputs) == 24, node, f"has {len(node.inputs)} inputs, not 24")
    source, hidden, cell = node.input(_INPUT), node.input(_HIDDEN), node.input(_CELL)
    dtype = supported(node, source, (DType.FLOAT32, DType.INT8, DType.INT16), "input")
    supported(node, hidden, (dtype,), "hidden state")
    supported(node, node.output(), (dtype,), "output")
    is_float = dtype is DType.FLOAT32
    supported(node, cell, (DType.FLOAT32 if is_float else DType.INT16,), "cell state")
    require(hidden.is_variable and cell.is_variable, node, "a state is no variable tensor")
    bias = {DType.FLOAT32: DType.FLOAT32, DType.INT8: DType.INT32, DType.INT16: DType.INT64}
    for position in (*range(1, 9), *range(12, 16)):
        tensor = node.input(position)
        weights = DType.FLOAT32 if is_float else DType.INT8
        wanted = weights if position < 9 else bias[dtype]
        supported(node, tensor, (wanted,), f"input {position}")
        if tensor.data is None:
            refuse(node, f"input {position} is computed; mcusim takes constant weights only")
        if tensor.quantization is not None and is_quantized(tensor):
            require(
                position > 8 or not tensor.quantization.is_per_channel,
                node,
                f"input {position} has a scale for each channel",
            )
    for position in _VARIANTS:
        require(
            node.optional_input(position) is None,
            node,
            f"input {position} is given: peephole, projection or layer normalization",
        )


def _data(tensor: Tensor) -> Array:
    assert tensor.data is not None
    return tensor.data


@dataclass(frozen=True)
class StoredLstm:
    """Quantization of an integer LSTM.

    Attributes:
        forget: multiplier and shift from the forget gate's product to the cell state.
        update: from the product of input and cell gate to the cell state.
        result: from the output gate's product to the hidden state.
        tanh: scale of the table of tanh for the cell state.
        clip: bound of the cell state, None where there is none.
        gates: for each gate how its products with inputs and with the hidden state are rescaled.
    """

    forget: tuple[int, int]
    update: tuple[int, int]
    result: tuple[int, int]
    tanh: tuple[int, int]
    clip: np.int16 | None
    gates: tuple[tuple[Rescaling, Rescaling], ...]

    @classmethod
    def of(cls, node: Node) -> StoredLstm:
        """Quantization of a node, refused where it makes none.

        Raises:
            UnsupportedOperatorError: a scale is zero.

        Source: ``PrepareGateParametersInteger`` and ``CreateInterGateParams``.
        """
        hidden, cell = node.input(_HIDDEN), node.input(_CELL)
        for tensor, what in (
            (node.input(_INPUT), "input"),
            (hidden, "hidden state"),
            (cell, "cell state"),
        ):
            require(tensor.scale > 0, node, f"the {what} has no scale")
        cell_scale = float(np.float32(cell.scale))
        # The table of tanh takes Q3.12: a cell state of another power of two is shifted.
        shift = 15 - 3 + _log2(cell_scale)
        return cls(
            quantize_multiplier(_FUNCTION_OUTPUT * cell_scale / cell_scale),
            quantize_multiplier(_FUNCTION_OUTPUT * _FUNCTION_OUTPUT / cell_scale),
            quantize_multiplier(_FUNCTION_OUTPUT * _FUNCTION_OUTPUT / hidden.scale),
            (0, shift) if shift >= 0 else (3, -shift),
            _stored_clip(node.options.real("cell_clip"), cell_scale),
            tuple(_gate_rescalings(node, gate) for gate in range(4)),
        )


def _bind_stored(node: Node, quantization: StoredLstm) -> _Cell:
    """A step of an integer LSTM: int16 cell state, int8 or int16 activations.

    Source: ``LstmStep``.
    """
    hidden = node.input(_HIDDEN)
    gates = [_stored_gate(node, i, pair) for i, pair in enumerate(quantization.gates)]
    forget, update, result = quantization.forget, quantization.update, quantization.result
    tanh_scale, clip = quantization.tanh, quantization.clip
    limits = np.iinfo(hidden.dtype.numpy)
    has_tanh = node.options.text("fused_activation_function", "NONE") == "TANH"

    def multiply(one: Array, other: Array, scale: tuple[int, int]) -> npt.NDArray[np.int64]:
        product = one.astype(np.int32) * other.astype(np.int32)
        return multiply_by_quantized_multiplier(product, *scale).astype(np.int64)

    def step(x: Array, state: Array, memory: Array) -> tuple[Array, Array]:
        forget_gate = logistic_int16(gates[_FORGET_GATE](x, state), 0, 0)
        input_gate = logistic_int16(gates[_INPUT_GATE](x, state), 0, 0)
        cell_gate = gates[_CELL_GATE](x, state)
        if has_tanh:
            cell_gate = tanh_int16(cell_gate, 0, 0)
        kept = _int16(multiply(forget_gate, memory, forget))
        added = _int16(multiply(input_gate, cell_gate, update))
        memory = _int16(kept.astype(np.int64) + added)
        if clip is not None:
            memory = np.clip(memory, -clip, clip)
        output_gate = logistic_int16(gates[_OUTPUT_GATE](x, state), 0, 0)
        shown = multiply(tanh_int16(memory, *tanh_scale), output_gate, result)
        stored = np.clip(shown + hidden.zero_point, limits.min, limits.max)
        return stored.astype(hidden.dtype.numpy), memory

    return step


def _int16(x: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
    saturated: npt.NDArray[np.int16] = np.clip(x, -32768, 32767).astype(np.int16)
    return saturated


def _log2(scale: float) -> int:
    """Power of two that is closest to a scale.

    Source: ``CheckedLog2``, whose check the library ignores here.
    """
    with np.errstate(all="ignore"):
        power = np.log(np.float32(scale)) * (np.float32(1) / np.log(np.float32(2)))
    return round(float(power)) if np.isfinite(power) else 0


def _stored_clip(clip: float, scale: float) -> np.int16 | None:
    """What a stored cell state is clipped to, or None where it is not.

    Source: ``CreateLstmCellStateInfo``.
    """
    if not clip > 0:
        return None
    return np.int16(min(max(clip / scale, -32768.0), 32767.0))


def _gate_rescalings(node: Node, gate: int) -> tuple[Rescaling, Rescaling]:
    """Source: ``CreateGateParams``."""

    def rescaling(activation: Tensor, weights: Tensor) -> Rescaling:
        multiplier, shift = product_multiplier(node, activation, weights, None, _FUNCTION_INPUT)
        return Rescaling(
            input_offset=-activation.zero_point,
            filter_offset=-weights.zero_point,
            multipliers=np.array([multiplier], np.int32),
            shifts=np.array([shift], np.int32),
            output_offset=0,
            low=-32768,
            high=32767,
            wide=activation.dtype is DType.INT16,
            dtype=DType.INT16,
        )

    return (
        rescaling(node.input(_INPUT), node.input(_INPUT_WEIGHTS + gate)),
        rescaling(node.input(_HIDDEN), node.input(_RECURRENT_WEIGHTS + gate)),
    )


def _stored_gate(node: Node, gate: int, rescalings: tuple[Rescaling, Rescaling]) -> _Gate:
    """Source: ``CalculateLstmGate``."""
    first, second = rescalings
    dtype = node.input(_INPUT).dtype
    bias = _data(node.input(_BIASES + gate))
    of_input = bind_rows(_data(node.input(_INPUT_WEIGHTS + gate)), bias, first, dtype)
    of_hidden = bind_rows(_data(node.input(_RECURRENT_WEIGHTS + gate)), None, second, dtype)

    def run(x: Array, state: Array) -> Array:
        return _int16(of_input(x).astype(np.int64) + of_hidden(state))

    return run


def _bind_float(node: Node) -> _Cell:
    """A step of a float32 LSTM.

    Source: ``LstmStep`` and ``reference_ops::FullyConnected``, ``Logistic``, ``Tanh``, ``Mul``.
    """
    from mcusim.kernels.compiled.lstm import sigmoid, tanh

    gates = [_float_gate(node, gate) for gate in range(4)]
    clip = np.float32(node.options.real("cell_clip"))
    has_tanh = node.options.text("fused_activation_function", "NONE") == "TANH"

    def step(x: Array, state: Array, memory: Array) -> tuple[Array, Array]:
        forget_gate = sigmoid(gates[_FORGET_GATE](x, state))
        input_gate = sigmoid(gates[_INPUT_GATE](x, state))
        cell_gate = gates[_CELL_GATE](x, state)
        if has_tanh:
            cell_gate = tanh(cell_gate)
        memory = _finite(forget_gate * memory) + _finite(input_gate * cell_gate)
        if clip > 0:
            memory = np.maximum(np.minimum(clip, memory), -clip)
        output_gate = sigmoid(gates[_OUTPUT_GATE](x, state))
        return _finite(tanh(memory) * output_gate), memory

    return step


def _finite(x: Array) -> Array:
    """Products are clamped to what float32 holds."""
    largest = np.float32(np.finfo(np.float32).max)
    return np.clip(x, -largest, largest)


def _float_gate(node: Node, gate: int) -> _Gate:
    from mcusim.kernels.compiled.dense import dot_products

    of_input, of_hidden, bias = (
        np.ascontiguousarray(_data(node.input(first + gate)).T)[np.newaxis]
        for first in (_INPUT_WEIGHTS, _RECURRENT_WEIGHTS, _BIASES)
    )
    largest = np.float32(np.finfo(np.float32).max)
    no_bias = np.zeros_like(bias)

    def run(x: Array, state: Array) -> Array:
        sums = []
        for rows, weights, addend in ((x, of_input, bias), (state, of_hidden, no_bias)):
            out = np.empty((1, len(rows), weights.shape[2]), np.float32)
            dot_products(
                np.ascontiguousarray(rows)[np.newaxis], weights, addend, -largest, largest, out
            )
            sums.append(out[0])
        total: Array = sums[0] + sums[1]
        return total

    return run


def trips(shape: LstmShape) -> dict[str, float]:
    """Loop trip counts of an LSTM: four gates and the updates of its states a step.

    The first row of a step is part of the step; there are more when time comes first.
    """
    rows = shape.steps * shape.batches
    steps = shape.steps if shape.time_major else rows
    return {
        "call": 1,
        "step": steps,
        "next_row": rows - steps,
        "unit": rows * shape.units,
        "input_product": 4 * rows * shape.units * shape.inputs,
        "recurrent_product": 4 * rows * shape.units * shape.units,
    }


def _call(node: Node) -> KernelCall:
    shape = LstmShape.of(node)
    levels = trips(shape)
    macs = int(levels["input_product"] + levels["recurrent_product"])
    if node.input(_INPUT).dtype is DType.FLOAT32:
        # States start at zero, and soft float multiplies zero at once.
        first = shape.batches * shape.units
        levels |= {
            "recurrent_product": levels["recurrent_product"] - 4 * first * shape.units,
            "recurrent_product.of_zero": 4 * first * shape.units,
            "unit": levels["unit"] - first,
            "unit.from_zero": first,
        }
    return KernelCall(
        "EvalLstm",
        f"reference/unidirectional_sequence_lstm_{node.input(_INPUT).dtype.value}",
        levels,
        macs=macs,
    )


KERNELS: tuple[Kernel, ...] = (Kernel("UNIDIRECTIONAL_SEQUENCE_LSTM", _prepare, _call),)
