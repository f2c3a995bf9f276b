"""Counted runs that CMSIS-NN's profiles are fitted on: library calls, and layers inside TFLM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from mcusim.calibration.counted import CountedSet, build_of, vector_of
from mcusim.calibration.library_fit import Observation
from mcusim.calibration.library_rows import LibrarySet
from mcusim.calibration.own_calls import glue_rows, own_calls
from mcusim.calibration.own_counts import own_models, own_models_with_data, own_rows
from mcusim.errors import McusimError
from mcusim.graph import DType, Node
from mcusim.kernels.cmsis_nn import CASES, KERNELS
from mcusim.kernels.cmsis_nn.contract import (
    SIMD_OF_CORE,
    Configuration,
    Generation,
    LibraryCase,
)
from mcusim.kernels.contract import KernelCall
from mcusim.tflite import read

__all__ = [
    "LIBRARY_FLAG_OF_TFLM",
    "layer_calls",
    "library_observations",
    "network_observations",
    "tflm_observations",
]

#: How the builds of TFLM compile the library, where that has another name for it.
LIBRARY_FLAG_OF_TFLM: Mapping[str, str] = {"gcc-mk": "gcc-O2", "gcc-Ofast": "gcc-O3"}

#: Operators whose loops depend on data, which the counted runs' inputs tell.
_DATA_DECIDES = ("ADD", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MUL", "SOFTMAX")

#: How tables of errors write the type of an operator.
_SHORT: Mapping[DType, str] = {
    DType.INT8: "i8",
    DType.INT16: "i16",
    DType.FLOAT32: "f32",
}

#: TFLM by the name that ``tflm_operators.csv`` gives it, with the library it vendors.
_TFLM: Mapping[str, Generation] = {"tflm_2026": "2026", "tflm_v2.2.0": "2020"}


def library_observations(counted: LibrarySet) -> Iterator[tuple[Generation, Observation]]:
    """Single calls of the library that some family prices, by generation."""
    calls: dict[tuple[str, str, Configuration, bool], tuple[KernelCall, ...]] = {}

    def priced(
        case: LibraryCase, configuration: Configuration, with_data: bool
    ) -> tuple[KernelCall, ...]:
        key = (case.id, case.entry, configuration, with_data)
        if key not in calls:
            # Shifts are the layer's own, not its data.
            arrays = {n: a for n, a in case.arrays.items() if with_data or n == "shift"}
            given = LibraryCase(case.id, case.op, case.params, case.has_bias, case.entry, arrays)
            calls[key] = CASES[case.op](given, configuration)
        return calls[key]

    ours = own_calls()
    names = {row.case.id for row in ours}
    for row in chain(counted.rows(with_functions=True), ours):
        if row.case.op in CASES:
            found = priced(row.case, row.configuration, True)
            if found:
                yield (
                    row.configuration.generation,
                    Observation(
                        f"{row.case.id} {row.case.entry}".rstrip(),
                        f"own {row.case.op}" if row.case.id in names else row.case.op,
                        row.build,
                        found,
                        priced(row.case, row.configuration, False),
                        row.vector,
                        row.top_functions,
                    ),
                )


def layer_calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    """What a layer runs in TFLM with CMSIS-NN; nothing where the library has no kernel for it."""
    kernel = KERNELS.get(node.name)
    if kernel is None or not kernel.accepts(node, configuration):
        return ()
    return kernel.calls(node, configuration)


def tflm_observations(counted: CountedSet) -> Iterator[tuple[Generation, Observation]]:
    """Layers inside TFLM that run the library: single-operator models, and networks of 2020."""
    models = chain(counted.models(), own_models())
    nodes = {name: graph.main.node(0) for name, graph in models}
    refused = {name for name, node in nodes.items() if _is_refused(node)}
    with_data = chain(counted.models_with_data(_DATA_DECIDES), own_models_with_data(_DATA_DECIDES))
    given = {name: graph.main.node(0) for name, graph in with_data}
    for row in chain(counted.single_operators("cmsis"), own_rows("cmsis")):
        if row.id not in nodes or row.id in refused:
            continue
        configuration = Configuration(SIMD_OF_CORE[row.build.split(".")[0].removesuffix("-soft")])
        expected = layer_calls(nodes[row.id], configuration)
        if expected:
            known = given.get(row.id)
            calls = expected if known is None else layer_calls(known, configuration)
            kind = f"TFLM {row.operator} {_SHORT[nodes[row.id].outputs[0].dtype]}"
            yield (
                "2026",
                Observation(
                    row.id, kind, row.build, calls, expected, row.vector, row.top_functions
                ),
            )
    for glue in glue_rows():
        yield (
            "2020",
            Observation(
                glue.name, "own glue", glue.build, glue.calls, glue.calls, vector=glue.vector
            ),
        )
    for generation, observation in network_observations(counted):
        if generation == "2020":
            yield generation, observation


def _is_refused(node: Node) -> bool:
    """Whether a model counted is one that is not priced, as a convolution without a bias."""
    try:
        layer_calls(node, Configuration())
    except McusimError:
        return True
    return False


def network_observations(counted: CountedSet) -> Iterator[tuple[Generation, Observation]]:
    """Layers of whole networks that run the library."""
    graphs = {
        name: read(path.read_bytes(), name) for name, path in counted.network_models().items()
    }
    for row in counted.rows("tflm_operators.csv"):
        if row["kernels"] == "cmsis" and row["op_index"].isdigit():
            generation = _TFLM[row["lib"]]
            node = graphs[row["model"]].main.node(int(row["op_index"]))
            calls = layer_calls(node, Configuration("dsp", generation))
            if calls:
                yield (
                    generation,
                    Observation(
                        f"{row['model']}/{row['op_index']}",
                        f"network {row['op']}",
                        build_of("cortex-m4", "hard", row["opt"]),
                        calls,
                        calls,
                        vector_of(row),
                        row["top_functions"],
                    ),
                )
