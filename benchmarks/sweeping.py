"""What a sweep costs: candidates a minute on a core, as their number grows, and with more workers.

    python -m benchmarks.sweeping [--candidates N] [--workers N] [--repeats N]

Candidates are DS-CNN in other widths, under CMSIS-NN; building their graphs and storing the rows is
part of it. More workers are held against as many sweeps of one worker beside each other, which is
all that the machine can do at that time. Exit code 1 when the best figure misses what is promised.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

#: Candidates that one core prices in a minute.
PROMISED_A_MINUTE = 10_000
#: Time of a sweep of N workers over that of N sweeps beside each other, once workers have begun.
PROMISED_RATIO = 1.15
#: Time of a candidate among many over that among few.
PROMISED_GROWTH = 1.1

_SWEEP = """
import random, sys, time
from pathlib import Path
from mcusim.sweep import Space, Store, sweep

def line(seed):
    draw = random.Random(seed)
    blocks = " ".join(f"d3 c{draw.randrange(8, 96)}k1" for _ in range(4))
    return f"49x10x1 c{draw.randrange(8, 96)}k10x4s2 {blocks} a f12 softmax"

def swept(lines, name, workers):
    started, first = time.perf_counter(), []
    with Store(Path(sys.argv[1], name), create=True) as store:
        def advance(points):
            if points and not first:
                first.append((time.perf_counter(), points))
        space = Space(lines, ["nucleo-l496zg"], ["cmsis-nn"])
        done = sweep(space, store, workers=workers, advance=advance)
    ended = time.perf_counter()
    assert done.priced == len(lines) and not done.refused
    # Until the first rows are there, workers begin.
    began, points = first[0]
    return (ended - began) / (len(lines) - points)

if __name__ == "__main__":
    begin, count, workers = map(int, sys.argv[2:])
    print(swept([line(i) for i in range(begin, begin + count)], f"{begin}-{workers}.db", workers))
"""


def _started(folder: Path, begin: int, count: int, workers: int) -> subprocess.Popen[str]:
    # A file, as spawned workers import it.
    script = folder / "swept.py"
    script.write_text(_SWEEP)
    for old in folder.glob(f"{begin}-{workers}.db*"):
        old.unlink()
    command = [sys.executable, str(script), str(folder), *map(str, (begin, count, workers))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _printed_s(process: subprocess.Popen[str]) -> float:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError("a sweep failed")
    return float(output)


def candidate_s(folder: Path, count: int, workers: int = 1) -> float:
    """Seconds of a candidate in a sweep, its start left out."""
    return _printed_s(_started(folder, 0, count, workers))


def beside_s(folder: Path, count: int, sweeps: int) -> float:
    """Seconds of a candidate in sweeps of one worker that run beside each other."""
    each = count // sweeps
    running = [_started(folder, 1_000_000 + n * each, each, 1) for n in range(sweeps)]
    return max(map(_printed_s, running)) / sweeps


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.sweeping", description=__doc__)
    parser.add_argument("--candidates", type=int, default=1200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    counts = [options.candidates // 4, options.candidates // 2, options.candidates]
    best = dict.fromkeys(counts, float("inf"))
    together = beside = float("inf")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(options.repeats):
            for count in counts:
                best[count] = min(best[count], candidate_s(folder, count))
            of_workers = candidate_s(folder, options.candidates, options.workers)
            together = min(together, of_workers)
            beside = min(beside, beside_s(folder, options.candidates, options.workers))
    for count, seconds in best.items():
        print(f"{count:6} candidates, 1 worker  {1e3 * seconds:7.2f} ms each")
    print(f"{counts[-1]:6} candidates, {options.workers} workers {1e3 * together:7.2f} ms each")
    print(f"       {options.workers} sweeps beside each other {1e3 * beside:7.2f} ms each")
    a_minute = 60 / best[counts[-1]]
    growth = max(best[more] / best[fewer] for fewer, more in pairwise(counts))
    ratio = together / beside
    rows = (
        ("candidates a minute", f"{a_minute:,.0f}", f"{PROMISED_A_MINUTE:,}"),
        ("each, of twice as many", f"{growth:.2f}", f"{PROMISED_GROWTH:g}"),
        (f"{options.workers} workers over as many sweeps", f"{ratio:.2f}", f"{PROMISED_RATIO:g}"),
    )
    for what, figure, promised in rows:
        print(f"{what:30} {figure:>8}, promised {promised}")
    print(f"took {time.perf_counter() - began:.0f} s")
    missed = a_minute < PROMISED_A_MINUTE or growth > PROMISED_GROWTH or ratio > PROMISED_RATIO
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
