"""How many products of a float32 layer have a zero in them, which soft float multiplies faster.

Without a floating-point unit, libgcc's multiplication and addition return early where an operand is
zero. A ReLU makes about half of its values zero: in the float32 networks of Heim et al. and of
MLPerf Tiny, given random inputs, 0.1 to 0.97 of a layer's and 0.54 in the mean, with a standard
deviation of 0.2 between layers. Zero weights are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from mcusim.graph import DType, Node, Subgraph, Tensor
from mcusim.kernels.contract import KernelCall

__all__ = ["is_soft", "spared_calls", "zero_shares"]

_AFTER_RELU = 0.5
_RELUS = ("RELU", "RELU6")
#: Operators whose outputs hold their first input's values, in another place or order.
_MOVES = (
    *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "CONCATENATION", "SPLIT", "SPLIT_V"),
    *("PACK", "UNPACK", "SLICE", "STRIDED_SLICE", "GATHER", "GATHER_ND", "BROADCAST_TO"),
    *("SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"),
    *("PAD", "PADV2", "MIRROR_PAD", "RESIZE_NEAREST_NEIGHBOR"),
)
#: Operators of which an output is zero only where all values under a window are. Neighbours are
#: seldom zero independently: two of them tell about as much as all.
_WINDOWS = ("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "REDUCE_MAX")
_PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")
_WITHOUT_FPU = ("m0", "m0plus", "m23", "m3")


def zero_shares(subgraph: Subgraph) -> Mapping[int, float]:
    """Expected share of zeros in each tensor that an operator of a subgraph writes, by index.

    Inputs of the subgraph are taken to hold none.
    """
    shares: dict[int, float] = {}
    for node in subgraph.nodes:
        for output, share in _outputs(node, shares):
            shares[output.index] = share
    return shares


def _outputs(node: Node, shares: Mapping[int, float]) -> Iterator[tuple[Tensor, float]]:
    first = node.inputs[0] if node.inputs else None
    given = shares.get(first.index, 0.0) if first else 0.0
    share = 0.0
    if node.name in _RELUS or node.options.text("fused_activation_function", "NONE") in _RELUS:
        share = max(_AFTER_RELU, given)
    elif node.name in _MOVES:
        share = given
    elif node.name in _WINDOWS:
        share = given**2
    for output in node.outputs:
        yield output, share


def is_soft(core: str) -> bool:
    """Whether floats are computed by libgcc on a core, such as ``"m0plus"`` or ``"m4-soft"``."""
    return core.endswith("-soft") or core in _WITHOUT_FPU


def spared_calls(
    node: Node, calls: Iterable[KernelCall], shares: Mapping[int, float]
) -> Iterator[KernelCall]:
    """What a float32 layer's products with a zero spare: calls of negative turns.

    Args:
        node: the operator.
        calls: the kernels that it runs.
        shares: of zeros, by tensor.
    """
    if node.name not in _PRODUCTS or node.output().dtype is not DType.FLOAT32:
        return
    # TRANSPOSE_CONV is given the shape of its output first.
    factors = node.inputs[1:3] if node.name == "TRANSPOSE_CONV" else node.inputs[:2]
    dense = math.prod(1.0 - _share(factor, shares) for factor in factors if factor)
    products = sum(call.trips.get("product", 0.0) for call in calls)
    if dense < 1.0 and products:
        yield KernelCall(
            "",
            "soft_float/zero_product",
            {"zero_product": (dense - 1.0) * products},
            reason=f"{1.0 - dense:.0%} of its products are taken to have a zero in them, "
            "which soft float multiplies faster",
        )


def _share(tensor: Tensor, shares: Mapping[int, float]) -> float:
    if tensor.data is None:
        return shares.get(tensor.index, 0.0)
    return 1.0 - float(np.count_nonzero(tensor.data)) / max(tensor.elements, 1)
