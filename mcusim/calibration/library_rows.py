"""Counted calls of CMSIS-NN's functions outside TFLM, read into mcusim's vocabulary."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from mcusim.errors import InputError
from mcusim.graph import Array
from mcusim.instruction_mix import CLASSES, FIELDS
from mcusim.kernels.cmsis_nn.contract import (
    SIMD_OF_CORE,
    Configuration,
    Generation,
    LibraryCase,
)

__all__ = [
    "LIBRARY_COLUMNS",
    "LibraryRow",
    "LibrarySet",
    "library_build",
    "library_case",
    "library_vector",
]

#: Columns of ``cmsis_nn_kernels.csv`` that make up each class of mcusim's; what is absent is 0.
#: A ``pop`` into the program counter stands in two of them, ``ldm`` and ``bx_ret``:
#: :func:`library_vector` takes it out of the latter, as the counted runs of TFLM have it.
LIBRARY_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "alu": ("alu", "ext"),
    "if_then": ("it",),
    "multiply": ("mul",),
    "multiply_long": ("mul_long",),
    "multiply_half": ("mul_half",),
    "simd_mac": ("simd_mac",),
    "simd_other": ("simd_pack", "simd_alu", "sat"),
    "divide": ("div",),
    "load_byte": ("ld_b",),
    "load_half": ("ld_h",),
    "load_word": ("ld_w",),
    "load_double": ("ld_d",),
    "load_multiple": ("ldm",),
    "store_byte": ("st_b",),
    "store_half": ("st_h",),
    "store_word": ("st_w",),
    "store_double": ("st_d",),
    "store_multiple": ("stm",),
    "branch_conditional": ("br_cond",),
    "branch": ("br_uncond",),
    "call": ("bl",),
    "branch_indirect": ("bx_ret",),
    "branch_table": ("tb",),
    "system": ("other",),
    "nop": ("nop",),
    "taken_conditional": ("br_cond_taken",),
    "taken_unconditional": ("br_uncond", "bl", "bx_ret", "tb"),
    "load_accesses": ("ld_b", "ld_h", "ld_w", "ld_d", "ld_d", "ldm_regs"),
    "store_accesses": ("st_b", "st_h", "st_w", "st_d", "st_d", "stm_regs"),
}

_GENERATIONS = ("2020apr", "2020", "2021", "2022")
_SINGLE_ROUNDING = "sr"


@dataclass(frozen=True, eq=False)
class LibraryRow:
    """One call of the library, run once as compiled for one core with one flag.

    Attributes:
        case: what was called with what.
        configuration: how the library was built.
        build: ``"<core>.<build>"``, such as ``"m4.gcc-O3-asm"``.
        vector: float64, shape ``(len(FIELDS),)``: instructions by class; where only the total was
            counted, shape ``(1,)``.
        top_functions: instructions of each compiled function, the most first.
    """

    case: LibraryCase
    configuration: Configuration
    build: str
    vector: npt.NDArray[np.float64]
    top_functions: str = ""

    @property
    def total(self) -> float:
        """Instructions in all."""
        return float(self.vector[: len(CLASSES)].sum())


def library_vector(row: Mapping[str, str]) -> npt.NDArray[np.float64]:
    """Instructions by class, in the order of FIELDS, of a row of counted library calls."""
    counts = {
        name: sum(float(row[column]) for column in columns)
        for name, columns in LIBRARY_COLUMNS.items()
    }
    twice = sum(counts.get(name, 0.0) for name in CLASSES) - float(row["n_instr"])
    counts["branch_indirect"] -= twice
    return np.array([counts.get(name, 0.0) for name in FIELDS])


def library_case(row: Mapping[str, str], arrays: Mapping[str, Array]) -> LibraryCase:
    """A recorded call, of a row of a file of cases and the tensors recorded with it."""
    return LibraryCase(
        row["id"],
        row["op"],
        json.loads(row["params_json"]),
        row["has_bias"] != "0",
        arrays=arrays,
    )


@dataclass(frozen=True)
class LibrarySet:
    """A folder of counted runs, and the calls that were recorded beside it.

    Attributes:
        folder: holds ``cmsis_nn_kernels.csv`` and its siblings; arguments and tensors of the calls
            are in ``../golden/cmsis_nn``.
    """

    folder: Path

    def rows(self, with_functions: bool = False) -> Iterator[LibraryRow]:
        """Counted calls of every generation, those of which only totals were counted included.

        Args:
            with_functions: read the table of compiled functions, too; there is one for the newest
                generation.

        Raises:
            InputError: the folder lacks a file.
        """
        functions = self._functions() if with_functions else {}
        newest, older = self._cases("cases.csv"), self._cases("cases_old.csv")
        for row in self._read(self.folder / "cmsis_nn_kernels.csv"):
            if row["id"] in newest:
                build, configuration = library_build(row["build"])
                named = functions.get((row["id"], row["build"]), "")
                case = newest[row["id"]]
                yield LibraryRow(case, configuration, build, library_vector(row), named)
        for row in self._read(self.folder / "cmsis_nn_kernels_m55.csv"):
            if row["id"] in newest:
                build, configuration = library_build(row["build"])
                total = np.array([float(row["n_instr_approx"])])
                yield LibraryRow(newest[row["id"]], configuration, build, total)
        entries: dict[tuple[str, str], LibraryCase] = {}
        for row in self._read(self.folder / "cmsis_nn_kernels_old.csv"):
            if row["id"] in older:
                build, configuration = library_build(row["build"])
                case = older[row["id"]]
                key = (case.id, row["entry"])
                if key not in entries:
                    entries[key] = LibraryCase(
                        case.id, case.op, case.params, case.has_bias, row["entry"], case.arrays
                    )
                yield LibraryRow(entries[key], configuration, build, library_vector(row))

    def cases(self) -> dict[str, LibraryCase]:
        """Calls of the newest generation by name."""
        return self._cases("cases.csv")

    def _cases(self, name: str) -> dict[str, LibraryCase]:
        arrays = self._arrays
        return {
            row["id"]: library_case(row, arrays.get(row["id"], {}))
            for row in self._read(self._recorded / name)
        }

    @property
    def _recorded(self) -> Path:
        return self.folder.parent / "golden" / "cmsis_nn"

    @cached_property
    def _arrays(self) -> dict[str, dict[str, Array]]:
        found: dict[str, dict[str, Array]] = defaultdict(dict)
        for path in sorted(self._recorded.glob("*.npz")):
            if not path.name.startswith("old_"):
                with np.load(path) as file:
                    for key in file.files:
                        case, _, name = key.partition(".")
                        found[case][name] = file[key]
        return dict(found)

    def _functions(self) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
        for row in self._read(self.folder / "cmsis_nn_functions.csv"):
            found[row["id"], row["build"]].append((int(row["instr"]), row["function"]))
        return {
            key: " ".join(f"{name}:{count}" for count, name in sorted(values, reverse=True))
            for key, values in found.items()
        }

    def _read(self, path: Path) -> Iterator[dict[str, str]]:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file of counted runs")
        with path.open(newline="") as file:
            yield from csv.DictReader(file)


def library_build(name: str) -> tuple[str, Configuration]:
    """Key and configuration of a build.

    Args:
        name: such as ``"m4_O3_2020"``, ``"m4_O3_asm"``, ``"m55_O3"``, ``"m4_gcc9-Os_2020"``.
    """
    core, flag, *rest = name.split("_")
    generation = rest[0] if rest and rest[0] in _GENERATIONS else "2026"
    variant = rest[0] if rest and generation == "2026" else ""
    configuration = Configuration(
        SIMD_OF_CORE[core], cast(Generation, generation), variant == _SINGLE_ROUNDING
    )
    compiled = flag if "-" in flag else f"gcc-{flag}"
    return f"{core}.{compiled}{'-' if variant else ''}{variant}", configuration
