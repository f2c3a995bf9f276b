"""CMSIS-NN's kernels, one module an operator family, and the glue in TFLM that calls them."""

from importlib import import_module

from mcusim.kernels.cmsis_nn.contract import CaseCalls, LibraryKernel

__all__ = ["CASES", "KERNELS"]

#: Modules that export ``KERNELS`` and ``CASES``.
_FAMILIES: tuple[str, ...] = (
    "convolve",
    "depthwise",
    "transpose_convolution",
    "fully_connected",
    "batch_matmul",
    "svdf",
    "lstm",
    "softmax",
    "elementwise",
    "padding",
    "pooling",
    "transposition",
)

_modules = tuple(import_module(f"{__name__}.{family}") for family in _FAMILIES)

#: Every operator that TFLM hands to CMSIS-NN, by the schema's name.
KERNELS: dict[str, LibraryKernel] = {
    kernel.operator: kernel for module in _modules for kernel in module.KERNELS
}

#: What prices a single call of the library, by kind of case.
CASES: dict[str, CaseCalls] = {
    kind: calls for module in _modules for kind, calls in module.CASES.items()
}
