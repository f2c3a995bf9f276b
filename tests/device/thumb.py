"""The shipped firmware's functions, executed one at a time in Unicorn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from elftools.elf.elffile import ELFFile
from unicorn import UC_ARCH_ARM, UC_MODE_MCLASS, UC_MODE_THUMB, Uc
from unicorn import arm_const as registers

from mcusim.calibration.device_layers import DeviceLayer, flat
from mcusim.graph import Array
from mcusim.resources import data_path

__all__ = ["CORES", "Firmware", "firmware", "firmware_path"]

CORES = ("m0plus", "m4", "m33")

_RETURN = 0x000F_FFE0
_STACK = 0x2010_0000
_HEAP = 0x2004_0000
_ARGUMENTS = (
    registers.UC_ARM_REG_R0,
    registers.UC_ARM_REG_R1,
    registers.UC_ARM_REG_R2,
    registers.UC_ARM_REG_R3,
)


def firmware_path(core: str) -> Path:
    """The shipped ELF of a core."""
    return data_path("kernels", "device", "firmware", f"bench-{core}.elf")


@cache
def firmware(core: str) -> Firmware:
    """The shipped ELF of a core, loaded."""
    return Firmware.load(firmware_path(core))


@dataclass
class Firmware:
    """An ELF in memory.

    Attributes:
        machine: the engine.
        symbols: addresses of functions and variables.
    """

    machine: Uc
    symbols: dict[str, int]

    @classmethod
    def load(cls, path: Path) -> Firmware:
        """Load an ELF with code at 0 and RAM at 0x20000000."""
        machine = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        machine.mem_map(0, 1 << 20)
        machine.mem_map(0x2000_0000, 1 << 20)
        with path.open("rb") as file:
            elf = ELFFile(file)
            for segment in elf.iter_segments("PT_LOAD"):
                machine.mem_write(segment["p_paddr"], segment.data())
            table = elf.get_section_by_name(".symtab")
            symbols = {s.name: s["st_value"] for s in table.iter_symbols()}
        return cls(machine, symbols)

    def run(self, layer: DeviceLayer, inputs: Sequence[Array], output_bytes: int) -> Array:
        """The int8 outputs, flat, of a layer's function."""
        heap = _HEAP

        def placed(array: Array | None, gap: int = 0) -> int:
            nonlocal heap
            if array is None:
                return 0
            # Bytes may begin anywhere.
            address = heap + gap if array.dtype == np.int8 else heap
            heap = (address + array.nbytes + 31) & ~15
            self.machine.mem_write(address, np.ascontiguousarray(array).tobytes())
            return address

        words = [placed(v) if isinstance(v, np.ndarray) else v for v in flat(layer.fields)]
        arguments = [placed(np.array(words, np.int64).astype(np.int32))]
        arguments += [placed(array, gap=1) for array in inputs]
        if layer.weights is not None:
            arguments += [placed(layer.weights, gap=3), placed(layer.bias)]
        if layer.function == "mcusim_convolve_s8":
            arguments.append(placed(np.zeros(layer.column_bytes, np.int8)))
        output = placed(np.full(output_bytes + 16, 0x55, np.int8), gap=1)
        self.call(layer.function, [*arguments, output])
        stored = np.frombuffer(bytes(self.machine.mem_read(output, output_bytes + 16)), np.int8)
        assert set(stored[output_bytes:].tolist()) == {0x55}, "wrote beyond the output"
        return stored[:output_bytes]

    def call(self, function: str, arguments: Sequence[int]) -> None:
        """Call a function by the procedure call standard."""
        for register, value in zip(_ARGUMENTS, arguments, strict=False):
            self.machine.reg_write(register, value)
        more = np.array(arguments[4:], np.uint32)
        stack = _STACK - 64
        self.machine.mem_write(stack, more.tobytes())
        self.machine.reg_write(registers.UC_ARM_REG_SP, stack)
        self.machine.reg_write(registers.UC_ARM_REG_LR, _RETURN | 1)
        self.machine.emu_start(self.symbols[function] | 1, _RETURN)
