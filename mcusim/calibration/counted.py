"""Counted runs of compiled kernels, read into mcusim's vocabulary."""

from __future__ import annotations

import csv
import hashlib
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcusim.errors import InputError
from mcusim.graph import Graph
from mcusim.instruction_mix import FIELDS
from mcusim.tflite import read

__all__ = [
    "COLUMNS",
    "CountedRow",
    "CountedSet",
    "build_of",
    "build_of_name",
    "vector_of",
]

#: Columns of the counted runs, by mcusim's name of the class. The first 34 sum to the column
#: ``total``; the last four are counted beside them.
COLUMNS: Mapping[str, str] = {
    "alu": "alu",
    "if_then": "it",
    "multiply": "mul32",
    "multiply_long": "mul64",
    "multiply_half": "dsp_mac16",
    "simd_mac": "simd_mac",
    "simd_other": "dsp_other",
    "divide": "div",
    "load_byte": "ld8",
    "load_half": "ld16",
    "load_word": "ld32",
    "load_double": "ld64",
    "load_multiple": "ldm",
    "store_byte": "st8",
    "store_half": "st16",
    "store_word": "st32",
    "store_double": "st64",
    "store_multiple": "stm",
    "branch_conditional": "b_cond",
    "branch": "b_uncond",
    "call": "call",
    "branch_indirect": "ret_ind",
    "branch_table": "tbb",
    "float_alu": "fpu_alu",
    "float_mac": "fpu_mac",
    "float_divide": "fpu_div_sqrt",
    "float_convert": "fpu_cvt",
    "float_move": "fpu_mov",
    "float_load": "fpu_ld",
    "float_store": "fpu_st",
    "float_load_multiple": "fpu_ldm",
    "float_store_multiple": "fpu_stm",
    "system": "sys",
    "nop": "nop",
    "taken_conditional": "b_cond_taken",
    "taken_unconditional": "uncond_taken",
    "load_accesses": "ld_words",
    "store_accesses": "st_words",
}

_CORES = {
    "cortex-m0plus": "m0plus",
    "cortex-m3": "m3",
    "cortex-m4": "m4",
    "cortex-m7": "m7",
    "cortex-m33": "m33",
}
_NAMED_CORES = {"m0p": "m0plus", "m4s": "m4-soft"}


@dataclass(frozen=True, eq=False)
class CountedRow:
    """One operator, run once as compiled for one core with one flag.

    Attributes:
        id: name of the single-operator model, or of the network.
        operator: the schema's name, or ``FRAMEWORK``.
        build: ``"<core>.<build>"``, such as ``"m4.gcc-O3"``.
        vector: float64, shape ``(len(FIELDS),)``: instructions by class.
        index: ``op_index`` of a network's row: a number, or ``construct``, ``allocate_tensors`` or
            ``invoke_overhead``; empty for a single-operator model.
        top_functions: the functions that executed most, with their instructions.
    """

    id: str
    operator: str
    build: str
    vector: npt.NDArray[np.float64]
    index: str = ""
    top_functions: str = ""

    @property
    def total(self) -> float:
        """Instructions in all."""
        return float(self.vector[: FIELDS.index("taken_conditional")].sum())


def build_of(core: str, fpu: str, flag: str) -> str:
    """Key of a build: ``build_of("cortex-m4", "soft", "Os")`` is ``"m4-soft.gcc-Os"``.

    M0+ and M3 have no FPU, so only an M4 without its FPU is told apart.
    """
    name = _CORES[core]
    return f"{name}{'-soft' if name == 'm4' and fpu == 'soft' else ''}.gcc-{flag}"


def build_of_name(name: str) -> str:
    """Key of a build from its short name: ``"m4s_Os_ref"`` is ``"m4-soft.gcc-Os"``."""
    core, flag = name.split("_")[:2]
    return f"{_NAMED_CORES.get(core, core)}.gcc-{flag}"


def vector_of(row: Mapping[str, str]) -> npt.NDArray[np.float64]:
    """Instructions by class, in the order of FIELDS, of a row of a CSV file of counted runs."""
    return np.array([float(row[COLUMNS[field]]) for field in FIELDS])


@dataclass(frozen=True)
class CountedSet:
    """A folder of counted runs, and the models they ran.

    Attributes:
        folder: holds ``tflm_grid.csv`` and its siblings; the models are in ``../golden/tflm`` and
            ``../models``.
    """

    folder: Path

    def sha256(self, name: str) -> str:
        """Hash of a file of the folder, for the record of what was fitted."""
        return hashlib.sha256(self._path(name).read_bytes()).hexdigest()

    def rows(self, name: str) -> Iterator[dict[str, str]]:
        """Rows of a CSV file of the folder.

        Raises:
            InputError: the folder has no such file.
        """
        with self._path(name).open(newline="") as file:
            yield from csv.DictReader(file)

    def single_operators(self, kernels: str = "ref") -> list[CountedRow]:
        """Rows of every single-operator model.

        Args:
            kernels: ``"ref"``, or ``"cmsis"`` for the builds of TFLM with CMSIS-NN.
        """
        return [
            CountedRow(
                row["id"],
                row["op"],
                build_of(row["core"], row["fpu"], row["opt"]),
                vector_of(row),
                top_functions=row["top_functions"],
            )
            for row in self.rows("tflm_grid.csv")
            if row["kernels"] == kernels and row["status"] == "ok"
        ]

    def networks(self) -> list[CountedRow]:
        """Operators and framework lines of whole networks, with the reference kernels of 2026."""
        return [
            CountedRow(
                row["model"],
                row["op"],
                build_of("cortex-m4", "hard", row["opt"]),
                vector_of(row),
                row["op_index"],
                row["top_functions"],
            )
            for row in self.rows("tflm_operators.csv")
            if row["lib"] == "tflm_2026" and row["kernels"] == "ref"
        ]

    def models(self) -> Iterator[tuple[str, Graph]]:
        """The single-operator models by id."""
        path = self.folder.parent / "golden" / "tflm" / "single_operators.zip"
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                yield name.removesuffix(".tflite"), read(archive.read(name), name)

    def models_with_data(self, only: Collection[str]) -> Iterator[tuple[str, Graph]]:
        """Models of some operators, their inputs holding what the counted runs were given.

        Args:
            only: operators whose loops depend on data.
        """
        path = self.folder.parent / "golden" / "tflm" / "single_operators.npz"
        with np.load(path) as arrays:
            for name, graph in self.models():
                main = graph.main
                if main.operators[0].name in only:
                    given = {i: arrays[f"{name}.in{k}"] for k, i in enumerate(main.inputs)}
                    tensors = tuple(
                        replace(t, data=given.get(t.index, t.data)) for t in main.tensors
                    )
                    yield name, replace(graph, subgraphs=(replace(main, tensors=tensors),))

    def network_models(self) -> dict[str, Path]:
        """Files of the whole networks, by name."""
        return {p.stem: p for p in sorted((self.folder.parent / "models").rglob("*.tflite"))}

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise InputError(f"{path}: there is no such file of counted runs")
        return path
