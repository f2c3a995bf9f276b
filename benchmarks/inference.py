"""Exact int8 inference against the TFLite Micro interpreter, on one thread, in the same run.

    python -m benchmarks.inference [--models FOLDER] [--repeats N]

Times a batch of 256 inputs and a single input, after warm-up, in turns with the interpreter, and
prints medians and their ratios; LiteRT with XNNPACK, which is not bit-exact, stands beside them.
Exit code 1 when a ratio is below what is promised: 20 for a batch, 5 for one input.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import (  # type: ignore[import-untyped]
    Interpreter as LiteRtInterpreter,
)
from tflite_micro.python.tflite_micro import runtime  # type: ignore[import-untyped]

from mcusim.graph import Array, Graph, Tensor
from mcusim.interpreter import Interpreter
from mcusim.tflite import load

NETWORKS = {
    "kws": "mlperf_tiny/kws_ref_model.tflite",
    "ic": "mlperf_tiny/pretrainedResnet_quant.tflite",
    "vww": "mlperf_tiny/vww_96_int8.tflite",
    "ResNet-20": "heim/01b_ResNet20_CIFAR-10_Q-full.tflite",
}
BATCH = 256
#: Inferences of the slower interpreters that are timed for one measurement.
SAMPLE = 8
PROMISED = {BATCH: 20.0, 1: 5.0}

_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")


def random_input(tensor: Tensor, count: int) -> Array:
    """Inputs that use the whole range of a type."""
    random = np.random.default_rng(1)
    shape = (count, *tensor.shape)
    if tensor.dtype.numpy == np.float32:
        return random.normal(0, 1, shape).astype(np.float32)
    limits = np.iinfo(tensor.dtype.numpy)
    return random.integers(limits.min, limits.max, shape, tensor.dtype.numpy, endpoint=True)


def seconds(run: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def tflm_runner(model: bytes, inputs: Array) -> Callable[[], Array]:
    """Runs the inputs one by one through TFLite Micro; returns the last output."""
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=4 << 20)

    def run() -> Array:
        for x in inputs:
            interpreter.set_input(x, 0)
            interpreter.invoke()
        output: Array = interpreter.get_output(0)
        return output

    return run


def litert_runner(model: bytes, inputs: Array) -> Callable[[], None]:
    """Runs the inputs one by one through LiteRT with XNNPACK, on one thread."""
    interpreter = LiteRtInterpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    index = interpreter.get_input_details()[0]["index"]

    def run() -> None:
        for x in inputs:
            interpreter.set_tensor(index, x)
            interpreter.invoke()

    return run


def measured(path: Path, graph: Graph, batch: int, repeats: int) -> tuple[float, float, float]:
    """Median seconds of one inference: mcusim, TFLite Micro, LiteRT."""
    model = path.read_bytes()
    inputs = random_input(graph.inputs[0], batch)
    few = inputs[:SAMPLE] if batch > 1 else np.repeat(inputs, SAMPLE, axis=0)
    interpreter = Interpreter(graph)
    theirs, litert = tflm_runner(model, few), litert_runner(model, few)
    ours = interpreter.invoke([inputs if batch > 1 else inputs[0]]).outputs[0]
    expected = theirs()
    if not np.array_equal(
        ours[SAMPLE - 1] if batch > 1 else ours, expected.reshape(graph.outputs[0].shape)
    ):
        raise SystemExit(f"{path.name}: the outputs differ from TFLite Micro's")
    litert()
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    for _ in range(repeats):
        if batch > 1:
            times[0].append(seconds(lambda: interpreter.invoke([inputs])) / batch)
        else:
            single = [seconds(lambda: interpreter.invoke([inputs[0]])) for _ in range(SAMPLE)]
            times[0].append(statistics.median(single))
        times[1].append(seconds(theirs) / SAMPLE)
        times[2].append(seconds(litert) / SAMPLE)
    ours_s, theirs_s, litert_s = (statistics.median(t) for t in times)
    return ours_s, theirs_s, litert_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.inference", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(arguments)
    print(
        f"{'network':10} {'batch':>5} {'mcusim':>11} {'TFLM':>11} {'LiteRT':>11}   "
        f"{'TFLM/mcusim':>12} {'mcusim/LiteRT':>14}"
    )
    is_slow = False
    for name, file in NETWORKS.items():
        path = options.models / file
        if not path.is_file():
            print(f"{name:10} {path} is missing")
            continue
        graph = load(path)
        for batch, promised in PROMISED.items():
            ours, theirs, litert = measured(path, graph, batch, options.repeats)
            ratio = theirs / ours
            is_slow |= ratio < promised
            remark = "" if ratio >= promised else f"  below {promised:g}"
            print(
                f"{name:10} {batch:5d} {1e6 * ours:8.1f} us {1e6 * theirs:8.1f} us "
                f"{1e6 * litert:8.1f} us   {ratio:11.1f}x {ours / litert:13.2f}x{remark}"
            )
    return int(is_slow)


if __name__ == "__main__":
    if not _ONE_THREAD.items() <= os.environ.items():
        # A BLAS reads these when NumPy loads it, which has happened by now.
        command = [sys.executable, "-m", "benchmarks.inference", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **_ONE_THREAD})
    sys.exit(main())
