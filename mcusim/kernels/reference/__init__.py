"""TFLite Micro's reference kernels, one module an operator family."""

from importlib import import_module

from mcusim.kernels.contract import Kernel

__all__ = ["KERNELS"]

_FAMILIES: tuple[str, ...] = (
    "activations",
    "arithmetic",
    "batch_matmul",
    "comparisons",
    "control_flow",
    "conv",
    "depthwise_conv",
    "division",
    "extrema",
    "fully_connected",
    "l2_normalization",
    "logistic",
    "lstm",
    "padding",
    "pooling",
    "quantize",
    "reductions",
    "shaping",
    "slicing",
    "softmax",
    "spatial",
    "svdf",
    "transpose_conv",
    "unary",
)

#: Every operator that TFLM's reference kernels run, by the schema's name.
KERNELS: dict[str, Kernel] = {
    kernel.operator: kernel
    for family in _FAMILIES
    for kernel in import_module(f"{__name__}.{family}").KERNELS
}
