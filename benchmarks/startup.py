"""How long a person waits: help, an estimate, the first run ever and the next.

    python -m benchmarks.startup [--models FOLDER] [--repeats N]

Each time is the best of several; the first run starts from an empty cache of compiled kernels. Exit
code 1 when one is longer than promised.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

#: Seconds.
PROMISED = {"estimate": 0.05, "help": 0.3, "first run": 20.0, "next run": 1.5}

_ESTIMATE = """
import sys, time, mcusim
graph = mcusim.load_model(sys.argv[1])
board = mcusim.load_board("nucleo-l496zg")
mcusim.estimate
start = time.perf_counter()
mcusim.estimate(graph, board)
print(time.perf_counter() - start)
"""


def command_s(arguments: Sequence[str], environment: dict[str, str]) -> float:
    """Seconds that a ``mcusim`` command takes, Python's own start included."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "mcusim", *arguments],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def estimate_s(model: Path) -> float:
    """Seconds of the first estimate in a new process, imports left out."""
    done = subprocess.run(
        [sys.executable, "-c", _ESTIMATE, str(model)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.startup", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    turns = range(options.repeats)
    vww = options.models / "mlperf_tiny" / "vww_96_int8.tflite"
    found = {"help": min(command_s(["--help"], dict(os.environ)) for _ in turns)}
    if vww.is_file():
        found["estimate"] = min(estimate_s(vww) for _ in turns)
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "x.npy"
        np.save(inputs, np.zeros((1, 49, 10, 1), np.int8))
        run = ["run", "ds-cnn", "--board", "nucleo-l496zg", "--input", str(inputs)]
        environment = os.environ | {"NUMBA_CACHE_DIR": str(Path(folder) / "cache")}
        found["first run"] = command_s(run, environment)
        found["next run"] = min(command_s(run, environment) for _ in turns)
    for what, seconds in found.items():
        remark = "" if seconds <= PROMISED[what] else f"  above {PROMISED[what]:g} s"
        print(f"{what:10} {seconds:8.3f} s{remark}")
    return int(any(seconds > PROMISED[what] for what, seconds in found.items()))


if __name__ == "__main__":
    sys.exit(main())
