"""Kernels of uTensor 1.0, June 2020: what they compute, defects included, and what they cost.

The operators are those that utensor_cgen's table for ``.tflite`` files knows, and no others.
"""

from mcusim.kernels.library import KernelLibrary
from mcusim.kernels.utensor import convolutions, others

__all__ = ["LIBRARY", "NAME"]

NAME = "utensor"

LIBRARY = KernelLibrary(NAME, {**convolutions.KERNELS, **others.KERNELS})
