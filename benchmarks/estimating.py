"""How long an estimate takes: of vww under both runtimes, all profiles, and ``mcusim --help``.

    python -m benchmarks.estimating [--models FOLDER] [--repeats N]

Each in several new processes, imports left out except for the help. Exit code 1 when the best time
is longer than promised; the median tells how busy the machine was.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

#: Seconds.
PROMISED = {
    "estimate tflm": 0.05,
    "estimate cmsis-nn": 0.06,
    "estimate cmsis-nn@2020": 0.06,
    "all profiles": 0.1,
    "help": 0.3,
}

#: What importing leaves to the garbage collector is no part of the estimate.
_ESTIMATE = """
import gc, sys, time, mcusim
graph = mcusim.load_model(sys.argv[1])
board = mcusim.load_board("nucleo-l496zg")
mcusim.estimate
gc.collect()
start = time.perf_counter()
mcusim.estimate(graph, board, sys.argv[2])
seconds = time.perf_counter() - start
assert "numba" not in sys.modules
print(seconds)
"""

_PROFILES = """
import gc, time
from mcusim.kernels.profile import load_profile
from mcusim.resources import data_path
folder = data_path("kernels")
names = [p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.json")]
gc.collect()
start = time.perf_counter()
for name in names:
    load_profile(name).builds
print(time.perf_counter() - start)
"""


def printed_s(code: str, *arguments: str) -> float:
    """What a new process prints."""
    command = [sys.executable, "-c", code, *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def help_s() -> float:
    """Seconds of ``mcusim --help``, Python's own start included."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "mcusim", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.estimating", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(arguments)
    vww = options.models / "mlperf_tiny" / "vww_96_int8.tflite"
    is_slow = False
    for what, promised in PROMISED.items():
        if what.startswith("estimate") and not vww.is_file():
            print(f"{what:24} {vww} is missing")
            continue
        times = []
        for _ in range(options.repeats):
            if what == "help":
                times.append(help_s())
            elif what == "all profiles":
                times.append(printed_s(_PROFILES))
            else:
                times.append(printed_s(_ESTIMATE, str(vww), what.split()[1]))
        best, median = min(times), statistics.median(times)
        is_slow |= best > promised
        remark = "" if best <= promised else "  too long"
        print(
            f"{what:24} {1e3 * best:7.1f} ms (median {1e3 * median:.1f}), "
            f"{best / promised:.2f} of the promised {1e3 * promised:g} ms{remark}"
        )
    return int(is_slow)


if __name__ == "__main__":
    sys.exit(main())
