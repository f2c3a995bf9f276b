"""Models of one operator, damaged at random, refused or run as the TFLM interpreter does.

    python -m benchmarks.fuzz_operators --count 10000 --seed 0

Types, shapes, options, quantization and presence of tensors change at random. The interpreter runs
in a process of its own, since damaged models crash it. A failure is a traceback, another result, a
run where the interpreter refuses, or an estimate that does not refuse in the words of the run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

import mcusim
from benchmarks.operator_seeds import seeds
from mcusim import tflite
from mcusim.errors import InputError, McusimError
from mcusim.graph import Array, DType, Graph, Operator, Options, Quantization, Subgraph, Tensor
from mcusim.runtimes import plan

__all__ = ["Oracle", "Outcome", "attempt", "case", "main"]

_HANG_S = 20.0
_TYPES = (
    DType.FLOAT32, DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.BOOL, DType.UINT8,
    DType.INT4, DType.UINT32,
)  # fmt: skip
_SCALES = (0.0, 1.0, 0.1, 1e-12, 1e12, 1e30, 1 / 256, 1 / 128, 1 / 32768, -0.5, np.nan, np.inf)
_ZERO_POINTS = (0, 1, -128, 127, 128, -1000, 32768, 2**31 - 1, -(2**31))
_INTEGERS = (-(2**31), -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 100, 2**15 - 1)
_TEXTS = {
    "padding": ("SAME", "VALID"),
    "fused_activation_function": ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT"),
    "mode": ("REFLECT", "SYMMETRIC"),
    "quantized_bias_type": ("FLOAT32", "INT32", "INT64"),
}


@dataclass(frozen=True)
class Outcome:
    """What became of one case: ``kind`` starts with ``!`` where a promise was broken."""

    index: int
    kind: str
    operator: str
    detail: str

    @property
    def is_failure(self) -> bool:
        """Whether a promise was broken."""
        return self.kind.startswith("!")


class Oracle:
    """The TFLite Micro interpreter in a process that may die."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, model: bytes, inputs: Sequence[Array]) -> list[Array] | str:
        """Outputs, or ``refused``, ``crashed`` or ``hung``."""
        self._connection.send((model, inputs))
        try:
            if self._connection.poll(_HANG_S):
                answer: list[Array] | str = self._connection.recv()
                return answer
            end = "hung"
        except (EOFError, ConnectionError):
            end = "crashed"
        self._process.kill()
        self._process.join()
        self._start()
        return end


def _serve(connection: Connection) -> None:
    import os

    from tests.oracles import tflm

    # The interpreter reports every refusal on standard error.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    while True:
        model, inputs = connection.recv()
        try:
            connection.send(tflm(model, inputs)[0])
        except (RuntimeError, ValueError) as error:
            connection.send(f"refused {error}")


def _changed_type(t: Tensor, rng: random.Random) -> Tensor:
    dtype = rng.choice(_TYPES)
    data = t.data
    if data is not None:
        data = np.clip(data.astype(np.float64), -8, 7).astype(dtype.numpy)
    return replace(t, dtype=dtype, data=data)


def _changed_shape(t: Tensor, rng: random.Random) -> Tensor:
    shape = list(t.shape)
    kind = rng.randrange(5)
    if kind == 0 and shape:
        del shape[rng.randrange(len(shape))]
    elif kind == 1:
        shape.insert(rng.randrange(len(shape) + 1), rng.choice((1, 1, 2)))
    elif kind == 2 and shape:
        rng.shuffle(shape)
    elif shape:
        position = rng.randrange(len(shape))
        shape[position] = max(0, shape[position] + rng.choice((-2, -1, -1, 1, 1, 2, 5)))
    data = t.data
    if data is not None:
        data = np.resize(data, shape)
    return replace(t, shape=tuple(shape), data=data)


def _changed_quantization(t: Tensor, rng: random.Random) -> Tensor:
    q = t.quantization
    if q is None or rng.random() < 0.1:
        new = Quantization(np.array([0.1], np.float32), np.array([0], np.int64))
        return replace(t, quantization=None if q is not None else new)
    scales, points, axis = q.scales.copy(), q.zero_points.copy(), q.axis
    kind = rng.randrange(6)
    if kind == 0 and scales.size:
        scales[rng.randrange(scales.size)] = rng.choice(_SCALES)
    elif kind == 1 and points.size:
        points[rng.randrange(points.size)] = rng.choice(_ZERO_POINTS)
    elif kind == 2:
        scales, points = scales[:1], points[:1]
    elif kind == 3 and t.shape and scales.size:
        axis = rng.randrange(len(t.shape))
        scales = np.resize(scales, t.shape[axis])
        points = np.zeros(scales.size, np.int64)
    elif kind == 4:
        scales = scales * np.float32(rng.choice((0.01, 0.5, 2, 100)))
    else:
        points = points[:0]
    return replace(t, quantization=Quantization(scales, points, axis))


def _changed_presence(t: Tensor, rng: random.Random) -> Tensor:
    if t.data is not None:
        return replace(t, data=None, buffer=0)
    shape = t.shape
    np_rng = np.random.default_rng(rng.randrange(2**32))
    if np.prod(shape) > 10_000:
        return t
    return replace(t, data=_values(np_rng, t.dtype, shape))


def _changed_data(t: Tensor, rng: random.Random) -> Tensor:
    if t.data is None or t.data.size == 0 or t.dtype is DType.BOOL:
        return t
    data = t.data.copy()
    limits = (-8, 7) if t.dtype.numpy.itemsize == 1 else (-(2**15), 2**15 - 1)
    value = min(max(rng.choice((-4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 99)), limits[0]), limits[1])
    if t.dtype in (DType.UINT8, DType.UINT32):
        value = abs(value)
    data.reshape(-1)[rng.randrange(data.size)] = value
    return replace(t, data=data)


def _changed_option(options: Options, rng: random.Random) -> Options:
    values: dict[str, Any] = dict(options)
    if not values:
        return options
    name = rng.choice(sorted(values))
    old = values[name]
    if isinstance(old, bool):
        values[name] = not old
    elif isinstance(old, int):
        values[name] = rng.choice(_INTEGERS)
    elif isinstance(old, float):
        values[name] = rng.choice((0.0, -1.0, 1e-30, 1e30, float("nan"), 0.5))
    elif isinstance(old, str) and name in _TEXTS:
        values[name] = rng.choice(_TEXTS[name])
    elif isinstance(old, tuple):
        values[name] = tuple(rng.choice((-1, 0, 1, 2)) for _ in range(rng.randrange(3)))
    return Options(values)


def _changed_arity(operator: Operator, rng: random.Random) -> Operator:
    inputs, outputs = list(operator.inputs), list(operator.outputs)
    kind = rng.randrange(5)
    if kind == 0 and inputs:
        inputs[rng.randrange(len(inputs))] = -1
    elif kind == 1 and inputs:
        del inputs[rng.randrange(len(inputs))]
    elif kind == 2 and inputs:
        inputs.append(rng.choice(inputs))
    elif kind == 3 and len(inputs) > 1:
        rng.shuffle(inputs)
    elif kind == 4 and len(outputs) > 1:
        del outputs[rng.randrange(len(outputs))]
    return replace(operator, inputs=tuple(inputs), outputs=tuple(outputs))


_TENSOR_CHANGES = (
    _changed_type, _changed_shape, _changed_shape, _changed_quantization, _changed_quantization,
    _changed_presence, _changed_data, _changed_data,
)  # fmt: skip


def case(seed: int, index: int) -> Graph:
    """Case ``index``; the same for the same seed."""
    rng = random.Random(f"{seed}/{index}")
    by_operator: dict[str, list[Graph]] = {}
    for found in seeds():
        by_operator.setdefault(found.main.operators[0].name, []).append(found)
    graph = rng.choice(by_operator[rng.choice(sorted(by_operator))])
    main = graph.main
    tensors, operator = list(main.tensors), main.operators[0]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.randrange(10)
        if kind == 0:
            operator = _changed_arity(operator, rng)
        elif kind <= 3 and operator.options:
            operator = replace(operator, options=_changed_option(operator.options, rng))
        else:
            position = rng.randrange(len(tensors))
            tensors[position] = rng.choice(_TENSOR_CHANGES)(tensors[position], rng)
    used = {i for i in operator.inputs if i >= 0}
    fed = tuple(i for i in sorted(used) if tensors[i].data is None and not tensors[i].is_variable)
    tensors = [
        replace(t, buffer=t.index + 1 if t.data is not None else 0, shape_signature=None)
        for t in tensors
    ]
    return replace(
        graph,
        subgraphs=(Subgraph(main.name, tuple(tensors), fed, operator.outputs, (operator,)),),
        metadata={},
        signatures=(),
    )


def _values(rng: np.random.Generator, dtype: DType, shape: Sequence[int]) -> Array:
    if dtype is DType.BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    kind = dtype.numpy
    if kind.kind == "f":
        return rng.normal(0, 3, shape).astype(kind)
    if dtype in (DType.INT8, DType.UINT8, DType.INT16):
        limits = np.iinfo(kind)
        return rng.integers(limits.min, limits.max, shape, kind, endpoint=True)
    if dtype is DType.INT4:
        return rng.integers(-8, 8, shape).astype(np.int8)
    return rng.integers(0, 4, shape).astype(kind)


def attempt(index: int, graph: Graph, oracle: Oracle) -> Outcome:
    """Run a case both ways."""
    operator = graph.main.operators[0].name
    try:
        model = tflite.write(graph)
    except (McusimError, ValueError, OverflowError) as error:
        return Outcome(index, "unwritable", operator, str(error))
    try:
        read = tflite.read(model, "case.tflite")
    except McusimError as error:
        return Outcome(index, "refused by the reader", operator, str(error))
    except Exception:
        return Outcome(index, "! traceback in the reader", operator, traceback.format_exc(limit=-4))
    rng = np.random.default_rng(index)
    try:
        inputs = [_values(rng, t.dtype, t.shape) for t in read.inputs]
    except McusimError:
        return Outcome(index, "no such input", operator, "")
    ours: list[Array] | str
    run_error = plan_error = ""
    started = time.perf_counter()
    try:
        ours = list(mcusim.run(read, inputs).outputs)
    except InputError as error:
        ours = run_error = str(error)
    except McusimError as error:
        ours = run_error = str(error)
    except Exception:
        return Outcome(index, "! traceback in run", operator, traceback.format_exc(limit=-4))
    seconds = time.perf_counter() - started
    try:
        plan(read)
    except McusimError as error:
        plan_error = str(error)
    except Exception:
        return Outcome(index, "! traceback in plan", operator, traceback.format_exc(limit=-4))
    theirs = oracle.run(model, inputs)
    if seconds > 10:
        return Outcome(index, "! slow", operator, f"{seconds:.1f} s")
    if plan_error and not run_error:
        return Outcome(index, "! plan refuses what run takes", operator, plan_error)
    if plan_error and plan_error != run_error:
        return Outcome(index, "! two sentences", operator, f"{plan_error} | {run_error}")
    if "make no sense" in run_error:
        return Outcome(index, "! makes no sense", operator, run_error)
    if isinstance(theirs, str):
        end = theirs.split()[0]
        if isinstance(ours, str):
            late = "" if plan_error else " when run"
            return Outcome(index, f"{end}, refused{late}", operator, ours)
        bad = "! " if end == "refused" else ""
        return Outcome(index, f"{bad}{end}, runs", operator, repr(graph.main.node(0)))
    if isinstance(ours, str):
        return Outcome(index, "runs, refused", operator, ours)
    for mine, other in zip(ours, theirs, strict=True):
        if not _agree(operator, mine, other):
            return Outcome(index, "! other bits", operator, repr(graph.main.node(0)))
    return Outcome(index, "runs, the same", operator, "")


def _agree(operator: str, mine: Array, other: Array) -> bool:
    if mine.dtype != other.dtype or mine.shape != other.shape:
        return mine.size == other.size == 0
    if mine.dtype.kind != "f":
        return np.array_equal(mine, other)
    # Where the library calls libm, two implementations may be a unit apart.
    close = np.abs(mine - other) <= 2e-6 * np.abs(other)
    return bool((close | (mine == other) | (np.isnan(mine) & np.isnan(other))).all())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases and print how they ended; 1 when any broke a promise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="number of cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="index of the first case")
    parser.add_argument("--list", action="store_true", help="what was refused though it runs")
    given = parser.parse_args(arguments)
    outcomes = list(_outcomes(given.seed, range(given.first, given.first + given.count)))
    for outcome in outcomes:
        if outcome.is_failure or (given.list and outcome.kind == "runs, refused"):
            print(f"{outcome.index} {outcome.kind} {outcome.operator}\n  {outcome.detail}")
    for kind, number in Counter(o.kind for o in outcomes).most_common():
        print(f"  {number:6d} {kind}")
    return 1 if any(o.is_failure for o in outcomes) else 0


def _outcomes(seed: int, indices: Sequence[int]) -> Iterator[Outcome]:
    oracle = Oracle()
    for index in indices:
        yield attempt(index, case(seed, index), oracle)


if __name__ == "__main__":
    sys.exit(main())
