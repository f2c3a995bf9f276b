"""ADD, MUL, MAXIMUM and MINIMUM as CMSIS-NN computes them, and the glue in TFLM around them.

Operands of two shapes go to TFLM's reference kernel for ADD and MUL; MAXIMUM and MINIMUM of int8
have loops of their own for them, which are in :mod:`mcusim.kernels.cmsis_nn.extrema`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from mcusim.graph import Array, DType, Node
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import (
    CaseCalls,
    Configuration,
    LibraryCase,
    LibraryKernel,
    profile_name,
)
from mcusim.kernels.cmsis_nn.elementwise_arithmetic import (
    Flags,
    Product,
    Sum,
    operands_of,
    product_of,
    product_of_case,
    sum_of,
    sum_of_case,
    typical_operands,
)
from mcusim.kernels.cmsis_nn.extrema import KERNELS as EXTREMA
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.reference import KERNELS as REFERENCE
from mcusim.kernels.reference.broadcasting import differ_when_extended
from mcusim.kernels.reference.pairs import run_flat_pairs, run_pairs

__all__ = ["CASES", "KERNELS", "Dispatch", "dispatch", "elementwise_trips"]

_STEM = {"ADD": "arm_elementwise_add", "MUL": "arm_elementwise_mul"}
_MVE_LANES = 4


@dataclass(frozen=True)
class Dispatch:
    """The function that computes a layer; none of them needs a buffer.

    Attributes:
        function: its name.
        reason: how many elements it takes at a time.
    """

    function: str
    reason: str


def dispatch(name: str, dtype: DType, simd: Simd) -> Dispatch:
    """Which function TFLM calls for operands of one shape.

    Args:
        name: ``"ADD"`` or ``"MUL"``.
        dtype: int8 or int16.
        simd: of the core.
    """
    function = f"{_STEM[name]}_{'s8' if dtype is DType.INT8 else 's16'}"
    if simd == "mve":
        how = "four elements in a vector"
    elif dtype is DType.INT16:
        how = "two elements at a time"
    else:
        how = "four elements at a time" if simd == "dsp" else "one element at a time without DSP"
    return Dispatch(function, f"operands of one shape, {how}: `{function}`")


def elementwise_trips(elements: int, dtype: DType, simd: Simd) -> dict[str, float]:
    """Turns of the loops of ``arm_elementwise_add_s8`` and its like."""
    if simd == "mve":
        return {"call": 1, "vector": -(-elements // _MVE_LANES)}
    step = _together(dtype, simd)
    if step == 1:
        return {"call": 1, "element": elements}
    groups, tail = divmod(elements, step)
    trips: dict[str, float] = {
        "call": 1,
        "group": groups,
        "next_group": max(groups - 1, 0),
        "groups": groups > 0,
        "groupless": groups == 0,
    }
    return trips | {f"left_{left}": tail == left for left in range(step)}


def _together(dtype: DType, simd: Simd) -> int:
    """Elements that a turn of the loop takes, but with MVE."""
    if dtype is DType.INT8:
        return 1 if simd == "none" else 4
    return 2


def _branch_trips(
    elements: int, step: int, arithmetic: Sum | Product, operands: tuple[Array, Array], known: bool
) -> dict[str, float]:
    """How often conditions hold on which the compiled code may branch.

    A compiler branches at some lanes of a group and not at others, so each lane counts apart.

    Args:
        elements: of an operand.
        step: elements of a group.
        arithmetic: of the layer.
        operands: stored values of both, one dimension each.
        known: they are those of the layer in their order, not others that are as likely.
    """
    grouped = elements // step * step if step > 1 else 0
    branches = arithmetic.branches(*operands)

    def times(flags: Flags, lane: slice) -> float:
        if known:
            return float(flags[lane].sum())
        return float(flags.mean()) * len(range(elements)[lane])

    every = slice(0, elements)
    trips = {
        "clamped_low": times(branches.low, every),
        "clamped_high": times(branches.high, every),
        "within": times(~(branches.low | branches.high), every),
        "carried": sum(times(flags[2], every) for flags in branches.scaled.values()),
    }
    for name, holds in (
        ("right_shift", [s < 0 for s in arithmetic.shifts]),
        ("no_shift", [s == 0 for s in arithmetic.shifts]),
    ):
        if step > 1:
            trips[f"{name}.group"] = sum(holds) * grouped // step
        trips[name] = sum(holds) * (elements - grouped)
        trips[f"{name}.call"] = sum(holds)
    if step == 1:
        for position, name in enumerate(("negative", "rounded_up")):
            trips[name] = sum(times(flags[position], every) for flags in branches.scaled.values())
        return trips
    lanes = {f".{i}": slice(i, grouped, step) for i in range(step)}
    for stage, flags in branches.scaled.items():
        for lane, where in (lanes | {"": slice(grouped, elements)}).items():
            trips[f"{stage}.negative{lane}"] = times(flags[0], where)
            trips[f"{stage}.rounded_up{lane}"] = times(flags[1], where)
    return trips


def _calls_of(
    name: str,
    elements: int,
    dtype: DType,
    arithmetic: Sum | Product,
    configuration: Configuration,
    operands: tuple[Array, Array] | None = None,
    known: bool = False,
) -> tuple[KernelCall, ...]:
    simd = configuration.simd
    chosen = dispatch(name, dtype, simd)
    trips = elementwise_trips(elements, dtype, simd)
    if simd != "mve":
        step = _together(dtype, simd)
        trips |= _branch_trips(
            elements, step, arithmetic, operands or typical_operands(dtype), known
        )
    call = KernelCall(
        chosen.function, profile_name(chosen.function, configuration), trips, reason=chosen.reason
    )
    return (call,)


def _case(case: LibraryCase, configuration: Configuration) -> tuple[KernelCall, ...]:
    kind, _, width = case.op.partition("_")
    dtype = DType.INT8 if width == "s8" else DType.INT16
    arithmetic = sum_of_case(case) if kind == "add" else product_of_case(case)
    arrays = case.arrays
    operands = (arrays["x1"], arrays["x2"]) if "x1" in arrays else None
    known = operands is not None
    return _calls_of(
        kind.upper(), case.params["n"], dtype, arithmetic, configuration, operands, known
    )


CASES: dict[str, CaseCalls] = dict.fromkeys(("add_s8", "mul_s8", "add_s16", "mul_s16"), _case)


def _accepts(node: Node, configuration: Configuration) -> bool:
    dtype = node.input(0).dtype
    types = (DType.INT8, DType.INT16) if configuration.generation == "2026" else (DType.INT8,)
    if configuration.generation == "2020" and configuration.simd != "dsp":
        return False
    same = not differ_when_extended(node.input(0).shape, node.input(1).shape)
    return dtype in types and same


def _arithmetic(node: Node) -> Sum | Product:
    return sum_of(node) if node.name == "ADD" else product_of(node)


def _bind(node: Node, configuration: Configuration) -> BoundKernel:
    bound = REFERENCE[node.name].bind(node)
    if not configuration.single_rounding:
        # Rounding twice the library has the bits of TFLM's own kernels.
        return bound
    compute = partial(_arithmetic(node).results, once=True)
    if node.output().dtype is DType.INT8:
        return run_pairs(node, compute)()

    def into(first: Array, second: Array, out: Array) -> None:
        out[:] = compute(first, second)

    return run_flat_pairs(node, into)


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    dtype, output = node.input(0).dtype, node.output()
    operands = operands_of(node.input(0), node.input(1))
    arithmetic = _arithmetic(node)
    known = all(node.input(i).data is not None for i in (0, 1))
    calls = _calls_of(node.name, output.elements, dtype, arithmetic, configuration, operands, known)
    ranks = [len(tensor.shape) for tensor in (node.input(0), node.input(1), output)]
    glue = KernelCall(
        "EvalAdd" if node.name == "ADD" else "EvalMul",
        profile_name(f"glue_{node.name.lower()}", configuration),
        {
            "call": dtype is DType.INT8,
            "call_int16": dtype is DType.INT16,
            "dimension": sum(ranks),
            "dimension.short": sum(rank for rank in ranks if rank < 4),
        },
    )
    return (*calls, glue)


KERNELS: tuple[LibraryKernel, ...] = (
    LibraryKernel("ADD", _accepts, _bind, _calls),
    LibraryKernel("MUL", _accepts, _bind, _calls),
    *EXTREMA,
)
