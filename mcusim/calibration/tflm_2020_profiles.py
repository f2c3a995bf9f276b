"""Fits what TFLite Micro of TensorFlow 2.2.0 runs: beside CMSIS-NN, and its reference kernels.

What runs beside CMSIS-NN comes from five counted networks. The reference kernels were counted one
operator at a time in the firmware that Heim et al. publish for them, as GCC 9 compiles it: mbed-os
5.15 asks for that one, and 12.2 makes twice as many instructions of an int8 convolution at -Ofast.
So were, as builds ``gcc9``, the kernels that run beside CMSIS-NN in the firmware with it.

``python -m mcusim.calibration.tflm_2020_profiles`` prints how well each profile predicts rows that
were kept out of its fit; ``--write`` writes the profiles.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mcusim.calibration.counted import CountedSet, build_of, vector_of
from mcusim.calibration.library_fit import LibraryFit, Observation, fit_library
from mcusim.calibration.profile_file import FittedBuild, FittedProfile, profile_text
from mcusim.calibration.runtime_profiles import fitted_profiles
from mcusim.graph import Graph, Node
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.reference import KERNELS
from mcusim.resources import data_path
from mcusim.runtimes import tflm_2020
from mcusim.tflite import read

__all__ = ["fit_all", "main", "observations"]

_FILE = "tflm_operators.csv"
_LIBRARY = "tflm_v2.2.0"
_SOURCE = (
    "fitted on instructions counted in executed binaries: TensorFlow 2.2.0's lite/micro, "
    "arm-none-eabi-gcc 12.2.1, five networks"
)
_RUNTIME = "tflm@2020"
_REFERENCE_SOURCE = (
    "fitted on instructions counted in an emulator: TensorFlow 2.2.0's lite/micro as "
    "github.com/lheim/TFLM_mbed-benchmark-project holds it, given models of one operator; gcc "
    "9.3.0 with the flags of mbed-os 5.15, libgcc and newlib of arm-none-eabi-gcc 12.2.1"
)
#: Operators that CMSIS-NN's kernels of 2020 leave to the reference ones, in the counted networks.
_OPERATORS = ("DEQUANTIZE", "QUANTIZE", "RESHAPE", "SOFTMAX")
_FRAMEWORK = {
    "construct": tflm_2020.construct_call,
    "allocate_tensors": tflm_2020.allocate_call,
    "invoke_overhead": tflm_2020.invoke_call,
}


def observations(counted: CountedSet) -> dict[str, list[Observation]]:
    """Counted rows by build, with CMSIS-NN: without it the same code runs here."""
    graphs = {
        name: read(path.read_bytes(), name) for name, path in counted.network_models().items()
    }
    found: dict[str, list[Observation]] = defaultdict(list)
    for row in counted.rows(_FILE):
        if (row["lib"], row["kernels"]) != (_LIBRARY, "cmsis"):
            continue
        build = build_of("cortex-m4", "hard", row["opt"])
        for call in _calls(counted, graphs[row["model"]], row):
            found[build].append(
                Observation(
                    f"{row['model']}/{row['op_index']}",
                    row["op"],
                    build,
                    (call,),
                    (call,),
                    vector_of(row),
                    row["top_functions"],
                )
            )
    return found


def _calls(counted: CountedSet, graph: Graph, row: Mapping[str, str]) -> Iterator[KernelCall]:
    if row["op_index"] in _FRAMEWORK:
        yield _FRAMEWORK[row["op_index"]](graph)
    elif row["op"] in _OPERATORS:
        node = graph.main.node(int(row["op_index"]))
        if row["op"] == "SOFTMAX":
            node = _with_data(counted, graph, node)
        yield tflm_2020.reference_call(node, KERNELS[node.name].call(node))


def _with_data(counted: CountedSet, graph: Graph, node: Node) -> Node:
    """The node, its input holding what the counted run gave it."""
    path = counted.folder.parent / "golden" / "tflm" / f"{graph.name}.{_LIBRARY}_cmsis.npz"
    source = node.input(0)
    with np.load(path) as arrays:
        data = arrays[f"t{source.index}"].reshape(source.shape)
    return replace(node, inputs=(replace(source, data=data), *node.inputs[1:]))


def fit_all(found: Mapping[str, Sequence[Observation]]) -> list[LibraryFit]:
    """Fit every profile of every build."""
    return [fit for _, rows in sorted(found.items()) for fit in fit_library(rows)]


def profiles_of(results: Sequence[LibraryFit], counted: CountedSet) -> list[FittedProfile]:
    """The profile files that the fits make."""
    builds: dict[str, dict[str, FittedBuild]] = defaultdict(dict)
    for fit in results:
        for name, profile in fit.profiles.items():
            held = np.abs(profile.errors)
            unknown = bool(np.isnan(held).all())
            builds[name][fit.build] = FittedBuild(
                levels=profile.levels,
                per_turn=profile.per_turn,
                unseen=profile.unseen,
                rows=profile.rows,
                held_out_median=1.0 if unknown else float(np.nanmedian(held)),
                held_out_p95=1.0 if unknown else float(np.nanquantile(held, 0.95)),
                spread=0.0,
            )
    dataset = {_FILE: counted.sha256(_FILE)}
    return [FittedProfile(name, _SOURCE, dataset, found) for name, found in builds.items()]


def _merged(profiles: Iterable[FittedProfile]) -> Iterator[FittedProfile]:
    """One profile a name, with the builds of all that have it."""
    by_name: dict[str, list[FittedProfile]] = defaultdict(list)
    for profile in profiles:
        by_name[profile.name].append(profile)
    for name, found in by_name.items():
        yield FittedProfile(
            name,
            "; builds gcc9: ".join(profile.source for profile in found),
            {file: digest for profile in found for file, digest in profile.dataset.items()},
            {key: build for profile in found for key, build in profile.builds.items()},
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="tflm_2020_profiles", description=__doc__)
    parser.add_argument("--counted", type=Path, default=Path("../shared/counted"))
    parser.add_argument("--write", action="store_true", help="write the profile files")
    options = parser.parse_args(arguments)
    counted = CountedSet(options.counted)
    results = fit_all(observations(counted))
    references = fitted_profiles(_RUNTIME, _REFERENCE_SOURCE)
    for profile in _merged((*profiles_of(results, counted), *references)):
        for key, build in profile.builds.items():
            sys.stdout.write(
                f"{profile.name:32} {key:14} {build.rows:3d} rows, kept out of the fit: median "
                f"{100 * build.held_out_median:.2f} %, 95th percentile "
                f"{100 * build.held_out_p95:.2f} %\n"
            )
        if options.write:
            path = data_path("kernels", *profile.name.split("/")).with_suffix(".json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(profile_text(profile))
    return 0


if __name__ == "__main__":
    sys.exit(main())
