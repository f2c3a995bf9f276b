"""Counted calls of CMSIS-NN's legacy q7 functions, alone and in the networks of a paper."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from mcusim.calibration.counted import CountedSet
from mcusim.calibration.level_fit import Floats
from mcusim.calibration.library_fit import Observation
from mcusim.calibration.library_rows import library_vector
from mcusim.instruction_mix import FIELDS
from mcusim.kernels.cmsis_nn.legacy_q7 import (
    FirstConvolution,
    Year,
    convolution_call,
    dense_call,
    firmware_layers,
    pooling_call,
    relu_call,
    softmax_call,
)
from mcusim.kernels.cmsis_nn.legacy_q7_trips import SquareConvolution, SquarePooling
from mcusim.kernels.contract import KernelCall
from mcusim.zoo import build

__all__ = ["FITTED_FILTERS", "legacy_network_rows", "legacy_observations"]

#: Networks of so many filters are fitted on, for what single calls do not have: an odd number of
#: pixels, no padding, strides. The others stay to be predicted.
FITTED_FILTERS = (16, 96)

_LAYERS = ("conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "fc", "softmax")


def _build(name: str) -> tuple[Year, str]:
    """Year and key of ``"m4_O3_nobuiltin_armcpy_2021"``."""
    core, flag, *rest = name.split("_")
    year: Year = "2020" if rest[-1] == "2020" else "2021"
    return year, "-".join([f"{core}.gcc-{flag}", *rest[:-1]])


def legacy_observations(counted: CountedSet) -> Iterator[tuple[str, Observation]]:
    """Single calls and layers of the fitted networks, by the name of their generation."""
    for row in counted.rows("q7_grid.csv"):
        year, build_key = _build(row["build"])
        call = _single_call(row["function"], row["shape"], year)
        name = f"q7 {row['case']}"
        yield _generation(year), _observation(name, row["function"], build_key, call, row)
    for name, kind, year, build_key, call, vector in legacy_network_rows(counted):
        if int(name.split()[1].split("-")[1]) in FITTED_FILTERS:
            observed = Observation(name, f"q7 {kind}", build_key, (call,), (call,), vector)
            yield _generation(year), observed


def _generation(year: Year) -> str:
    return "q7" if year == "2021" else "q7-2020"


def _observation(
    name: str, function: str, build_key: str, call: KernelCall, row: Mapping[str, str]
) -> Observation:
    return Observation(name, f"q7 {function}", build_key, (call,), (call,), library_vector(row))


def _single_call(function: str, shape: str, year: Year) -> KernelCall:
    numbers = [int(number) for number in re.findall(r"\d+", shape)]
    if "convolve" in function:
        extent, _, channels, kernel, padding, filters = numbers
        outputs = extent + 2 * padding - kernel + 1
        square = SquareConvolution(extent, channels, kernel, padding, 1, outputs, filters)
        return convolution_call(square, function, year)
    if "pool" in function:
        extent, _, channels, kernel, stride, outputs = numbers
        pooling = SquarePooling(extent, channels, kernel, 0, stride, outputs)
        return pooling_call(pooling, "ave" in function, year)
    if "connected" in function:
        columns, rows = numbers
        return dense_call(columns, rows, function.endswith("opt"), year)
    return (relu_call if "relu" in function else softmax_call)(numbers[0], year)


def legacy_network_rows(
    counted: CountedSet,
) -> Iterator[tuple[str, str, Year, str, KernelCall, Floats]]:
    """Layers of the networks: name, function, year, build, call, instructions by class."""
    sums: dict[tuple[str, str, str, str, str], Floats] = defaultdict(lambda: np.zeros(len(FIELDS)))
    for row in counted.rows("q7_networks.csv"):
        key = (row["dataset"], row["K"], row["variant"], row["layer"], row["build"])
        sums[key] = sums[key] + library_vector(row)
    calls: dict[tuple[str, str, str, Year], dict[str, KernelCall]] = {}
    for (data, filters, variant, layer, build_name), vector in sums.items():
        year, build_key = _build(build_name)
        network = (data, filters, variant, year)
        if network not in calls:
            calls[network] = _network_calls(*network)
        call = calls[network][layer]
        name = f"{layer} conv-{filters}-{data} {variant}"
        yield name, call.kernel, year, build_key, call, vector


def _network_calls(data: str, filters: str, variant: str, year: Year) -> dict[str, KernelCall]:
    first: FirstConvolution = "basic" if variant == "conv1_basic" else "as_firmware"
    graph = build(f"conv-{filters}-{'cifar10' if 'cifar' in data else 'mnist'}")
    calls = [call for layer in firmware_layers(graph, first, year) for call in layer.calls]
    return dict(zip(_LAYERS, calls, strict=True))
