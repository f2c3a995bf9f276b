"""Loop turns of CMSIS-NN's LSTM, function by function."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mcusim.graph import DType
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.column_trips import fill_trips
from mcusim.kernels.reference.lstm import LstmShape

__all__ = ["LstmTrips", "lstm_trips"]

_GATES = 4


@dataclass(frozen=True)
class LstmTrips:
    """Turns of one function of the library.

    Attributes:
        function: its name.
        profile: what prices it; functions that other operators call have an own one here.
        trips: how often each loop level runs.
    """

    function: str
    profile: str
    trips: dict[str, float]


def lstm_trips(shape: LstmShape, dtype: DType, simd: Simd) -> tuple[LstmTrips, ...]:
    """Turns of ``arm_lstm_unidirectional_s8`` or ``_s16`` and of all that they call.

    With time first, a step computes all sequences at once; otherwise each sequence has its own
    steps, with a copy of the parameters. The first step has no hidden state and multiplies with
    none.

    Args:
        shape: the shape.
        dtype: of the activations, int8 or int16.
        simd: of the core.
    """
    together = shape.batches if shape.time_major else 1
    sequences = shape.batches // max(together, 1)
    steps, first = sequences * shape.steps, sequences
    elements = together * shape.units
    is_int8 = dtype is DType.INT8
    own, gate = ("s8", "s8_s16") if is_int8 else ("s16", "s16")
    products = f"arm_nn_vec_mat_mul_result_acc_{gate}"
    shown = "arm_elementwise_mul_s16_s8" if is_int8 else "arm_elementwise_mul_s16_batch_offset"
    of_input = _products(_GATES * steps, together, shape.units, shape.inputs, dtype, simd)
    of_hidden = _products(_GATES * (steps - first), together, shape.units, shape.units, dtype, simd)
    # Nobody counted the loops of MVE.
    ending = "_mve" if simd == "mve" else ""
    cleared = Counter({(2 * elements, 0): _GATES * steps})
    cleared[2 * shape.batches * shape.units, 0] += 1
    outer = f"arm_lstm_unidirectional_{own}"
    return (
        LstmTrips(
            outer,
            outer,
            {
                "call": 1,
                "copied_parameters": float(not shape.time_major),
                "sequence": 0 if shape.time_major else sequences,
                "step": steps,
            },
        ),
        LstmTrips(
            f"arm_nn_lstm_step_{own}",
            f"arm_nn_lstm_step_{own}",
            {"call": steps},
        ),
        LstmTrips(
            f"arm_nn_lstm_calculate_gate_{gate}",
            f"arm_nn_lstm_calculate_gate_{gate}",
            {"call": _GATES * steps, "hidden": _GATES * (steps - first)},
        ),
        LstmTrips(
            products,
            products + ending,
            {level: of_input[level] + of_hidden[level] for level in of_input},
        ),
        LstmTrips(
            "arm_nn_activation_s16",
            "arm_nn_activation_s16",
            {"call": (_GATES + 1) * steps, "element": (_GATES + 1) * steps * elements},
        ),
        LstmTrips(
            "arm_elementwise_mul_s16",
            f"lstm_mul_s16{ending}",
            _elementwise(steps, elements, simd, True),
        ),
        LstmTrips(
            "arm_elementwise_mul_acc_s16",
            f"lstm_mul_acc_s16{ending}",
            _elementwise(steps, elements, simd, True),
        ),
        LstmTrips(
            shown,
            shown.replace("arm_elementwise", "lstm") + ending,
            _by_batch(steps, together, shape.units, simd, simd == "dsp" or not is_int8),
        ),
        LstmTrips("memset", "memset", fill_trips(cleared)),
    )


def _products(
    calls: int, batches: int, units: int, columns: int, dtype: DType, simd: Simd
) -> dict[str, float]:
    """Turns of a vector times a matrix for each sequence, added to what is there.

    Some compilers prepare what a loop needs where it is entered, and not where it is skipped:
    levels ``with`` count entries.
    """
    rows = calls * batches
    trips: dict[str, float] = {"call": calls, "batch": rows}
    if dtype is DType.INT16 and simd == "none":
        return trips | {"output": rows * units, "output.product": rows * units * columns}
    tiles, odd = divmod(units, {"none": 3, "dsp": 2, "mve": 4}[simd])
    for level, count in (("tile", rows * tiles), ("odd", rows * odd)):
        trips[level] = count
        trips[f"batch.with_{level}"] = rows * (count > 0)
        if simd == "none":
            trips[f"{level}.product"] = count * columns
        elif simd == "mve":
            lanes = 16 if dtype is DType.INT8 else 8
            trips[f"{level}.step"] = count * -(-columns // lanes)
        else:
            trips |= {
                f"{level}.quad": count * (columns // 4),
                f"{level}.single": count * (columns % 4),
                f"{level}.with_quad": count * (columns >= 4),
                f"{level}.with_single": count * (columns % 4 > 0),
            }
    return trips


def _elementwise(calls: int, elements: int, simd: Simd, in_pairs: bool) -> dict[str, float]:
    trips: dict[str, float] = {"call": calls}
    if simd == "mve":
        return trips | {"four": calls * -(-elements // 4)}
    pairs, single = divmod(elements, 2) if in_pairs else (0, elements)
    return trips | {"pair": calls * pairs, "single": calls * single}


def _by_batch(
    calls: int, batches: int, elements: int, simd: Simd, in_pairs: bool
) -> dict[str, float]:
    """The same with a loop over sequences around it."""
    rows = _elementwise(calls * batches, elements, simd, in_pairs)
    entered = {f"batch.with_{n}": calls * batches * (rows[n] > 0) for n in rows if n != "call"}
    return rows | {"call": calls, "batch": calls * batches} | entered
