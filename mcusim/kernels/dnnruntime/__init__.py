"""Kernels of dnnruntime, the runtime of Deutel et al. 2023: what they compute and what they cost.

Its source is not public. What is here follows the paper: convolutions unrolled into matrix-vector
products, weights dense or in compressed rows, uint8 affine or float32; the device code that was
counted is our own, in ``kernels/dnnruntime/``.
"""

from functools import cache

from mcusim.kernels.dnnruntime import elementwise, pooling
from mcusim.kernels.dnnruntime.compressed_rows import WeightStorage, storage, stored_weights
from mcusim.kernels.dnnruntime.products import column_bytes, kernels
from mcusim.kernels.library import KernelLibrary

__all__ = ["NAME", "WeightStorage", "column_bytes", "library", "storage", "stored_weights"]

NAME = "dnnruntime"


@cache
def library(has_simd: bool) -> KernelLibrary:
    """All kernels, as compiled for a core with or without the DSP extension."""
    return KernelLibrary(NAME, {**kernels(has_simd), **pooling.KERNELS, **elementwise.KERNELS})
