"""What TFLite Micro does with a model, with its reference kernels or with those of CMSIS-NN."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mcusim.errors import InputError, ModelError, UnsupportedOperatorError
from mcusim.graph import DType, Graph, Node
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.reference import KERNELS
from mcusim.kernels.reference.control_flow import called_subgraphs
from mcusim.runtimes.abi import ARM_EABI
from mcusim.runtimes.arena import plan_arena
from mcusim.runtimes.framework import allocate_call, construct_call, invoke_call
from mcusim.runtimes.kernel_requests import Target
from mcusim.runtimes.plan import LayerPlan, Plan

__all__ = ["RUNTIMES", "canonical_runtime", "plan"]

RUNTIMES: tuple[str, ...] = ("tflm", "cmsis-nn")
_GENERATION = "2026"

#: SIMD instructions by core; M33 as it is built with the DSP extension.
_SIMD: dict[str, Simd] = {
    "m0": "none",
    "m0plus": "none",
    "m3": "none",
    "m4": "dsp",
    "m7": "dsp",
    "m33": "dsp",
    "m55": "mve",
    "m85": "mve",
}

#: Functions of CMSIS-NN that TFLM calls, by operator and by type of its input (of the output for
#: two operands); operators and types that are not here run the reference kernel.
#: Source: ``micro/kernels/cmsis_nn/*.cc``.
_CMSIS_NN: dict[str, dict[DType, str]] = {
    "ADD": {DType.INT8: "arm_elementwise_add_s8", DType.INT16: "arm_elementwise_add_s16"},
    "AVERAGE_POOL_2D": {DType.INT8: "arm_avgpool_s8", DType.INT16: "arm_avgpool_s16"},
    "BATCH_MATMUL": {DType.INT8: "arm_batch_matmul_s8", DType.INT16: "arm_batch_matmul_s16"},
    "CONV_2D": {DType.INT8: "arm_convolve_wrapper_s8", DType.INT16: "arm_convolve_wrapper_s16"},
    "DEPTHWISE_CONV_2D": {
        DType.INT8: "arm_depthwise_conv_wrapper_s8",
        DType.INT16: "arm_depthwise_conv_s16",
    },
    "FULLY_CONNECTED": {
        DType.INT8: "arm_fully_connected_wrapper_s8",
        DType.INT16: "arm_fully_connected_s16",
    },
    "MAXIMUM": {DType.INT8: "arm_maximum_s8"},
    "MAX_POOL_2D": {DType.INT8: "arm_max_pool_s8", DType.INT16: "arm_max_pool_s16"},
    "MINIMUM": {DType.INT8: "arm_minimum_s8"},
    "MUL": {DType.INT8: "arm_elementwise_mul_s8", DType.INT16: "arm_elementwise_mul_s16"},
    "PAD": {DType.INT8: "arm_pad_s8"},
    "PADV2": {DType.INT8: "arm_pad_s8"},
    "SOFTMAX": {DType.INT8: "arm_softmax_s8", DType.INT16: "arm_softmax_s16"},
    "SVDF": {DType.INT8: "arm_svdf_s8"},
    "TRANSPOSE": {DType.INT8: "arm_transpose_s8"},
    "TRANSPOSE_CONV": {DType.INT8: "arm_transpose_conv_wrapper_s8"},
    "UNIDIRECTIONAL_SEQUENCE_LSTM": {
        DType.INT8: "arm_lstm_unidirectional_s8",
        DType.INT16: "arm_lstm_unidirectional_s16",
    },
}


def canonical_runtime(name: str) -> str:
    """The runtime's name without its generation.

    Args:
        name: ``"tflm"`` or ``"cmsis-nn"``, which mean the newest generation, or with it:
            ``"tflm@2026"``.

    Raises:
        InputError: there is no such runtime or generation.
    """
    base, _, generation = name.partition("@")
    if base not in RUNTIMES or generation not in ("", _GENERATION):
        known = ", ".join(f"{runtime}@{_GENERATION}" for runtime in RUNTIMES)
        raise InputError(f"runtime {name!r} is not known; there are {known}")
    return base


def plan(graph: Graph, runtime: str = "tflm", *, core: str = "m4") -> Plan:
    """Decide what a runtime executes for a model and where every byte of its arena lies.

    Args:
        graph: the model.
        runtime: ``"tflm"``: TFLite Micro with its reference kernels; ``"cmsis-nn"``: with those of
            CMSIS-NN, whose layers have no instruction counts yet and say so.
        core: the device's core, on which CMSIS-NN's scratch buffers depend: ``"m0plus"``, ``"m3"``,
            ``"m4"``, ``"m7"``, ``"m33"``, ``"m55"`` or ``"m85"``, with or without ``"-soft"``.

    Returns:
        Kernels by layer, the framework's own work and the arena, exact for a 32-bit build of
        tflite-micro 90b983c with CMSIS-NN 4ab83cc (August 2026), built for speed.

    Raises:
        InputError: there is no such runtime or core.
        UnsupportedOperatorError: the runtime has no kernel for an operator, or refuses it.
        ModelError: the runtime could not plan the model.
    """
    runtime = canonical_runtime(runtime)
    simd = _SIMD.get(core.removesuffix("-soft"))
    if simd is None:
        raise InputError(f"core {core!r} is not known; there are {', '.join(_SIMD)}")
    # The arena first: it refuses subgraphs that call each other without end.
    arena = plan_arena(graph, Target(ARM_EABI, runtime == "cmsis-nn", simd))
    calls = [tuple(_calls(graph, node, runtime)) for node in graph.main.nodes]
    return Plan(
        graph,
        runtime,
        tuple(
            LayerPlan(node, call, arena.scratch_bytes.get((0, node.index), 0))
            for node, call in zip(graph.main.nodes, calls, strict=True)
        ),
        construct_call(graph),
        allocate_call(graph, arena.memory.placements),
        invoke_call(graph),
        arena.memory,
    )


def _calls(graph: Graph, node: Node, runtime: str) -> Iterator[KernelCall]:
    """The node's own kernel, and those of the subgraph that it runs."""
    kernel = KERNELS.get(node.name)
    if kernel is None:
        raise UnsupportedOperatorError(
            f"{graph.name}: operator {node.index} ({node.name}): "
            f"runtime {runtime} has no such kernel in mcusim"
        )
    try:
        call = kernel.call(node)
    except (ArithmeticError, LookupError, ValueError) as error:
        raise ModelError(
            f"{graph.name}: operator {node.index} ({node.name}): its tensors or options make no "
            f"sense to the kernel ({error})"
        ) from error
    yield _with_cmsis_nn(node, call) if runtime == "cmsis-nn" else call
    for subgraph, warning in _inner(node):
        for inner in graph.subgraphs[subgraph].nodes:
            for inner_call in _calls(graph, inner, runtime):
                yield replace(inner_call, warnings=(*inner_call.warnings, warning))


def _inner(node: Node) -> Iterator[tuple[int, str]]:
    """Subgraphs that one run of the operator is taken to execute, and what that leaves out."""
    called = tuple(called_subgraphs(node))
    if node.name == "WHILE":
        for subgraph in called:
            yield subgraph, f"counted once for WHILE {node.index}: its turns depend on data"
    elif node.name == "IF":
        yield called[0], f"IF {node.index} is taken to run its first branch: that depends on data"


def _with_cmsis_nn(node: Node, reference: KernelCall) -> KernelCall:
    functions = _CMSIS_NN.get(node.name, {})
    tensors = (*node.inputs, *node.outputs)
    first = next((t for t in tensors if t is not None and not t.is_constant), None)
    function = functions.get(first.dtype) if first is not None else None
    if function is None:
        return replace(reference, reason="CMSIS-NN has no kernel for it: TFLM's reference kernel")
    return KernelCall(
        function,
        "",
        macs=reference.macs,
        reason="CMSIS-NN kernel",
        warnings=("mcusim has no instruction counts of this kernel yet",),
    )
