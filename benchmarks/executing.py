"""Executing compiled code: timed execution against Unicorn alone, the board itself and QEMU.

    python -m benchmarks.executing [--repeats N]

Runs kernels of 30 million instructions, dot products as in a dense layer, in turns with and without
the native hook that counts and times its blocks, and prints the best of each and the median of
the ratios of neighbours, which a busy computer moves least; ``qemu-system-arm -icount`` stands
beside them where it is installed.
Exit code 1 when timed execution of a kernel is below 0.8 of Unicorn alone, or slower than the board
itself.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from unicorn import UC_ARCH_ARM, UC_MODE_THUMB, Uc
from unicorn.arm_const import UC_ARM_REG_SP, UC_CPU_ARM_CORTEX_M0, UC_CPU_ARM_CORTEX_M4

import mcusim
from mcusim.emulator.images import Image, Segment
from mcusim.emulator.machine import Machine

PROMISED = 0.8
_ENTRY = 0x40
_STACK = 0x2000_8000
_DATA = 0x2000_0000

#: Thumb code by core: dot products of 64 words or bytes in an outer loop, then an exit by
#: semihosting; unrolled four times as compilers and CMSIS-NN do, and as a loop of ten instructions,
#: in which a hook costs most. M4: SMLAD, four products a word; M0+: one product a byte.
UNROLLED = {
    "m4": (
        "4df2f0294ff0000c4ff0005027491022002350f8044b51f8045b2ffa84f6"
        "2ffa85f726fb07332ffa94f42ffa95f524fb053350f8044b51f8045b2ffa"
        "84f62ffa85f726fb07332ffa94f42ffa95f524fb053350f8044b51f8045b"
        "2ffa84f62ffa85f726fb07332ffa94f42ffa95f524fb053350f8044b51f8"
        "045b2ffa84f62ffa85f726fb07332ffa94f42ffa95f524fb0533013abdd1"
        "4b60002b48bf0cf1010cb9f10109b0d118200149abbe0010002026000200"
    ),
    "m0plus": (
        "134f144814491022002304780d7864b26db26c431b1944784d7864b26db2"
        "6c431b1984788d7864b26db26c431b19c478cd7864b26db26c431b190430"
        "0431013ae3d14b60013fdcd118200449abbe0000d0010100000000200010"
        "002026000200"
    ),
}
SHORT = {
    "m4": (
        "49f658094ff0000c4ff000500f494022002350f8044b51f8045b2ffa84f6"
        "2ffa85f726fb07332ffa94f42ffa95f524fb0533013aedd14b60002b48bf"
        "0cf1010cb9f10109e0d118200149abbe0010002026000200"
    ),
    "m0plus": (
        "0a4f0b480b494022002304780d7864b26db26c431b1901300131013af5d1"
        "4b60013feed118200449abbe000020cb0000000000200010002026000200"
    ),
}
MODELS = {"m4": UC_CPU_ARM_CORTEX_M4, "m0plus": UC_CPU_ARM_CORTEX_M0}
BOARDS = ("nucleo-l4r5zi", "nrf52840-dk", "nucleo-g0b1re", "raspberry-pi-pico")


def main() -> int:
    """Time, print, compare with what is promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    kept = True
    for name in BOARDS:
        core = mcusim.load_board(name).core.profile
        kept &= compare(name, UNROLLED[core], "unrolled", repeats)
        kept &= compare(name, SHORT[core], "short loop", repeats)
    beside_qemu(bytes.fromhex(UNROLLED["m4"]), repeats)
    return 0 if kept else 1


def compare(name: str, text: str, kind: str, repeats: int) -> bool:
    """Print a kernel's speeds on a board; gives whether they are as promised."""
    board = mcusim.load_board(name)
    base = board.regions["flash"][0]
    image = program(base, bytes.fromhex(text))
    executed = instructions(image, name)
    timed, alone = [], []
    board_s = 0.0
    for _ in range(repeats):
        alone.append(seconds_alone(MODELS[board.core.profile], base, image))
        board_s, taken = seconds_timed(image, name)
        timed.append(taken)
    plain, hooked = min(alone), min(timed)
    ratio = statistics.median(a / t for a, t in zip(alone, timed, strict=True))
    speed = board_s / hooked
    print(
        f"{name:18} {kind:10} {executed / 1e6:.1f} M instructions: Unicorn alone "
        f"{executed / plain / 1e6:.0f} M/s, timed {executed / hooked / 1e6:.0f} M/s, "
        f"ratio {ratio:.2f} (asked {PROMISED}); {speed:.1f} times the board's speed"
    )
    return ratio >= PROMISED and speed > 1


def program(base: int, code: bytes) -> Image:
    """The kernel behind a vector table."""
    vectors = struct.pack("<II", _STACK, base + _ENTRY | 1).ljust(_ENTRY, b"\0")
    data = vectors + code
    return Image("kernel", (Segment(base, base, data, len(data)),), base + _ENTRY, base)


def prepared(image: Image, board: str) -> Machine:
    """A board with the kernel and its data, and all blocks met."""
    machine = Machine(image, mcusim.load_board(board))
    machine.run(max_instructions=100_000)
    values = np.random.default_rng(0).integers(-128, 128, 0x2000).astype(np.int8)
    machine.write(_DATA, values.tobytes())
    machine.reset()
    return machine


def instructions(image: Image, board: str) -> int:
    """How many the kernel is."""
    machine = prepared(image, board)
    before = machine.counter.instructions
    machine.run()
    return machine.counter.instructions - before


def seconds_timed(image: Image, board: str) -> tuple[float, float]:
    """Board time, and time here, of the kernel with its blocks counted and timed."""
    machine = prepared(image, board)
    before, start = machine.cycles, time.perf_counter()
    machine.run()
    taken = time.perf_counter() - start
    return (machine.cycles - before) / machine.clock_hz, taken


def seconds_alone(model: int, base: int, image: Image) -> float:
    """Time here of the kernel in Unicorn without any hook."""
    uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB)
    uc.ctl_set_cpu_model(model)
    uc.mem_map(base, 0x1_0000)
    uc.mem_map(_DATA, 0x1_0000)
    (segment,) = image.segments
    uc.mem_write(base, segment.data)
    values = np.random.default_rng(0).integers(-128, 128, 0x2000).astype(np.int8)
    uc.mem_write(_DATA, values.tobytes())
    uc.reg_write(UC_ARM_REG_SP, _STACK)
    end = base + _ENTRY + segment.data[_ENTRY:].index(b"\xab\xbe")
    start = time.perf_counter()
    uc.emu_start(base + _ENTRY | 1, end)
    return time.perf_counter() - start


def beside_qemu(code: bytes, repeats: int) -> None:
    """Print the ratio to QEMU counting instructions, where it is installed."""
    qemu = shutil.which("qemu-system-arm")
    if qemu is None:
        print("qemu-system-arm is not installed: no ratio to it")
        return
    image = program(0, code)
    (segment,) = image.segments
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.bin"
        path.write_bytes(segment.data)
        command = [qemu, "-M", "mps2-an386", "-nographic", "-semihosting"]
        command += ["-device", f"loader,file={path},addr=0", "-icount", "shift=0"]

        def run() -> float:
            start = time.perf_counter()
            subprocess.run(command, check=False, timeout=300, capture_output=True)
            return time.perf_counter() - start

        run()
        taken = min(run() for _ in range(3))
    board = "nucleo-l4r5zi"
    image = program(0x0800_0000, code)
    count = instructions(image, board)
    ours = count / min(seconds_timed(image, board)[1] for _ in range(repeats))
    theirs = count / taken
    print(
        f"qemu-system-arm -icount, its start included: {theirs / 1e6:.0f} M/s; "
        f"ours is {ours / theirs:.1f} times that"
    )


if __name__ == "__main__":
    sys.exit(main())
