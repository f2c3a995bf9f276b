"""TFLite Micro's reference kernels, one module an operator family."""

from importlib import import_module

from mcusim.kernels.contract import Kernel

__all__ = ["KERNELS"]

_FAMILIES: tuple[str, ...] = (
    "control_flow",
    "padding",
    "pooling",
    "reductions",
    "shaping",
    "slicing",
    "softmax",
    "spatial",
)

#: Every operator that TFLM's reference kernels run, by the schema's name.
KERNELS: dict[str, Kernel] = {
    kernel.operator: kernel
    for family in _FAMILIES
    for kernel in import_module(f"{__name__}.{family}").KERNELS
}
