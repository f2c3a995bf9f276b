"""A machine that functions are called on, whatever the rest of the firmware needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mcusim.boards import Board, load_board
from mcusim.emulator.images import Image
from mcusim.emulator.machine import Machine
from mcusim.emulator.memories import MemoryRegion
from mcusim.errors import InputError

__all__ = ["ARGUMENT_BYTES", "board_of", "machine_for_calls"]

#: Where arguments lie: external RAM in the architecture's memory map, which no board here has.
_ARGUMENTS_AT, ARGUMENT_BYTES = 0x6800_0000, 64 * 2**20
_PAGE = 0x1000

#: A board of each core, of which only the core counts.
_BOARDS = {
    "v6S-M": "raspberry-pi-pico",
    "v7-M": "nucleo-f207zg",
    "v7E-M": "nrf52840-dk",
    "v7E-M, FPv5": "nucleo-f767zi",
    "v8-M": "nrf5340-dk",
}
#: Tag_CPU_arch by number.
_ARCHITECTURES = {11: "v6S-M", 12: "v6S-M", 10: "v7-M", 13: "v7E-M", 17: "v8-M"}
#: Tag_FP_arch of the Cortex-M7, and of the Cortex-M33, which v8-M tells from it.
_FPV5 = (7, 8)


def board_of(path: str | Path, image: Image) -> Board:
    """A board with the core that an ELF was built for, and memory wherever the image lies.

    Args:
        path: the ELF.
        image: what was loaded from it.

    Raises:
        InputError: it does not say which core, or Unicorn has none such.
    """
    named = _BOARDS.get(_architecture(Path(path)))
    if named is None:
        raise InputError(
            f"{image.name}: does not say that it was built for a Cortex-M0, M0+, M3, M4, M7 or "
            "M33; name a board by --board"
        )
    return load_board(named).model_copy(update={"regions": _regions(image)})


def _architecture(path: Path) -> str:
    """Source: Addenda to the ABI for the Arm Architecture (IHI 0045), section 2.5."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    found: dict[str, object] = {}
    try:
        with path.open("rb") as file:
            section = ELFFile(file).get_section_by_name(".ARM.attributes")
            if section is None:
                return ""
            for one in section.iter_subsections():
                for part in one.iter_subsubsections():
                    found |= {
                        attribute.tag: attribute.value for attribute in part.iter_attributes()
                    }
    # A section of any content may make the reader fail in any way.
    except (ELFError, OSError, ArithmeticError, LookupError, AttributeError, ValueError, TypeError):
        return ""
    name = _ARCHITECTURES.get(_number(found.get("TAG_CPU_ARCH")), "")
    if name == "v7E-M" and _number(found.get("TAG_FP_ARCH")) in _FPV5:
        return "v7E-M, FPv5"
    return name


def _number(value: object) -> int:
    return value if isinstance(value, int) else -1


def _regions(image: Image) -> dict[str, tuple[int, int]]:
    """Memory under every segment: what is loaded is flash, what is only used is RAM."""
    flash = [(s.load_address, len(s.data)) for s in image.segments if s.data]
    ram = [(s.run_address, s.size) for s in image.segments if s.run_address != s.load_address]
    ram += [(s.run_address, s.size) for s in image.segments if not s.data]
    ram += [(s.load_address, len(s.data)) for s in image.segments if s.data and not s.is_executable]
    of_flash = _pages(flash)
    found = {f"flash{number or ''}": span for number, span in enumerate(of_flash)}
    found |= {
        f"ram{number or ''}": span
        for number, span in enumerate(_pages(ram))
        if not any(at < span[0] + span[1] and span[0] < at + size for at, size in of_flash)
    }
    return found


def _pages(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pages that hold some spans, as few runs of them as there are."""
    runs: list[list[int]] = []
    for at, size in sorted(span for span in spans if span[1]):
        first, end = at & -_PAGE, -(-(at + size) // _PAGE) * _PAGE
        if runs and first <= runs[-1][1]:
            runs[-1][1] = max(runs[-1][1], end)
        else:
            runs.append([first, end])
    return [(first, end - first) for first, end in runs]


def machine_for_calls(image: Image, board: Board) -> Machine:
    """A machine with memory for arguments beside the board's own, and the stack in it.

    Raises:
        InputError: Unicorn has no such core, or the image does not fit the board.
    """
    from unicorn.arm_const import UC_ARM_REG_SP

    machine = Machine(image, board)
    machine.memories.add(MemoryRegion("arguments", _ARGUMENTS_AT, ARGUMENT_BYTES))
    machine.uc.reg_write(UC_ARM_REG_SP, _ARGUMENTS_AT + ARGUMENT_BYTES - 64)
    return machine
