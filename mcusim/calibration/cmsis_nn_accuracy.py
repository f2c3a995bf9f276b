"""Writes docs/accuracy-cmsis-nn.md: layers inside TFLM with CMSIS-NN, kept out of the fit.

``python -m mcusim.calibration.cmsis_nn_accuracy --write`` fits everything anew, which takes four
minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcusim.calibration.counted import CountedSet
from mcusim.calibration.kept_out import by
from mcusim.calibration.library_fit import LibraryFit
from mcusim.calibration.library_profiles import fit_all, observed
from mcusim.calibration.own_counts import own_rows
from mcusim.calibration.profile_fit import FitResult
from mcusim.calibration.reference_beside_cmsis_nn import fit_reference_beside_cmsis_nn

__all__ = ["KeptOutLayer", "library_layers", "main", "page", "reference_layers"]

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "accuracy-cmsis-nn.md"
_MEDIAN_TARGET, _P95_TARGET = 0.01, 0.04
#: How the rows of layers inside TFLM begin to tell their kind.
_TFLM = "TFLM "
_SHORT = {"int8": "i8", "int16": "i16", "float32": "f32"}

_HEAD = f"""# How accurate instruction counts with CMSIS-NN are

*Written by `python -m mcusim.calibration.cmsis_nn_accuracy --write`; do not edit.*

Whole operators inside TFLite Micro with CMSIS-NN (tflite-micro 90b983c, CMSIS-NN 4ab83cc, GCC
12.2.1), eight builds: the glue, the library's functions, memcpy and what else it calls. Each
model is predicted by a fit that had **not** seen it, for typical data; *in the fit* is the error
left when the model was in it and its data is known. Wanted are {100 * _MEDIAN_TARGET:g} % at the
median and {100 * _P95_TARGET:g} % at the 95th percentile for each operator and build.

The *shared* models are like layers of networks; *ours* were drawn at random to tell loops apart,
and are harder: many are of a few elements, of odd extents, of every rank. *By TFLM* are types and
shapes that the library has no kernel for, which run TFLM's reference kernel as it is compiled in
the file of the glue. Operators that the library has no kernel for at all are compiled as without
it: see [the page on reference kernels](accuracy-instructions.md). Errors are in percent.
"""


@dataclass(frozen=True)
class KeptOutLayer:
    """A model in a build, predicted by a fit without it.

    Attributes:
        operator: the schema's name, its type, and whether TFLM's reference kernel runs it.
        build: such as ``"m4.gcc-O3"``.
        model: its id.
        is_shared: whether others counted it.
        error: relative and signed, for data that is not known.
        fitted: the same with the model in the fit, its data known.
    """

    operator: str
    build: str
    model: str
    is_shared: bool
    error: float
    fitted: float


def library_layers(results: Iterable[LibraryFit], ours: Collection[str]) -> list[KeptOutLayer]:
    """Layers that the library runs, of the fits of its profiles.

    Args:
        results: the fits.
        ours: ids of our own models.
    """
    return [
        KeptOutLayer(
            row.kind.removeprefix(_TFLM),
            fit.build,
            row.id,
            row.id not in ours,
            float(fit.errors[i]),
            float(fit.fit_errors[i]),
        )
        for fit in results
        for i, row in enumerate(fit.observations)
        if row.kind.startswith(_TFLM)
    ]


def reference_layers(results: Iterable[FitResult], ours: Collection[str]) -> list[KeptOutLayer]:
    """Layers that TFLM's reference kernels run beside the library.

    Args:
        results: the fits.
        ours: ids of our own models.
    """
    return [
        KeptOutLayer(
            f"{fit.operator} {_SHORT[fit.profile.rpartition('_')[2]]}, by TFLM",
            fit.build,
            name,
            name not in ours,
            float(fit.fit.held_out_errors[i]),
            float(fit.fit.fit_errors[i]),
        )
        for fit in results
        for i, name in enumerate(fit.sample.ids)
    ]


def page(layers: Sequence[KeptOutLayer]) -> str:
    """The page as Markdown."""
    lines = [_HEAD]
    for title, is_shared in (("Shared models", True), ("Our models", False)):
        own = [layer for layer in layers if layer.is_shared == is_shared]
        lines += [f"## {title}", "", *_builds(own), "", *_operators(own), ""]
    lines += ["## What misses", "", *_misses(layers), ""]
    return "\n".join(lines)


def _builds(layers: Iterable[KeptOutLayer]) -> list[str]:
    lines = ["| build | layers | median | 95 % | worst | |", "|---|--:|--:|--:|--:|---|"]
    for build, own in sorted(by(layers, lambda layer: layer.build).items()):
        lines.append(f"| {build} | {len(own)} | {_errors(own)} | {_worst(own).model} |")
    return lines


def _operators(layers: Iterable[KeptOutLayer]) -> list[str]:
    lines = [
        "| operator | models | median | 95 % | worst | | in the fit: 95 % | builds meet both |",
        "|---|--:|--:|--:|--:|---|--:|--:|",
    ]
    for operator, own in sorted(by(layers, lambda layer: layer.operator).items()):
        builds = by(own, lambda layer: layer.build)
        met = sum(_meets(members) for members in builds.values())
        worst = _worst(own)
        fitted = 100 * float(np.quantile([abs(layer.fitted) for layer in own], 0.95))
        lines.append(
            f"| {operator} | {len({layer.model for layer in own})} | {_errors(own)} "
            f"| {worst.model}, {worst.build} | {fitted:.2f} | {met} of {len(builds)} |"
        )
    return lines


def _misses(layers: Iterable[KeptOutLayer]) -> list[str]:
    lines = []
    for (is_own, operator), own in sorted(
        by(layers, lambda layer: (not layer.is_shared, layer.operator)).items()
    ):
        missed = {
            build: members
            for build, members in sorted(by(own, lambda layer: layer.build).items())
            if not _meets(members)
        }
        if missed:
            told = "; ".join(
                f"{build} {_errors(members).replace(' | ', ' / ')}"
                for build, members in missed.items()
            )
            lines.append(f"- **{operator}**, {'our' if is_own else 'shared'} models: {told}.")
    return ["Median / 95 % / worst:", "", *lines] if lines else ["Nothing."]


def _meets(layers: Iterable[KeptOutLayer]) -> bool:
    median, p95, _ = _quantiles(layers)
    return median <= _MEDIAN_TARGET and p95 <= _P95_TARGET


def _quantiles(layers: Iterable[KeptOutLayer]) -> tuple[float, float, float]:
    found = np.quantile([abs(layer.error) for layer in layers], [0.5, 0.95, 1.0])
    median, p95, worst = (float(quantile) for quantile in found)
    return median, p95, worst


def _errors(layers: Iterable[KeptOutLayer]) -> str:
    return " | ".join(f"{100 * error:.2f}" for error in _quantiles(layers))


def _worst(layers: Iterable[KeptOutLayer]) -> KeptOutLayer:
    return max(layers, key=lambda layer: abs(layer.error))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="cmsis_nn_accuracy", description=__doc__)
    parser.add_argument("--counted", type=Path, default=Path("../shared/counted"))
    parser.add_argument("--write", action="store_true", help=f"write {_PAGE.name}")
    options = parser.parse_args(arguments)
    counted = CountedSet(options.counted)
    newest = {key: rows for key, rows in observed(counted).items() if key[0] == "2026"}
    ours = {row.id for row in own_rows("cmsis")}
    layers = library_layers((fit for _, fit in fit_all(newest)), ours)
    layers += reference_layers(fit_reference_beside_cmsis_nn(counted), ours)
    text = page(layers)
    if options.write:
        _PAGE.write_text(text)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
