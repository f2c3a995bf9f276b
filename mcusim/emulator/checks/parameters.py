"""Parameters of functions as the debug information of an ELF names them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mcusim.emulator.images import Image

__all__ = ["debug_parameters"]

#: Debug information that is read to its end for want of an index, in bytes.
_MOST_BYTES = 16 * 2**20


def debug_parameters(
    path: str | Path, image: Image, functions: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Names of parameters by function, for those functions that debug information describes.

    Args:
        path: the ELF.
        image: what was loaded from it.
        functions: by the names of their symbols.
    """
    from elftools.common.exceptions import DWARFError, ELFError
    from elftools.elf.elffile import ELFFile

    wanted = set(functions)
    found: dict[str, tuple[str, ...]] = {}
    try:
        with Path(path).open("rb") as file:
            elf = ELFFile(file)
            if elf.has_dwarf_info():
                for unit in _units(elf.get_dwarf_info(), image, wanted):
                    found |= _declared(unit, wanted - found.keys())
                    if found.keys() == wanted:
                        break
    # Debug information of any content may make the reader fail in any way: it is then as if there
    # were none.
    except (
        *(ELFError, DWARFError, OSError, ArithmeticError, LookupError),
        *(AttributeError, ValueError, TypeError, AssertionError, RecursionError),
    ):
        return found
    return found


def _units(information: Any, image: Image, functions: Iterable[str]) -> Iterator[Any]:
    """Compilation units that functions lie in; all of them where there is no index."""
    index = information.get_aranges()
    if index is None:
        if information.debug_info_sec.size <= _MOST_BYTES:
            yield from information.iter_CUs()
        return
    symbols = (image.symbol(function) for function in functions)
    offsets = {index.cu_offset_at_addr(symbol.address) for symbol in symbols if symbol}
    for offset in sorted(offset for offset in offsets if offset is not None):
        yield information.get_CU_at(offset)


def _declared(unit: Any, functions: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Parameters of those functions that a unit defines."""
    wanted = set(functions)
    return {
        _name(entry): tuple(
            _name(child)
            for child in entry.iter_children()
            if child.tag == "DW_TAG_formal_parameter"
        )
        for entry in unit.get_top_DIE().iter_children()
        if entry.tag == "DW_TAG_subprogram"
        and _name(entry) in wanted
        and "DW_AT_declaration" not in entry.attributes
    }


def _name(entry: Any) -> str:
    attribute = entry.attributes.get("DW_AT_name")
    return "" if attribute is None else str(attribute.value.decode("utf-8", "replace"))
