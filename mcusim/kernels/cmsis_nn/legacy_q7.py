"""CMSIS-NN's legacy q7 functions as the firmware of Profentzas et al. calls them for a network.

That firmware runs a network of int8 tensors with power-of-two scales: a convolution, ReLU in place,
max pooling in place, and so on. Its bits are not those of the int8 network, so here are only the
functions and their loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import Graph, Node
from mcusim.kernels.cmsis_nn.legacy_q7_trips import (
    SquareConvolution,
    SquarePooling,
    avepool_q7_trips,
    convolve_q7_basic_trips,
    convolve_q7_fast_trips,
    convolve_q7_rgb_trips,
    fully_connected_q7_opt_trips,
    fully_connected_q7_trips,
    maxpool_q7_trips,
    relu_q7_trips,
    softmax_q7_trips,
)
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.reference.checks import refuse, require

__all__ = ["FirstConvolution", "LegacyLayer", "Year", "convolution_call", "firmware_layers"]

#: The library's year: the published firmware fits 2021 (CMSIS 5.8.0) better.
Year: TypeAlias = Literal["2020", "2021"]
#: How the first layer of one channel is computed: as the published firmware calls it, which
#: computes nothing, or by the function that it should have called.
FirstConvolution: TypeAlias = Literal["as_firmware", "basic"]

_ACTIVATED = ("RELU", "RELU6")
_RELU_SIZE = 1 << 16


@dataclass(frozen=True)
class LegacyLayer:
    """What the firmware runs for one operator of the network.

    Attributes:
        node: index of the operator.
        calls: functions in order; none for a reshape.
    """

    node: int
    calls: tuple[KernelCall, ...]


def _profile(function: str, year: Year) -> str:
    return f"cmsis_nn@q7{'' if year == '2021' else '-2020'}/{function}"


def convolution_call(shape: SquareConvolution, function: str, year: Year = "2021") -> KernelCall:
    """One of the three functions that convolve.

    Args:
        shape: of the convolution.
        function: ``"arm_convolve_HWC_q7_basic"``, ``"…_fast"`` or ``"…_RGB"``.
        year: of the library.
    """
    count = {
        "arm_convolve_HWC_q7_basic": convolve_q7_basic_trips,
        "arm_convolve_HWC_q7_fast": convolve_q7_fast_trips,
        "arm_convolve_HWC_q7_RGB": convolve_q7_rgb_trips,
    }[function]
    trips = count(shape)
    warnings: tuple[str, ...] = ()
    if trips.get("refused"):
        warnings = (
            f"{function} refuses {shape.channels} channels and {shape.filters} filters and returns "
            "without computing: the layer's output stays as it was",
        )
    return KernelCall(function, _profile(function, year), trips, macs=shape.macs, warnings=warnings)


def pooling_call(shape: SquarePooling, average: bool, year: Year = "2021") -> KernelCall:
    """``arm_avepool_q7_HWC`` or ``arm_maxpool_q7_HWC``."""
    function = "arm_avepool_q7_HWC" if average else "arm_maxpool_q7_HWC"
    trips = avepool_q7_trips(shape) if average else maxpool_q7_trips(shape)
    return KernelCall(
        function,
        _profile(function, year),
        trips,
        reason=f"along the rows in place, then down: `{function}`",
        warnings=(f"{function} overwrites its input",),
    )


def dense_call(columns: int, rows: int, interleaved: bool, year: Year = "2021") -> KernelCall:
    """``arm_fully_connected_q7_opt`` (weights interleaved) or ``arm_fully_connected_q7``."""
    function = f"arm_fully_connected_q7{'_opt' if interleaved else ''}"
    count = fully_connected_q7_opt_trips if interleaved else fully_connected_q7_trips
    return KernelCall(function, _profile(function, year), count(columns, rows), macs=columns * rows)


def relu_call(size: int, year: Year = "2021") -> KernelCall:
    """``arm_relu_q7``, in place."""
    warnings: tuple[str, ...] = ()
    if size >= _RELU_SIZE:
        warnings = (
            f"arm_relu_q7 takes its size as uint16_t: of {size} elements it changes "
            f"{size % _RELU_SIZE}",
        )
    return KernelCall(
        "arm_relu_q7", _profile("arm_relu_q7", year), relu_q7_trips(size), warnings=warnings
    )


def softmax_call(size: int, year: Year = "2021") -> KernelCall:
    """``arm_softmax_q7``."""
    return KernelCall(
        "arm_softmax_q7",
        _profile("arm_softmax_q7", year),
        softmax_q7_trips(size, vectorized=year == "2020"),
    )


def firmware_layers(
    graph: Graph, first: FirstConvolution = "as_firmware", year: Year = "2021"
) -> tuple[LegacyLayer, ...]:
    """The functions that run a network of convolutions, pooling and dense layers.

    The first convolution goes to the function for images of three channels, the others to the fast
    one, dense layers to the one with interleaved weights.

    Args:
        graph: the network, of square images; only its shapes count.
        first: which function computes a first layer of one channel.
        year: of the library.

    Raises:
        UnsupportedOperatorError: the library has no q7 function for an operator or its shape.
    """
    layers: list[LegacyLayer] = []
    seen = False
    for node in graph.main.nodes:
        if node.name == "CONV_2D":
            calls = _convolution_calls(node, seen, first, year)
            seen = True
        else:
            calls = _other_calls(node, year)
        layers.append(LegacyLayer(node.index, calls))
    return tuple(layers)


def _convolution_calls(
    node: Node, seen: bool, first: FirstConvolution, year: Year
) -> tuple[KernelCall, ...]:
    x, weights, output, options = node.input(0), node.input(1), node.output(), node.options
    _require_square(node, (x.shape[1:3], weights.shape[1:3], output.shape[1:3]))
    require(x.shape[0] == 1, node, f"it has {x.shape[0]} images, the q7 functions take one")
    extent, kernel, outputs = x.shape[1], weights.shape[1], output.shape[1]
    stride = options.integer("stride_w", 1)
    padding = 0
    if options.text("padding", "SAME") == "SAME":
        padding = max((outputs - 1) * stride + kernel - extent, 0) // 2
    shape = SquareConvolution(
        extent, x.shape[3], kernel, padding, stride, outputs, weights.shape[0]
    )
    if seen:
        function, reason = "arm_convolve_HWC_q7_fast", "channels in fours"
    elif shape.channels != 3 and first == "basic":
        function, reason = "arm_convolve_HWC_q7_basic", "first layer, any number of channels"
    else:
        function, reason = "arm_convolve_HWC_q7_RGB", "first layer, as the firmware has it"
    call = replace(convolution_call(shape, function, year), reason=f"{reason}: `{function}`")
    return (call, *_relu(node, year))


def _relu(node: Node, year: Year) -> tuple[KernelCall, ...]:
    if node.options.text("fused_activation_function", "NONE") not in _ACTIVATED:
        return ()
    return (relu_call(node.output().elements, year),)


def _other_calls(node: Node, year: Year) -> tuple[KernelCall, ...]:
    x, output, options = node.input(0), node.output(), node.options
    if node.name in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        _require_square(node, (x.shape[1:3], output.shape[1:3]))
        kernel, stride = options.integer("filter_width"), options.integer("stride_w", 1)
        padding = 0
        if options.text("padding", "SAME") == "SAME":
            padding = max((output.shape[1] - 1) * stride + kernel - x.shape[1], 0) // 2
        shape = SquarePooling(x.shape[1], x.shape[3], kernel, padding, stride, output.shape[1])
        return (pooling_call(shape, node.name == "AVERAGE_POOL_2D", year),)
    if node.name == "FULLY_CONNECTED":
        rows, columns = node.input(1).shape
        return (dense_call(columns, rows, True, year), *_relu(node, year))
    if node.name == "SOFTMAX":
        return (softmax_call(x.elements, year),)
    if node.name in ("RELU", "RELU6"):
        return (relu_call(x.elements, year),)
    if node.name in ("RESHAPE", "SQUEEZE"):
        return ()
    raise UnsupportedOperatorError(
        f"operator {node.index} ({node.name}): the legacy q7 library has no function for it"
    )


def _require_square(node: Node, shapes: Sequence[Sequence[int]]) -> None:
    for shape in shapes:
        if len(set(shape)) > 1:
            refuse(node, f"its images are {tuple(shape)}: the q7 functions take square ones")
