"""MAXIMUM and MINIMUM as TFLM's reference kernels compute them; they look at no quantization."""

from __future__ import annotations

import numpy as np

from mcusim.graph import DType, Node
from mcusim.kernels.contract import Binder, Kernel
from mcusim.kernels.reference.checks import require_same_type, supported
from mcusim.kernels.reference.elementwise_call import binary_call
from mcusim.kernels.reference.pairs import operands, run_pairs

__all__ = ["KERNELS"]

_TYPES = (DType.FLOAT32, DType.INT8, DType.INT16, DType.INT32, DType.INT64)


def _prepare(node: Node) -> Binder:
    """Source: ``MaximumOp`` and ``MinimumOp``: the second operand where neither is beyond it."""
    first, _, output = operands(node)
    supported(node, output, _TYPES, "output")
    require_same_type(node, first, output, "input and output")
    if output.dtype is not DType.FLOAT32:
        return run_pairs(node, np.maximum if node.name == "MAXIMUM" else np.minimum)
    if node.name == "MAXIMUM":
        return run_pairs(node, lambda a, b: np.where(a > b, a, b))
    return run_pairs(node, lambda a, b: np.where(a < b, a, b))


KERNELS: tuple[Kernel, ...] = (
    Kernel("MAXIMUM", _prepare, binary_call),
    Kernel("MINIMUM", _prepare, binary_call),
)
