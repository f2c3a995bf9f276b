"""FULLY_CONNECTED as CMSIS-NN computes it, and the glue in TFLM that calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.cmsis_nn.contract import (
    CaseCalls,
    Configuration,
    LibraryCase,
    LibraryKernel,
    profile_name,
)
from mcusim.kernels.cmsis_nn.convolve_trips import convolve_1x1_trips
from mcusim.kernels.cmsis_nn.matrix_trips import Scaling
from mcusim.kernels.cmsis_nn.vector_matrix_trips import (
    VectorByMatrix,
    vec_mat_mult_t_s4_trips,
    vec_mat_mult_t_s8_trips,
    vec_mat_mult_t_s16_trips,
    vector_sum_trips,
)
from mcusim.kernels.contract import BoundKernel, KernelCall, Trips
from mcusim.kernels.reference.checks import require
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape
from mcusim.kernels.reference.dense import Rescaling
from mcusim.kernels.reference.fully_connected import prepare

__all__ = ["CASES", "KERNELS", "runs_as_convolution"]

#: Generations whose library ignores an offset of the weights.
_IGNORES_FILTER_OFFSET = ("2021", "2022")


def runs_as_convolution(node: Node, configuration: Configuration) -> bool:
    """Whether TFLM's glue calls ``arm_convolve_1x1_s8_fast`` in place of a dense function."""
    return (
        configuration.generation == "2026"
        and node.input(0).dtype is DType.INT8
        and node.input(1).dtype is DType.INT8
        and len(node.output().shape) > 2
        and node.input(1).shape[-1] % 4 == 0
    )


def _tile(configuration: Configuration, per_channel: bool) -> str:
    many = {"none": "three", "dsp": "two", "mve": "four"}[configuration.simd]
    scales = "a scale for each output" if per_channel else "one scale"
    return f"int8, {scales}, {many} outputs at a time"


def _int8_calls(
    batches: int, product: VectorByMatrix, configuration: Configuration
) -> tuple[KernelCall, ...]:
    """``arm_fully_connected_wrapper_s8`` and what it calls; before 2026 there was no wrapper."""
    outer = f"arm_fully_connected_{'per_channel_' if product.per_channel else ''}s8"
    simd, generation = configuration.simd, configuration.generation
    calls = (
        KernelCall(
            outer,
            profile_name(outer, configuration),
            {"call": 1, "batch": batches},
            reason=f"{_tile(configuration, product.per_channel)}: {outer}",
            warnings=_batch_warning(batches, configuration),
        ),
        KernelCall(
            product.function,
            profile_name(product.profile, configuration),
            vec_mat_mult_t_s8_trips(batches, product, simd, generation),
            macs=batches * product.outputs * product.columns,
        ),
    )
    if generation != "2026":
        return calls
    wrapper = "arm_fully_connected_wrapper_s8"
    by_kind = {"call": not product.per_channel, "channel_call": product.per_channel}
    return (*calls, KernelCall(wrapper, profile_name(wrapper, configuration), by_kind))


def _batch_warning(batches: int, configuration: Configuration) -> tuple[str, ...]:
    if configuration.generation != "2020" or batches < 2:
        return ()
    return (
        "arm_fully_connected_s8 of 2020 writes every row over the first one: the other rows of "
        "the output stay whatever memory held, here 0",
    )


def _int16_calls(
    batches: int, product: VectorByMatrix, configuration: Configuration
) -> tuple[KernelCall, ...]:
    """``arm_fully_connected_s16`` and what it calls."""
    trips = vec_mat_mult_t_s16_trips(batches, product, configuration.simd)
    return _plain_calls("s16", "int16 by int8", trips, batches, product, configuration)


def _int4_calls(
    batches: int, product: VectorByMatrix, configuration: Configuration
) -> tuple[KernelCall, ...]:
    """``arm_fully_connected_s4`` and what it calls."""
    trips = vec_mat_mult_t_s4_trips(batches, product, configuration.simd)
    return _plain_calls("s4", "weights of int4", trips, batches, product, configuration)


def _plain_calls(
    kind: str,
    why: str,
    trips: Trips,
    batches: int,
    product: VectorByMatrix,
    configuration: Configuration,
) -> tuple[KernelCall, ...]:
    """A dense function without wrapper, and the product of each row that it calls."""
    outer, inner = f"arm_fully_connected_{kind}", f"arm_nn_vec_mat_mult_t_{kind}"
    return (
        KernelCall(
            outer,
            profile_name(outer, configuration),
            {"call": 1, "batch": batches},
            reason=f"{why}: {outer}",
        ),
        KernelCall(
            inner,
            profile_name(inner, configuration),
            trips,
            macs=batches * product.outputs * product.columns,
        ),
    )


def _case_int8(case: LibraryCase, configuration: Configuration) -> tuple[KernelCall, ...]:
    params = case.params
    product = VectorByMatrix(
        outputs=params["f_dims"][3],
        columns=params["f_dims"][0],
        moves_filter=params["f_off"] != 0 and configuration.generation == "2026",
        per_channel=bool(params["per_channel"]),
        scaling=Scaling.of_case(case, configuration),
    )
    return _int8_calls(params["in_dims"][0], product, configuration)


def _case_int16(case: LibraryCase, configuration: Configuration) -> tuple[KernelCall, ...]:
    params = case.params
    scaling = Scaling.of_case(case, configuration)
    product = VectorByMatrix(params["f_dims"][3], params["f_dims"][0], scaling=scaling)
    return _int16_calls(params["in_dims"][0], product, configuration)


CASES: dict[str, CaseCalls] = {"fc_s8": _case_int8, "fc_s16": _case_int16}


def _accepts(node: Node, configuration: Configuration) -> bool:
    dtype, weights = node.input(0).dtype, node.input(1).dtype
    if configuration.generation != "2026":
        return dtype is DType.INT8 and weights is DType.INT8 and configuration.simd == "dsp"
    return dtype in (DType.INT8, DType.INT16)


def _check(node: Node, configuration: Configuration) -> None:
    """Raise what TFLM's glue refuses beyond its reference kernel."""
    if not _is_per_channel(node):
        return
    is_int8 = node.input(0).dtype is DType.INT8 and node.input(1).dtype is DType.INT8
    require(is_int8, node, "only int8 by int8 has a scale for each output in CMSIS-NN")
    generation = configuration.generation
    require(
        generation == "2026", node, f"CMSIS-NN of {generation} has no scale for each output here"
    )


def _is_per_channel(node: Node) -> bool:
    quantization = node.input(1).quantization
    return quantization is not None and quantization.is_per_channel


def _filter_offset(node: Node, configuration: Configuration) -> int:
    """What the library adds to each weight."""
    if configuration.generation in _IGNORES_FILTER_OFFSET or node.input(0).dtype is DType.INT16:
        return 0
    if node.input(1).dtype is DType.INT4 or runs_as_convolution(node, configuration):
        return 0
    return -node.input(1).zero_point


def _bind(node: Node, configuration: Configuration) -> BoundKernel:
    """Source: ``Prepare`` and ``Eval`` of TFLM's ``cmsis_nn/fully_connected.cc``."""
    _check(node, configuration)
    offset = _filter_offset(node, configuration)
    is_int16 = node.input(0).dtype is DType.INT16

    def adjust(rescaling: Rescaling) -> Rescaling:
        return replace(
            rescaling,
            filter_offset=offset,
            wide=is_int16,
            rounds_once=configuration.single_rounding,
        )

    bound = prepare(node, adjust)()
    return bound if configuration.generation != "2020" else _first_row_only(bound)


def _first_row_only(bound: BoundKernel) -> BoundKernel:
    """Every row written over the first one, as in 2020."""

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        (out,) = bound(inputs)
        rows = np.zeros((len(out), out[0].size // out.shape[-1], out.shape[-1]), out.dtype)
        rows[:, 0] = out.reshape(rows.shape)[:, -1]
        return [rows.reshape(out.shape)]

    return run


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    _check(node, configuration)
    source, weights, output = node.input(0), node.input(1), node.output()
    batches = prod(output.shape[:-1])
    product = VectorByMatrix(
        outputs=output.shape[-1],
        columns=weights.shape[-1],
        moves_filter=_filter_offset(node, configuration) != 0
        and configuration.generation == "2026",
        per_channel=_is_per_channel(node),
        scaling=Scaling.of_layer(node.optional_input(2) is not None, source, weights, output),
    )
    is_convolution = runs_as_convolution(node, configuration)
    is_int16 = source.dtype is DType.INT16
    glue = KernelCall(
        "FullyConnectedEval",
        profile_name("glue_fully_connected", configuration),
        {
            "call": not is_int16,
            "call_int16": is_int16,
            "bias": node.optional_input(2) is not None,
            "repeated_scale": product.outputs * (is_convolution and not product.per_channel),
        },
        warnings=_warnings(node, configuration),
    )
    if is_convolution:
        return (*_convolution_calls(batches, product, configuration), glue)
    if is_int16:
        return (*_int16_calls(batches, product, configuration), glue)
    if weights.dtype is DType.INT4:
        return (*_int4_calls(batches, product, configuration), glue)
    calls = _int8_calls(batches, product, configuration)
    if configuration.simd == "mve" and weights.data is None:
        sums = vector_sum_trips(1, product.outputs, product.columns, source.zero_point != 0)
        name = "arm_vector_sum_s8"
        calls += (KernelCall(name, profile_name(name, configuration), sums),)
    return (*calls, glue)


def _warnings(node: Node, configuration: Configuration) -> tuple[str, ...]:
    bias, weights = node.optional_input(2), node.input(1)
    found: tuple[str, ...] = ()
    if node.input(0).dtype is DType.INT16 and bias is not None and bias.dtype is DType.INT32:
        found += (
            "TFLM with CMSIS-NN reads the bias of int32 as one of int64: a device computes other "
            "outputs than those given here",
        )
    if weights.zero_point != 0 and not _filter_offset(node, configuration):
        found += ("CMSIS-NN ignores the zero point of these weights, and so do the outputs here",)
    return found


def _convolution_calls(
    pixels: int, product: VectorByMatrix, configuration: Configuration
) -> tuple[KernelCall, ...]:
    """The dense layer as a 1×1 convolution of as many pixels as rows."""
    axis = Axis(1, 1, 1, 1, 1, 0)
    shape = ConvolutionShape(pixels, axis, axis, product.columns, product.columns, product.outputs)
    functions = convolve_1x1_trips(shape, configuration.simd, product.scaling)
    calls = [
        KernelCall(name, profile_name(name, configuration), trips) for name, trips in functions
    ]
    calls[0] = replace(
        calls[0],
        macs=pixels * product.outputs * product.columns,
        reason="output of more than two dimensions, inputs in fours: arm_convolve_1x1_s8_fast",
    )
    return tuple(calls)


KERNELS: tuple[LibraryKernel, ...] = (LibraryKernel("FULLY_CONNECTED", _accepts, _bind, _calls),)
