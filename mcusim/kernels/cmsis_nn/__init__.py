"""CMSIS-NN's kernels, one module an operator family, and the glue in TFLM that calls them."""

from importlib import import_module

from mcusim.kernels.cmsis_nn.contract import LibraryKernel

__all__ = ["KERNELS"]

_FAMILIES: tuple[str, ...] = ()

#: Every operator that TFLM hands to CMSIS-NN, by the schema's name.
KERNELS: dict[str, LibraryKernel] = {
    kernel.operator: kernel
    for family in _FAMILIES
    for kernel in import_module(f"{__name__}.{family}").KERNELS
}
