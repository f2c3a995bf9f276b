"""What single calls of CMSIS-NN take as one extent of their shape grows, predicted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from mcusim.errors import McusimError
from mcusim.kernels.closest import closest_profile
from mcusim.kernels.cmsis_nn import CASES
from mcusim.kernels.cmsis_nn.contract import (
    SIMD_OF_CORE,
    Configuration,
    Generation,
    LibraryCase,
)
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape

__all__ = ["convolution", "convolution_shape", "dense", "depthwise", "instructions"]

_COMMON = {"in_off": -3, "out_off": 4, "act": [-128, 127]}


def instructions(
    kind: str,
    params: Mapping[str, Any],
    *,
    core: str = "m4",
    build: str = "gcc-O3",
    generation: str = "2026",
    entry: str = "",
) -> float:
    """Instructions of one call of the library, outside TFLM.

    Args:
        kind: kind of call, such as ``"conv_s8"``.
        params: its arguments, as :class:`~mcusim.kernels.cmsis_nn.contract.LibraryCase` has them.
        core: such as ``"m4"``.
        build: compiler and flag.
        generation: year of the library.
        entry: the function called; the library's own choice when empty.

    Raises:
        McusimError: no profile prices the call.
    """
    year = cast(Generation, generation)
    case = LibraryCase("", kind, params, entry=entry)
    total = 0.0
    for call in CASES[kind](case, Configuration(SIMD_OF_CORE[core], year)):
        priced = closest_profile(call.profile, core, build)
        if priced is None:
            raise McusimError(f"{call.kernel} has no profile")
        total += priced.mix(call.trips).total
    return total


def convolution(
    in_channels: int, out_channels: int = 8, kernel: int = 3, extent: int = 6, **settings: str
) -> float:
    """Instructions of a convolution of stride 1 whose output is as large as its input.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: rows and columns of the filter.
        extent: rows and columns of the image.
        **settings: core, build and generation, as :func:`instructions` takes them.
    """
    pad = kernel // 2
    params = {
        "in_dims": [1, extent, extent, in_channels],
        "f_dims": [out_channels, kernel, kernel, in_channels],
        "out_dims": [1, extent, extent, out_channels],
        "stride": [1, 1],
        "pad": [pad, pad],
        "dil": [1, 1],
        "groups": 1,
        **_COMMON,
    }
    entry = ""
    if settings.get("generation") in ("2020", "2020apr"):
        entry = "arm_convolve_s8"
    return instructions("conv_s8", params, entry=entry, **settings)


def convolution_shape(
    in_channels: int, out_channels: int = 8, kernel: int = 3, extent: int = 6
) -> ConvolutionShape:
    """Shape of what :func:`convolution` counts."""
    axis = Axis(extent, extent, kernel, 1, 1, kernel // 2)
    return ConvolutionShape(1, axis, axis, in_channels, in_channels, out_channels)


def depthwise(channels: int, kernel: int = 3, extent: int = 6, **settings: str) -> float:
    """Instructions of a depthwise convolution of stride 1, one filter a channel.

    Args:
        channels: channels of input and output.
        kernel: rows and columns of the filter.
        extent: rows and columns of the image.
        **settings: core, build and generation, as :func:`instructions` takes them.
    """
    pad = kernel // 2
    params = {
        "in_dims": [1, extent, extent, channels],
        "f_dims": [1, kernel, kernel, channels],
        "out_dims": [1, extent, extent, channels],
        "stride": [1, 1],
        "pad": [pad, pad],
        "dil": [1, 1],
        "ch_mult": 1,
        **_COMMON,
    }
    return instructions("dwconv_s8", params, **settings)


def dense(inputs: int, outputs: int = 8, **settings: str) -> float:
    """Instructions of a dense layer with one scale.

    Args:
        inputs: inputs of each output.
        outputs: outputs.
        **settings: core, build and generation, as :func:`instructions` takes them.
    """
    params = {
        "in_dims": [1, 1, 1, inputs],
        "f_dims": [inputs, 1, 1, outputs],
        "out_dims": [1, 1, 1, outputs],
        "f_off": 0,
        "per_channel": 0,
        **_COMMON,
    }
    entry = ""
    if settings.get("generation", "2026") != "2026":
        entry = "arm_fully_connected_s8"
    return instructions("fc_s8", params, entry=entry, **settings)
