"""Damaged models, read by the thousand: each must end in a ModelError or be read, quickly.

    python -m benchmarks.fuzz_tflite --count 10000 --seed 0
    python -m benchmarks.fuzz_tflite --count 10000 --seed 0 --road

Every case is a real model mutated by bit flips, wild words, truncation, absurd shapes or circles of
subgraphs. Cases run in worker processes, so that a crash or a hang is an outcome like any other.
The limits are 2 s a case and 500 MB for the whole process. With ``--road`` what could be read is
also estimated, and run where its tensors are few and small.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import select
import struct
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np

import mcusim
from mcusim import tflite
from mcusim.errors import McusimError, ModelError
from mcusim.graph import Graph, Options
from mcusim.kernels.reference import control_flow
from tests import tflite_models
from tests.shared import shared_models

__all__ = ["MUTATIONS", "Outcome", "attempt", "case", "main", "seeds"]

LIMIT_S = 2.0
LIMIT_BYTES = 500 * 10**6

_CASES_PER_WORKER = 500
_HANG_S = 30.0
#: Elements of all tensors of a model that is run.
_MOST_RUN = 20_000

#: Words that lead somewhere they should not.
_WILD = (0, 1, 2, 4, 127, 128, 0x7FFF, 0xFFFF, 0x10000, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 4)


@dataclass(frozen=True)
class Outcome:
    """What became of one case.

    Attributes:
        index: number of the case.
        end: ``refused`` (a ModelError), ``read``, or what went wrong.
        seconds: wall time of the attempt.
        peak_bytes: peak resident memory of the process so far.
        detail: the error's text.
    """

    index: int
    end: str
    seconds: float
    peak_bytes: int
    detail: str

    @property
    def is_failure(self) -> bool:
        """Whether the case broke a promise of the reader."""
        return (
            self.end not in ("refused", "read")
            or self.seconds > LIMIT_S
            or self.peak_bytes > LIMIT_BYTES
        )


@cache
def seeds() -> tuple[bytes, ...]:
    """What is mutated: a model of each special feature, and real networks where there are any."""
    small = [build() for build in (*tflite_models.MODELS.values(), tflite_models.circle)]
    small.append(tflite_models.bomb(30, 30))
    real = [path.read_bytes() for path in shared_models()]
    return (*small, *real)


@lru_cache(maxsize=32)
def _structure(content: bytes) -> tuple[int, ...]:
    """Positions of words outside long runs of data, where a change is felt."""
    try:
        graph = tflite.read(content)
    except ModelError:
        return tuple(range(0, len(content) - 3, 4))
    data = bytearray(len(content))
    for subgraph in graph.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.data is not None and tensor.data.nbytes > 64:
                start = content.find(tensor.data.tobytes())
                if start >= 0:
                    data[start : start + tensor.data.nbytes] = b"\1" * tensor.data.nbytes
    return tuple(p for p in range(0, len(content) - 3, 4) if not data[p])


def _bit_flips(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16, 64))):
        position = rng.choice(_structure(content)) + rng.randrange(4)
        damaged[position] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _any_bit_flips(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 8, 64, 512))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _truncation(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        return content[: rng.randrange(64)]
    return content[: rng.randrange(len(content))]


def _wild_words(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        position = rng.choice(_structure(content))
        near = (len(content), len(content) - position, position, rng.randrange(len(content)))
        word = rng.choice((rng.choice(_WILD), rng.choice(near), rng.getrandbits(32)))
        struct.pack_into("<I", damaged, position, word & 0xFFFFFFFF)
    return bytes(damaged)


def _moved_words(content: bytes, rng: random.Random) -> bytes:
    """Words of the file in other places: offsets that lead to real tables of another kind."""
    damaged = bytearray(content)
    positions = _structure(content)
    for _ in range(rng.choice((1, 2, 8))):
        length = 4 * rng.choice((1, 1, 2, 16))
        source, target = rng.choice(positions), rng.choice(positions)
        damaged[target : target + length] = content[source : source + length]
    return bytes(damaged[: len(content)])


def _crossed_offsets(content: bytes, rng: random.Random) -> bytes:
    """Offsets made to lead where another offset leads: shared tables, vectors of the wrong kind."""
    damaged = bytearray(content)
    positions = _structure(content)
    for _ in range(rng.choice((1, 2, 32))):
        source, target = rng.choice(positions), rng.choice(positions)
        word = struct.unpack_from("<I", content, source)[0]
        struct.pack_into("<I", damaged, target, (source + word - target) & 0xFFFFFFFF)
    return bytes(damaged)


def _absurd_shape(content: bytes, rng: random.Random) -> bytes:
    """A tensor's shape, as it stands in the file, replaced by one that cannot be."""
    try:
        tensors = [t for s in tflite.read(content).subgraphs for t in s.tensors]
    except ModelError:
        tensors = []
    if not tensors:
        return _wild_words(content, rng)
    tensor = rng.choice(tensors)
    words = struct.pack(f"<{len(tensor.shape)}i", *tensor.shape)
    absurd = [rng.choice((-1, 0, 1, 7, 65536, 2**31 - 1, -(2**31))) for _ in tensor.shape]
    length = struct.pack("<I", len(tensor.shape))
    grown = struct.pack("<I", rng.choice((0, 9, 1000, 2**28, 2**32 - 1)))
    old, new = length + words, (length if rng.random() < 0.7 else grown)
    return content.replace(old, new + struct.pack(f"<{len(absurd)}i", *absurd), 1)


def _calls(content: bytes, rng: random.Random) -> bytes:
    """Operators that call subgraphs by chance, so that circles and wild calls arise."""
    try:
        graph = tflite.read(rng.choice((tflite_models.two_subgraphs(), tflite_models.variables())))
    except ModelError:
        return content

    def index() -> int:
        return rng.choice((0, 1, 2, 3, -1, 2**31 - 1, -(2**31)))

    subgraphs = tuple(
        replace(
            s,
            operators=tuple(
                replace(
                    o,
                    options=Options(
                        {k: index() if "subgraph" in k else v for k, v in o.options.items()}
                    ),
                )
                for o in (s if rng.random() < 0.9 else rng.choice(graph.subgraphs)).operators
            ),
        )
        for s in graph.subgraphs
    )
    return tflite.write(replace(graph, subgraphs=subgraphs))


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _bit_flips,
    _any_bit_flips,
    _truncation,
    _wild_words,
    _wild_words,
    _moved_words,
    _crossed_offsets,
    _absurd_shape,
    _calls,
)


def case(seed: int, index: int) -> bytes:
    """The bytes of case ``index``; the same for the same seed."""
    rng = random.Random(f"{seed}/{index}")
    content = rng.choice(seeds())
    for _ in range(rng.choice((1, 1, 1, 2))):
        if len(content) > 64:
            content = rng.choice(MUTATIONS)(content, rng)
    return content


def _travelled(graph: Graph) -> str:
    """Estimate and run a model that could be read: what went wrong, if anything."""
    board = mcusim.load_board("nucleo-l496zg")
    refusals = {}
    for runtime in ("tflm", "cmsis-nn", "cmsis-nn@2020"):
        try:
            mcusim.estimate(graph, board, runtime)
        except McusimError as error:
            refusals[runtime] = str(error)
        except Exception as error:
            return f"traceback {type(error).__name__} in estimate for {runtime}"
    small = sum(t.elements for s in graph.subgraphs for t in s.tensors) < _MOST_RUN
    if not small:
        return ""
    refusal = ""
    try:
        zeros = [np.zeros(t.shape, t.dtype.numpy) for t in graph.inputs]
        mcusim.run(graph, zeros)
    except McusimError as error:
        refusal = str(error)
    except Exception as error:
        return f"traceback {type(error).__name__} in run"
    if "tflm" in refusals and refusal != refusals["tflm"]:
        return f"two sentences: {refusals['tflm']} | {refusal}"
    return ""


def attempt(content: bytes, road: bool = False) -> tuple[str, str]:
    """Read a damaged model, print it, write it again; how that ended, and the error's text.

    Args:
        content: the model's bytes.
        road: estimate and run it, too.
    """
    try:
        graph = tflite.read(content, "damaged.tflite")
    except ModelError as error:
        return "refused", str(error)
    except (Exception, RecursionError, MemoryError) as error:
        return f"traceback {type(error).__name__}", str(error)
    failed = _travelled(graph) if road else ""
    if failed:
        return failed, traceback.format_exc(limit=-4)
    try:
        repr((graph, graph.subgraphs, [s.tensors for s in graph.subgraphs], graph.main.nodes))
        if tflite.read(tflite.write(graph)) != graph:
            return "changed by writing", ""
    except Exception as error:
        return f"unwritable {type(error).__name__}", str(error)
    return "read", ""


def _work(seed: int, indices: Sequence[int], road: bool) -> None:
    """Run cases and print one line of JSON for each."""
    if road:
        # Loops that were never compiled take their time, and no turn has an end.
        control_flow.MOST_TURNS = 1_000
        for content in seeds():
            attempt(content, road)
    for index in indices:
        content = case(seed, index)
        print(json.dumps({"start": index}), flush=True)
        started = time.perf_counter()
        end, detail = attempt(content, road)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps([index, end, seconds, peak, detail]), flush=True)


def _watch(seed: int, first: int, end: int, road: bool) -> Iterator[Outcome]:
    """Outcomes of cases ``first`` to ``end``, from worker processes that may die."""
    while first < end:
        command = [sys.executable, "-m", __spec__.name, "--seed", str(seed)]
        command += ["--worker", str(first), str(end), *(["--road"] if road else [])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            while True:
                ready, _, _ = select.select([worker.stdout], [], [], _HANG_S)
                line = worker.stdout.readline() if ready else ""
                if not line:
                    worker.kill()
                    break
                content = json.loads(line)
                if isinstance(content, list):
                    yield Outcome(*content)
                    first = content[0] + 1
        if first < end:
            yield Outcome(first, f"died or hung, code {worker.returncode}", _HANG_S, 0, "")
            first += 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutations and print how they ended; 1 when any broke a promise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="number of cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--road", action="store_true", help="estimate and run, too")
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        _work(given.seed, range(*given.worker), given.road)
        return 0
    outcomes: list[Outcome] = []
    started = time.perf_counter()
    for first in range(0, given.count, _CASES_PER_WORKER):
        outcomes += _watch(
            given.seed, first, min(first + _CASES_PER_WORKER, given.count), given.road
        )
        print(f"\r{len(outcomes)} of {given.count}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    failures = [o for o in outcomes if o.is_failure]
    for failure in failures[:20]:
        print(failure)
    print(f"{len(outcomes)} cases of seed {given.seed} in {time.perf_counter() - started:.0f} s")
    for end, number in Counter(o.end for o in outcomes).most_common():
        print(f"  {number:6d} {end}")
    slowest = max(outcomes, key=lambda o: o.seconds)
    print(f"slowest {slowest.seconds * 1e3:.0f} ms (case {slowest.index})")
    print(f"peak memory {max(o.peak_bytes for o in outcomes) / 1e6:.0f} MB")
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
