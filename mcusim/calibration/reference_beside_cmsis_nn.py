"""Fits the reference kernels that TFLM runs in builds with CMSIS-NN.

In these builds the glue's source file holds both ways of an operator, and the compiler lays the
reference loops out anew: float32 convolutions execute up to 20 % fewer or more instructions than in
a build without. ``python -m mcusim.calibration.reference_beside_cmsis_nn`` prints how well rows
kept out are predicted; ``--write`` writes ``kernels/cmsis_nn/reference_*.json``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from mcusim.calibration.counted import CountedSet
from mcusim.calibration.kernel_profiles import (
    calls_on_data,
    data_spreads,
    profiles_of,
    single_operator_calls,
    table,
)
from mcusim.calibration.own_counts import own_models, own_models_with_data, own_rows
from mcusim.calibration.profile_file import profile_text
from mcusim.calibration.profile_fit import FitResult, fit_profiles
from mcusim.kernels.cmsis_nn import KERNELS as CMSIS_NN_KERNELS
from mcusim.kernels.cmsis_nn.contract import Configuration
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.reference.elementwise_call import DATA_DEPENDENT
from mcusim.resources import data_path

__all__ = ["fit_reference_beside_cmsis_nn", "main"]

#: Of fewer models the build without CMSIS-NN tells more than a fit of their own: kept out of it,
#: they are predicted worse than by the reference profile.
_ENOUGH_MODELS = 15


def fit_reference_beside_cmsis_nn(counted: CountedSet) -> list[FitResult]:
    """Fit all reference kernels of the builds with CMSIS-NN together, as they lean on each other.

    Returns:
        The fits of operators that have a kernel in CMSIS-NN too, where there are models enough;
        the others are compiled as in a build without.
    """
    calls = _left_to_reference(counted)
    rows = [*counted.single_operators("cmsis"), *own_rows("cmsis")]
    spreads = data_spreads(counted, calls, {row.build for row in rows})
    with_data = chain(
        counted.models_with_data(DATA_DEPENDENT), own_models_with_data(DATA_DEPENDENT)
    )
    on_data = calls_on_data(with_data, calls)
    fits = fit_profiles(rows, calls, spreads, on_data=on_data)
    return [
        replace(fit, profile=fit.profile.replace("reference/", "cmsis_nn/reference_"))
        for fit in fits
        if fit.operator in CMSIS_NN_KERNELS and len(fit.sample.ids) > _ENOUGH_MODELS
    ]


def _left_to_reference(counted: CountedSet) -> dict[str, KernelCall]:
    calls, _ = single_operator_calls(chain(counted.models(), own_models()))
    for name, graph in chain(counted.models(), own_models()):
        if name not in calls:
            continue
        node = graph.main.node(0)
        kernel = CMSIS_NN_KERNELS.get(node.name)
        if kernel is not None and kernel.accepts(node, Configuration()):
            del calls[name]
    return calls


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="reference_beside_cmsis_nn", description=__doc__)
    parser.add_argument("--counted", type=Path, default=Path("../shared/counted"))
    parser.add_argument("--write", action="store_true", help="write the profile files")
    options = parser.parse_args(arguments)
    counted = CountedSet(options.counted)
    results = fit_reference_beside_cmsis_nn(counted)
    sys.stdout.write(table(results) + "\n")
    if options.write:
        for profile in profiles_of(results, counted):
            path = data_path("kernels", *profile.name.split("/")).with_suffix(".json")
            path.write_text(profile_text(profile))
            sys.stdout.write(f"written: {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
