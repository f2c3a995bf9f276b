"""Damaged firmware, read and run by the thousand: each must end in an error sentence or in a stop.

    python -m benchmarks.fuzz_images --count 5000 --seed 0

Every case is a shipped firmware as ELF, Intel HEX or UF2, mutated by bit flips, wild words
in its headers and symbols, truncation, or records with wild addresses. What can be read is put on a
board and runs for some thousand instructions. Cases run in worker processes, so that a crash or a
hang is an outcome like any other. The limits are 2 s a case and 500 MB for the whole process.
"""

from __future__ import annotations

import argparse
import contextlib
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
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from io import StringIO

from intelhex import IntelHex

from mcusim.boards import Board, load_board
from mcusim.emulator.firmware import power_on
from mcusim.emulator.images import Image, parse_image
from mcusim.errors import InputError
from mcusim.resources import data_path

__all__ = ["Outcome", "attempt", "case", "main", "seeds"]

LIMIT_S = 2.0
LIMIT_BYTES = 500 * 10**6

_CASES_PER_WORKER = 250
_HANG_S = 30.0
_INSTRUCTIONS = 5_000
_WILD = (0, 1, 2, 4, 0x7FFF, 0xFFFF, 0x1_0000, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 4)
_BOARDS = {"bench-m4": "nrf52840-dk", "bench-m0plus": "nrf52840-dk"}


@dataclass(frozen=True)
class Outcome:
    """What became of one case.

    Attributes:
        index: number of the case.
        end: ``refused`` (an error sentence), ``ran``, or what went wrong.
        seconds: wall time of the attempt.
        peak_bytes: peak resident memory of the process so far.
        detail: the error's text, or how the run stopped.
    """

    index: int
    end: str
    seconds: float
    peak_bytes: int
    detail: str

    @property
    def is_failure(self) -> bool:
        """Whether the case broke a promise."""
        slow = self.seconds > LIMIT_S or self.peak_bytes > LIMIT_BYTES
        return self.end not in ("refused", "ran") or slow


@cache
def seeds() -> tuple[tuple[str, bytes], ...]:
    """Whole images and the name of the board they run on."""
    found = []
    for name, board in _BOARDS.items():
        content = data_path("kernels", "device", "firmware", f"{name}.elf").read_bytes()
        image = parse_image(name, content)
        found += [(board, content), (board, _as_hex(image)), (board, _as_uf2(image))]
    return tuple(found)


def _as_hex(image: Image) -> bytes:
    writer, text = IntelHex(), StringIO()
    for segment in image.segments:
        writer.puts(segment.load_address, segment.data)
    writer.write_hex_file(text)
    return text.getvalue().encode()


def _as_uf2(image: Image) -> bytes:
    blocks = []
    for segment in image.segments:
        for at in range(0, len(segment.data), 256):
            data = segment.data[at : at + 256]
            head = (0x0A324655, 0x9E5D5157, 0, segment.load_address + at, len(data), 0, 1, 0)
            blocks.append(struct.pack("<8I", *head) + data.ljust(476, b"\0"))
            blocks[-1] += struct.pack("<I", 0x0AB16F30)
    return b"".join(blocks)


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 2, 8, 64))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _wild_head(data: bytearray, chance: random.Random) -> None:
    """Words of the ELF header and program headers."""
    for _ in range(chance.choice((1, 2, 4))):
        at = chance.randrange(4, min(52 + 8 * 32, len(data) - 4))
        struct.pack_into("<I", data, at, chance.choice(_WILD) ^ chance.randrange(2))


def _wild_tail(data: bytearray, chance: random.Random) -> None:
    """Words of the symbols and section headers, which lie last."""
    for _ in range(chance.choice((1, 4, 32))):
        at = chance.randrange(len(data) * 3 // 4, len(data) - 4)
        struct.pack_into("<I", data, at, chance.choice(_WILD))


def _repeat(data: bytearray, chance: random.Random) -> None:
    """A stretch that comes twice."""
    start = chance.randrange(len(data))
    size = chance.choice((16, 32, 512, 4096))
    data[start:start] = data[start : start + size]


def _records(data: bytearray, chance: random.Random) -> None:
    """Lines of an Intel HEX file with wild bytes and right checksums."""
    lines = bytes(data).split(b"\n")
    for _ in range(chance.choice((1, 3, 20))):
        at = chance.randrange(len(lines))
        with contextlib.suppress(ValueError):
            record = bytearray.fromhex(lines[at].strip()[1:].decode("ascii", "replace"))
            if len(record) > 5:
                record[chance.randrange(len(record) - 1)] = chance.randrange(256)
                record[-1] = -sum(record[:-1]) & 0xFF
                lines[at] = b":" + record.hex().upper().encode()
    if chance.random() < 0.3:
        del lines[chance.randrange(len(lines))]
    data[:] = b"\n".join(lines)


_MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _cut, _wild_head, _wild_head, _wild_tail, _repeat, _records),
)


def case(index: int, seed: int) -> tuple[str, bytes]:
    """Board and content of one case."""
    chance = random.Random(seed << 32 | index)
    board, content = chance.choice(seeds())
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2))):
        if len(data) > 1024:
            chance.choice(_MUTATIONS)(data, chance)
    return board, bytes(data)


@cache
def _board(name: str) -> Board:
    return load_board(name)


def attempt(index: int, seed: int) -> Outcome:
    """Read one case, and run what could be read."""
    board, content = case(index, seed)
    before = time.perf_counter()
    end, detail = "refused", ""
    try:
        image = parse_image("image", content)
        machine = power_on(image, _board(board))
        stop = machine.run(max_instructions=_INSTRUCTIONS, max_seconds=0.01)
        machine.place(machine.pc)
        end, detail = "ran", stop.reason.name
    except InputError as error:
        detail = str(error)
        if "\n" in detail or not detail:
            end = "no sentence"
    except BaseException:
        end, detail = "traceback", traceback.format_exc()
    seconds = time.perf_counter() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Outcome(index, end, seconds, peak, detail)


def _worker(start: int, count: int, seed: int) -> None:
    # What is loaded and compiled once is no case's time.
    board, content = seeds()[0]
    power_on(parse_image("image", content), _board(board)).run(max_instructions=_INSTRUCTIONS)
    for index in range(start, start + count):
        print(json.dumps(asdict(attempt(index, seed))), flush=True)


def _outcomes(count: int, seed: int) -> Iterator[Outcome]:
    index = 0
    while index < count:
        batch = min(_CASES_PER_WORKER, count - index)
        command = [sys.executable, "-m", "benchmarks.fuzz_images", "--worker", str(index)]
        command += ["--count", str(batch), "--seed", str(seed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            last = index + batch
            while index < last:
                ready = select.select([worker.stdout], [], [], _HANG_S)[0]
                line = worker.stdout.readline() if ready else ""
                if not line:
                    worker.kill()
                    what = "crash" if ready else "hang"
                    yield Outcome(index, what, _HANG_S, 0, f"worker ended with {worker.poll()}")
                    index += 1
                    break
                yield Outcome(**json.loads(line))
                index += 1


def main() -> int:
    """Run the cases and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        _worker(options.worker, options.count, options.seed)
        return 0
    ends: Counter[str] = Counter()
    failures, slowest, peak = 0, 0.0, 0
    for outcome in _outcomes(options.count, options.seed):
        kind = f"ran: {outcome.detail}" if outcome.end == "ran" else outcome.end
        ends[kind] += 1
        slowest, peak = max(slowest, outcome.seconds), max(peak, outcome.peak_bytes)
        if outcome.is_failure:
            failures += 1
            print(
                f"case {outcome.index}: {outcome.end} in {outcome.seconds:.2f} s\n{outcome.detail}"
            )
    for kind, number in ends.most_common():
        print(f"{number:6} {kind}")
    print(f"slowest {slowest:.2f} s, peak {peak / 1e6:.0f} MB, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
