"""AVERAGE_POOL_2D and MAX_POOL_2D as CMSIS-NN computes them, and the glue in TFLM around them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mcusim.graph import Array, DType, Node
from mcusim.kernels.cmsis_nn.buffers import avgpool_bytes
from mcusim.kernels.cmsis_nn.contract import (
    CaseCalls,
    Configuration,
    LibraryCase,
    LibraryKernel,
    profile_name,
)
from mcusim.kernels.cmsis_nn.memory_calls import copies_call
from mcusim.kernels.cmsis_nn.pooling_arithmetic import avgpool_in_place
from mcusim.kernels.cmsis_nn.pooling_trips import (
    avgpool_in_place_trips,
    avgpool_plain_trips,
    avgpool_trips,
    first_taps,
    max_pool_in_place_trips,
    max_pool_plain_trips,
    max_pool_trips,
    memmove_trips,
)
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.fixed_point import activation_range_quantized
from mcusim.kernels.reference import KERNELS as REFERENCE
from mcusim.kernels.reference.pooling import Axis, Pooling

__all__ = ["CASES", "KERNELS", "Dispatch", "dispatch"]

_IN_PLACE = "arm_max_pool_s8_opt"


@dataclass(frozen=True)
class Dispatch:
    """The function that pools.

    Attributes:
        function: its name.
        reason: how it works on the core, in words.
        scratch_bytes: the buffer that the library asks for.
        warnings: what a device does wrong there.
    """

    function: str
    reason: str
    scratch_bytes: int = 0
    warnings: tuple[str, ...] = ()


def dispatch(
    pooling: Pooling, average: bool, dtype: DType, configuration: Configuration
) -> Dispatch:
    """Which function TFLM calls, and what it needs.

    Args:
        pooling: the shape.
        average: the mean, not the maximum.
        dtype: int8 or int16.
        configuration: of the library.
    """
    simd, generation = configuration.simd, configuration.generation
    function = (
        f"arm_{'avgpool' if average else 'max_pool'}_{'s8' if dtype is DType.INT8 else 's16'}"
    )
    if not average:
        how = "16 bytes at a time" if simd == "mve" else "a word at a time"
        return Dispatch(function, f"channels compared {how}: `{function}`")
    if generation == "2020" and simd == "dsp":
        return Dispatch(
            function,
            f"along the rows in place, then down, each truncated: `{function}` of 2020",
            2 * pooling.channels * pooling.width.windows,
            (
                "this library truncates the mean of each row before it takes the mean of rows, and "
                "overwrites its input: other layers that read it see what is left of it",
            ),
        )
    if generation == "2020apr":
        return Dispatch(function, f"one output at a time: `{function}` of April 2020")
    how = {
        "none": "one output at a time without DSP",
        "dsp": "a pixel's sums in a buffer of int32",
        "mve": "16 bytes of channels at a time",
    }[simd]
    return Dispatch(function, f"{how}: `{function}`", avgpool_bytes(pooling.channels, simd))


#: The glue copies the shapes of input and output, 16 bytes each.
_SHAPES = {(16, 0, 0): 2}


def _calls_of(
    pooling: Pooling,
    average: bool,
    dtype: DType,
    configuration: Configuration,
    x: Array | None,
    case: LibraryCase | None = None,
) -> tuple[KernelCall, ...]:
    entry = "" if case is None else case.entry
    chosen = dispatch(pooling, average, dtype, configuration)
    simd, generation = configuration.simd, configuration.generation
    name = entry or chosen.function
    moved: KernelCall | None = None
    if average:
        if generation == "2020" and simd == "dsp":
            trips = avgpool_in_place_trips(pooling)
        elif generation == "2020apr":
            trips = avgpool_plain_trips(pooling, x)
        else:
            trips = avgpool_trips(pooling, dtype, simd, x)
    elif generation in ("2020", "2020apr"):
        if name == _IN_PLACE:
            trips = max_pool_in_place_trips(pooling)
            moved = KernelCall(
                "memmove",
                profile_name("memmove", configuration),
                memmove_trips(pooling),
            )
        else:
            trips = max_pool_plain_trips(pooling)
    else:
        trips = max_pool_trips(pooling, dtype, simd, x)
        if simd != "mve":
            taps = Counter(first_taps(pooling, dtype.numpy.itemsize))
            moved = copies_call(
                taps + Counter({} if case else _SHAPES),
                configuration,
                accesses=3 * trips["tap.word"] + 2 * trips["clamp.word"],
            )
    call = KernelCall(
        name,
        profile_name(name, configuration),
        trips,
        reason=chosen.reason,
        warnings=chosen.warnings,
    )
    return (call, moved) if moved else (call,)


def _case(case: LibraryCase, configuration: Configuration) -> tuple[KernelCall, ...]:
    params = case.params
    batches, height, width, channels = params["in_dims"]
    rows, columns = (
        Axis(extent, params["out_dims"][axis], params["f_dims"][axis], stride, padding)
        for axis, extent, stride, padding in zip(
            (1, 2), (height, width), params["stride"], params["pad"], strict=True
        )
    )
    pooling = Pooling(batches, channels, rows, columns)
    x = case.arrays.get("x")
    kind, _, width_of = case.op.partition("_")
    dtype = DType.INT8 if width_of == "s8" else DType.INT16
    return _calls_of(pooling, kind == "avgpool", dtype, configuration, x, case)


CASES: dict[str, CaseCalls] = dict.fromkeys(
    ("avgpool_s8", "maxpool_s8", "avgpool_s16", "maxpool_s16"), _case
)


def _accepts(node: Node, configuration: Configuration) -> bool:
    if configuration.generation in ("2020", "2020apr"):
        # This glue has average pooling of int8 only, and only for cores with DSP.
        average = node.name == "AVERAGE_POOL_2D"
        return average and configuration.simd == "dsp" and node.input(0).dtype is DType.INT8
    return node.input(0).dtype in (DType.INT8, DType.INT16)


def _in_place(configuration: Configuration) -> bool:
    return configuration.generation == "2020" and configuration.simd == "dsp"


def _bind(node: Node, configuration: Configuration) -> BoundKernel:
    bound = REFERENCE[node.name].bind(node)
    if not _in_place(configuration):
        # Sums and comparisons are exact, and the mean is rounded as TFLM's own kernel does.
        return bound
    return partial(_run_in_place, node, 0)


def _overwritten(node: Node, configuration: Configuration) -> BoundKernel | None:
    return partial(_run_in_place, node, 1) if _in_place(configuration) else None


def _run_in_place(node: Node, result: int, inputs: Sequence[Array | None]) -> Sequence[Array]:
    """Average pooling of 2020: the output (0), or what the input holds afterwards (1)."""
    x, output = inputs[0], node.output()
    assert x is not None
    activation = node.options.text("fused_activation_function", "NONE")
    limits = activation_range_quantized(activation, output.dtype, output.scale, output.zero_point)
    pooling = Pooling.of(node)
    found = avgpool_in_place(pooling, x.reshape(-1, *x.shape[2:]), limits)[result]
    return [found.reshape(*x.shape[:2], *found.shape[1:])]


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    average = node.name == "AVERAGE_POOL_2D"
    x = node.input(0)
    calls = _calls_of(Pooling.of(node), average, x.dtype, configuration, x.data)
    glue = KernelCall(
        "AverageEval" if average else "MaxEval",
        profile_name(f"glue_{node.name.lower()}", configuration),
        {"call": 1.0},
    )
    return (*calls, glue)


KERNELS: tuple[LibraryKernel, ...] = (
    LibraryKernel("AVERAGE_POOL_2D", _accepts, _bind, _calls, _overwritten),
    LibraryKernel("MAX_POOL_2D", _accepts, _bind, _calls),
)
