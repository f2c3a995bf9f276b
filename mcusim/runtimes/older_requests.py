"""Scratch buffers of CMSIS-NN before 2026, which asked for them by other rules.

Source: ``arm_*_get_buffer_size`` of CMSIS 5.8.0 (2021), 5.9.0 (2022) and of February 2020, for
cores with DSP instructions.
"""

from __future__ import annotations

from mcusim.graph import Node
from mcusim.kernels.cmsis_nn.contract import Configuration

__all__ = ["older_scratch_bytes"]


def older_scratch_bytes(node: Node, configuration: Configuration, function: str) -> int:
    """Scratch buffer of a layer, in bytes.

    Args:
        node: the layer.
        configuration: of the library, of 2020, 2021 or 2022.
        function: the function of the library that runs it.
    """
    if configuration.simd != "dsp":
        return 0
    if function in ("arm_convolve_s8", "arm_convolve_1_x_n_s8"):
        weights = node.input(1).shape
        return 2 * 2 * weights[1] * weights[2] * weights[3]
    if function == "arm_depthwise_conv_s8_opt":
        weights = node.input(1).shape
        return 2 * weights[1] * weights[2] * weights[3]
    if function == "arm_avgpool_s8":
        _, _, out_w, channels = node.output().shape
        return 2 * channels * out_w if configuration.generation == "2020" else 4 * channels
    return 0
