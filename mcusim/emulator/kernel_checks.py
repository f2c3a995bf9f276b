"""CMSIS-NN as a user built it, called function by function: its bits and counts against ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mcusim.emulator.arguments import Argument, Pointer, Struct
from mcusim.emulator.machine import Machine
from mcusim.graph import Array, DType, Graph, Node
from mcusim.interpreter import run
from mcusim.kernels.closest import closest_profile
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.fixed_point import activation_range_quantized
from mcusim.kernels.reference.conv import conv_shape
from mcusim.kernels.reference.convolution import ConvolutionShape, OutputScaling, output_scaling
from mcusim.kernels.reference.dense import product_multiplier
from mcusim.kernels.reference.depthwise_conv import depthwise_shape
from mcusim.kernels.reference.pooling import Pooling
from mcusim.kernels.reference.softmax_scaling import InputScaling
from mcusim.runtimes import plan

__all__ = ["KernelCheck", "check_kernels"]

_RUNTIME = "cmsis-nn"


@dataclass(frozen=True)
class KernelCheck:
    """One call of a function.

    Attributes:
        function: of the library.
        layer: what it computed, for people.
        differing: outputs whose bits differ from ours.
        values: outputs.
        executed: instructions.
        predicted: the same by the profiles; None where there is none.
    """

    function: str
    layer: str
    differing: int
    values: int
    executed: float
    predicted: float | None


@dataclass(frozen=True)
class _Call:
    """How a library function is called for a node.

    Attributes:
        function: its name.
        arguments: it takes, with an array for the output.
        output: that array.
    """

    function: str
    arguments: tuple[Argument, ...]
    output: Array


def check_kernels(
    machine: Machine, graph: Graph, build: str = "gcc-O3", seed: int = 0
) -> Iterator[KernelCheck]:
    """Call the library for every operator of a model that it has a function for.

    Inputs are random, those of later operators what the earlier ones compute from them.

    Args:
        machine: with the user's build.
        graph: an int8 model.
        build: compiler and flag whose counts to compare with.
        seed: of the inputs.

    Yields:
        One check a call; operators without a function in the image are passed over.
    """
    core = machine.board.core.profile
    layers = plan(graph, _RUNTIME, core=core).layers
    random = np.random.default_rng(seed)
    inputs = [
        random.integers(-128, 128, tensor.shape).astype(tensor.dtype.numpy)
        for tensor in graph.inputs
    ]
    tensors = run(graph, inputs, runtime=_RUNTIME, core=core, tensors=True).tensors
    for layer in layers:
        node = layer.node
        make = _CALLS.get(node.name)
        if make is None or node.output().dtype is not DType.INT8:
            continue
        call = make(node, _values(node, tensors), np.zeros(max(layer.scratch_bytes, 16), np.int8))
        if machine.image.symbol(call.function) is None:
            continue
        result = machine.call(call.function, *call.arguments)
        computed = result.array_of(call.output)
        expected = tensors[node.output().index].reshape(call.output.shape)
        differing = 0 if computed is None else int((computed != expected).sum())
        shapes = " -> ".join("x".join(map(str, t.shape)) for t in (node.input(0), node.output()))
        yield KernelCheck(
            call.function,
            f"{node.index} {node.name} {shapes}",
            differing,
            expected.size,
            result.instructions.total,
            _predicted(layer.calls, core, build),
        )


def _predicted(calls: Sequence[KernelCall], core: str, build: str) -> float | None:
    """Instructions of the library's part of an operator."""
    total = 0.0
    for call in calls:
        if not call.kernel.startswith("arm_"):
            continue
        found = closest_profile(call.profile, core, build)
        if found is None or not found.has_loops_of(call.trips):
            return None
        total += found.mix(call.trips).total
    return total


def _values(node: Node, tensors: Mapping[int, Array]) -> list[Array | None]:
    """Inputs of a node, constants included."""
    found: list[Array | None] = []
    for tensor in node.inputs:
        if tensor is None:
            found.append(None)
        elif tensor.data is not None:
            found.append(np.ascontiguousarray(tensor.data))
        else:
            found.append(np.ascontiguousarray(tensors[tensor.index].reshape(tensor.shape)))
    return found


def _convolution(node: Node, values: Sequence[Array | None], scratch: Array) -> _Call:
    shape = conv_shape(node)
    scaling = output_scaling(node, node.input(0), node.input(1), shape.out_channels)
    filters = (
        shape.out_channels,
        shape.vertical.kernel,
        shape.horizontal.kernel,
        shape.kernel_channels,
    )
    parameters = _windowed(shape, scaling)
    return _windowed_call(
        "arm_convolve_wrapper_s8", node, values, scratch, parameters, scaling, filters
    )


def _depthwise(node: Node, values: Sequence[Array | None], scratch: Array) -> _Call:
    shape = depthwise_shape(node)
    scaling = output_scaling(node, node.input(0), node.input(1), shape.out_channels)
    filters = (1, shape.vertical.kernel, shape.horizontal.kernel, shape.out_channels)
    parameters = _windowed(shape, scaling, shape.out_channels // shape.in_channels)
    return _windowed_call(
        "arm_depthwise_conv_wrapper_s8", node, values, scratch, parameters, scaling, filters
    )


def _windowed(shape: ConvolutionShape, scaling: OutputScaling, *multiplier: int) -> Struct:
    """``cmsis_nn_conv_params``, or ``cmsis_nn_dw_conv_params`` with its channel multiplier."""
    rows, columns = shape.vertical, shape.horizontal
    return Struct.of(
        -scaling.input_zero_point,
        scaling.output_zero_point,
        *multiplier,
        *(columns.stride, rows.stride),
        *(columns.padding, rows.padding),
        *(columns.dilation, rows.dilation),
        *(scaling.low, scaling.high),
    )


def _windowed_call(
    function: str,
    node: Node,
    values: Sequence[Array | None],
    scratch: Array,
    parameters: Struct,
    scaling: OutputScaling,
    filters: tuple[int, ...],
) -> _Call:
    output = np.zeros(node.output().shape, np.int8)
    arguments = (
        _context(scratch),
        Pointer(parameters),
        Pointer(Struct.of(scaling.multipliers, scaling.shifts)),
        _dims(node.input(0).shape),
        values[0],
        _dims(filters),
        values[1],
        _dims((1, 1, 1, filters[0] if filters[0] > 1 else output.shape[-1])),
        values[2] if len(values) > 2 else None,
        _dims(output.shape),
        output,
    )
    return _Call(function, arguments, output)


def _dense(node: Node, values: Sequence[Array | None], scratch: Array) -> _Call:
    source, weights, result = node.input(0), node.input(1), node.output()
    multiplier, shift = product_multiplier(
        node, source, weights, node.optional_input(2), result.scale
    )
    low, high = _clamp(node)
    outputs, depth = weights.shape
    batches = result.elements // outputs
    output = np.zeros((batches, outputs), np.int8)
    arguments = (
        _context(scratch),
        Pointer(Struct.of(-source.zero_point, -weights.zero_point, result.zero_point, low, high)),
        Pointer(Struct.of(multiplier, shift)),
        _dims((batches, 1, 1, depth)),
        values[0],
        _dims((depth, 1, 1, outputs)),
        values[1],
        _dims((1, 1, 1, outputs)),
        values[2] if len(values) > 2 else None,
        _dims((batches, 1, 1, outputs)),
        output,
    )
    return _Call("arm_fully_connected_s8", arguments, output)


def _pooling(function: str) -> Callable[[Node, Sequence[Array | None], Array], _Call]:
    def make(node: Node, values: Sequence[Array | None], scratch: Array) -> _Call:
        rows, columns = (pooling := Pooling.of(node)).height, pooling.width
        output = np.zeros(node.output().shape, np.int8)
        parameters = Struct.of(
            columns.stride, rows.stride, columns.padding, rows.padding, *_clamp(node)
        )
        arguments = (
            _context(scratch),
            Pointer(parameters),
            _dims(node.input(0).shape),
            values[0],
            _dims((1, rows.filter, columns.filter, 1)),
            _dims(output.shape),
            output,
        )
        return _Call(function, arguments, output)

    return make


def _softmax(node: Node, values: Sequence[Array | None], scratch: Array) -> _Call:
    source = node.input(0)
    scaling = InputScaling.of(source.scale, node.options.real("beta", 1.0))
    output = np.zeros(node.output().shape, np.int8)
    arguments = (
        values[0],
        source.elements // source.shape[-1],
        source.shape[-1],
        scaling.multiplier,
        scaling.left_shift,
        scaling.least_difference,
        output,
    )
    return _Call("arm_softmax_s8", arguments, output)


def _context(scratch: Array) -> Pointer:
    return Pointer(Struct.of(scratch, scratch.size))


def _dims(shape: Sequence[int]) -> Pointer:
    """``cmsis_nn_dims``: batches, height, width, channels."""
    return Pointer(Struct(tuple(int(extent) for extent in shape)))


def _clamp(node: Node) -> tuple[int, int]:
    output = node.output()
    activation = node.options.text("fused_activation_function", "NONE")
    return activation_range_quantized(activation, output.dtype, output.scale, output.zero_point)


_CALLS: Mapping[str, Callable[[Node, Sequence[Array | None], Array], _Call]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "AVERAGE_POOL_2D": _pooling("arm_avgpool_s8"),
    "MAX_POOL_2D": _pooling("arm_max_pool_s8"),
    "SOFTMAX": _softmax,
}
