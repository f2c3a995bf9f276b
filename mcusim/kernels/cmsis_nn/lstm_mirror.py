"""CMSIS-NN's LSTM, loop by loop as the library runs it, with every turn counted by function."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.column_trips import fill_trips
from mcusim.kernels.fixed_point import (
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_wide,
)
from mcusim.kernels.lookup_tables import logistic_int16, tanh_int16
from mcusim.kernels.reference.dense import Rescaling
from mcusim.kernels.reference.lstm import LstmShape, StoredLstm

__all__ = ["Lstm"]

_INPUT_WEIGHTS, _RECURRENT_WEIGHTS, _BIASES = 1, 5, 12
_INPUT_GATE, _FORGET_GATE, _CELL_GATE, _OUTPUT_GATE = range(4)

Rows = list[list[int]]


def _int16(value: int) -> int:
    return min(max(value, -32768), 32767)


@dataclass
class Lstm:
    """``arm_lstm_unidirectional_s8`` or ``arm_lstm_unidirectional_s16`` of a node.

    Attributes:
        node: the operator.
        simd: of the core.
        turns: of each function's loop levels so far.
    """

    node: Node
    simd: Simd
    turns: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def __post_init__(self) -> None:
        self.shape = LstmShape.of(self.node)
        self.quantization = StoredLstm.of(self.node)
        self.is_int8 = self.node.input(0).dtype is DType.INT8
        self.own, self.gate = ("s8", "s8_s16") if self.is_int8 else ("s16", "s16")
        self.has_tanh = self.node.options.text("fused_activation_function", "NONE") == "TANH"

    def run(self, x: Array) -> Array:
        """Outputs of one inference.

        Args:
            x: stored, ``[batch][step]`` or, with time first, ``[step][batch]`` of inputs.

        Returns:
            The output, with units in place of inputs.
        """
        shape = self.shape
        ordered = x if shape.time_major else x.swapaxes(0, 1)
        groups = [range(shape.batches)]
        if not shape.time_major:
            groups = [range(batch, batch + 1) for batch in range(shape.batches)]
        outer = self.turns[f"arm_lstm_unidirectional_{self.own}"]
        outer["call"] += 1
        outer["copied_parameters"] += not shape.time_major
        step_turns = self.turns[f"arm_nn_lstm_step_{self.own}"]
        self._clear(shape.batches)
        out = np.empty((shape.steps, shape.batches, shape.units), x.dtype)
        for group in groups:
            outer["sequence"] += not shape.time_major
            hidden: Rows | None = None
            cell = [[0] * shape.units for _ in group]
            for step in range(shape.steps):
                outer["step"] += 1
                step_turns["call"] += 1
                hidden, cell = self._step(ordered[step, group].tolist(), hidden, cell)
                out[step, group] = hidden
        return out if shape.time_major else out.swapaxes(0, 1)

    def _step(self, x: Rows, hidden: Rows | None, cell: Rows) -> tuple[Rows, Rows]:
        quantization = self.quantization
        forget = self._gate_of(_FORGET_GATE, x, hidden)
        kept = self._products(
            "arm_elementwise_mul_s16", forget, cell, quantization.forget, (-32768, 32767), None
        )
        update = self._gate_of(_INPUT_GATE, x, hidden)
        clip = 0 if quantization.clip is None else int(quantization.clip)
        bounds = (-clip, clip) if clip > 0 else (-32768, 32767)
        cell = self._products(
            "arm_elementwise_mul_acc_s16",
            update,
            self._gate_of(_CELL_GATE, x, hidden),
            quantization.update,
            bounds,
            kept,
        )
        shown = self._gate_of(_OUTPUT_GATE, x, hidden)
        zero_point = self.node.input(18).zero_point
        limits = np.iinfo(np.int8 if self.is_int8 else np.int16)
        name = "s8" if self.is_int8 else "batch_offset"
        moved = [[zero_point] * self.shape.units for _ in x]
        result = self._products(
            f"arm_elementwise_mul_s16_{name}",
            shown,
            self._activation(cell, tanh=True, scale=quantization.tanh),
            quantization.result,
            (int(limits.min), int(limits.max)),
            moved,
        )
        return result, cell

    def _gate_of(self, gate: int, x: Rows, hidden: Rows | None) -> Rows:
        """``arm_nn_lstm_calculate_gate_s8_s16``."""
        turns = self.turns[f"arm_nn_lstm_calculate_gate_{self.gate}"]
        turns["call"] += 1
        self._clear(len(x))
        own, recurrent = self.quantization.gates[gate]
        sums = [[0] * self.shape.units for _ in x]
        bias = self.node.input(_BIASES + gate).data
        sums = self._accumulated(_INPUT_WEIGHTS + gate, x, bias, own, sums)
        if hidden is not None:
            turns["hidden"] += 1
            sums = self._accumulated(_RECURRENT_WEIGHTS + gate, hidden, None, recurrent, sums)
        return self._activation(sums, tanh=gate == _CELL_GATE and self.has_tanh)

    def _clear(self, batches: int) -> None:
        """``memset`` of a buffer of int16."""
        self.turns["memset"].update(fill_trips({(2 * batches * self.shape.units, 0): 1}))

    def _accumulated(
        self, position: int, lhs: Rows, bias: Array | None, rescaling: Rescaling, sums: Rows
    ) -> Rows:
        """``arm_nn_vec_mat_mul_result_acc_s8_s16``."""
        turns = self.turns[f"arm_nn_vec_mat_mul_result_acc_{self.gate}"]
        turns["call"] += 1
        weights = self.node.input(position).data
        assert weights is not None
        rows = weights.tolist()
        constant = [
            rescaling.input_offset * sum(row) + (0 if bias is None else int(bias[i]))
            for i, row in enumerate(rows)
        ]
        scale = (
            multiply_by_quantized_multiplier
            if self.is_int8
            else multiply_by_quantized_multiplier_wide
        )
        out = []
        for inputs, before in zip(lhs, sums, strict=True):
            turns["batch"] += 1
            outputs = []
            entered = set()
            for level, tile in self._tiles(turns, len(rows)):
                if level not in entered and level != "output":
                    entered.add(level)
                    turns[f"batch.with_{level}"] += 1
                totals = [constant[i] for i in tile]
                for k in self._columns(turns, level, len(inputs)):
                    for place, i in enumerate(tile):
                        totals[place] += inputs[k] * rows[i][k]
                for place, i in enumerate(tile):
                    total = np.int64(totals[place])
                    wrapped = total.astype(np.int32) if self.is_int8 else total
                    scaled = int(scale(wrapped, rescaling.multipliers[0], rescaling.shifts[0]))
                    outputs.append(_int16(scaled + before[i]))
            out.append(outputs)
        return out

    def _tiles(self, turns: Counter[str], units: int) -> Iterator[tuple[str, range]]:
        if self.simd == "none" and not self.is_int8:
            for unit in range(units):
                turns["output"] += 1
                yield "output", range(unit, unit + 1)
            return
        tile = {"none": 3, "dsp": 2, "mve": 4}[self.simd]
        for start in range(0, units // tile * tile, tile):
            turns["tile"] += 1
            yield "tile", range(start, start + tile)
        for unit in range(units // tile * tile, units):
            turns["odd"] += 1
            yield "odd", range(unit, unit + 1)

    def _columns(self, turns: Counter[str], level: str, columns: int) -> Iterator[int]:
        if self.simd == "none":
            for k in range(columns):
                turns[f"{level}.product"] += 1
                yield k
        elif self.simd == "mve":
            lanes = 16 if self.is_int8 else 8
            for start in range(0, columns, lanes):
                turns[f"{level}.step"] += 1
                yield from range(start, min(start + lanes, columns))
        else:
            turns[f"{level}.with_quad"] += columns >= 4
            turns[f"{level}.with_single"] += columns % 4 > 0
            for word in range(columns // 4):
                turns[f"{level}.quad"] += 1
                yield from range(4 * word, 4 * word + 4)
            for k in range(columns // 4 * 4, columns):
                turns[f"{level}.single"] += 1
                yield k

    def _activation(self, values: Rows, tanh: bool, scale: tuple[int, int] = (0, 0)) -> Rows:
        """``arm_nn_activation_s16``."""
        turns = self.turns["arm_nn_activation_s16"]
        turns["call"] += 1
        function = tanh_int16 if tanh else logistic_int16
        out = []
        for row in values:
            turns["element"] += len(row)
            out.append([int(v) for v in function(np.array(row, np.int16), *scale)])
        return out

    def _products(
        self,
        function: str,
        one: Rows,
        other: Rows,
        scale: tuple[int, int],
        bounds: tuple[int, int],
        added: Rows | None,
    ) -> Rows:
        """Elements multiplied two at a time, then one; the last product starts anew each batch."""
        turns = self.turns[function]
        is_last = function.endswith(("_s8", "_batch_offset"))
        lengths = [self.shape.units] * len(one) if is_last else [self.shape.units * len(one)]
        turns["call"] += 1
        for length in lengths:
            elements = self._count_elements(length, is_last)
            turns.update(elements)
            if is_last:
                turns["batch"] += 1
                turns.update({f"batch.with_{name}": 1 for name, n in elements.items() if n})
        out = []
        for row, values in enumerate(one):
            products = []
            for unit, value in enumerate(values):
                scaled = int(
                    multiply_by_quantized_multiplier(np.int32(value * other[row][unit]), *scale)
                )
                total = scaled + (0 if added is None else added[row][unit])
                products.append(min(max(total, bounds[0]), bounds[1]))
            out.append(products)
        return out

    def _count_elements(self, length: int, is_last: bool) -> dict[str, int]:
        if self.simd == "mve":
            return {"four": sum(1 for _ in range(0, length, 4))}
        pairs = 0 if is_last and self.is_int8 and self.simd == "none" else length // 2
        return {"pair": pairs, "single": length - 2 * pairs}
